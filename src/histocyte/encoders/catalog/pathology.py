"""Cards of encoders trained on histology slides."""

from __future__ import annotations

from typing import Any

from histocyte.encoders.catalog.card import EncoderCard, stored_facts

__all__ = ["PATHOLOGY"]

_CELLVIT = "CellViT (Hörst et al. 2024)"
_CELLVIT_PLUS = "CellViT++ (Hörst et al. 2025)"
_QUARTERS = "ends of the four quarters, as CellViT taps others"
_TEACHER = "teacher of arXiv 2502.19217, whose 1, 14, 26 and 38 count from 0"

_BIOPTIMUS: dict[str, Any] = {
    "mean": (0.707223, 0.578729, 0.703617),
    "std": (0.211883, 0.230117, 0.177517),
}
_HIBOU: dict[str, Any] = {"mean": (0.7068, 0.5755, 0.722), "std": (0.195, 0.2316, 0.1816)}
_NC_ND: dict[str, Any] = {"licence": "CC BY-NC-ND 4.0", "commercial": "no", "gated": True}
_BIN = "pytorch_model.bin"


def _swiglu(mlp_ratio: float, **more: object) -> dict[str, Any]:
    """Gated feed-forward layers; `mlp_ratio` counts both halves before the gate, as timm's packed layer does."""
    return {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU", "mlp_ratio": mlp_ratio, **more}


def _vit(name: str, *, taps: tuple[int, ...], fit: bool = False, **options: object) -> dict[str, Any]:
    return {"name": name, "taps": list(taps), **({"fit": True} if fit else {}), **options}


def _card(name: str, title: str, **facts: Any) -> EncoderCard:
    facts = {"part": "timm_vit", "native_px": 224, "mpp": (0.5,), "taps_from": _QUARTERS, **facts}
    return EncoderCard(name=name, title=title, facts=stored_facts(name), **facts)


PATHOLOGY = (
    _card(
        "vit256",
        "ViT-256 of HIPT (ViT-S/16, DINO)",
        paper="doi 10.1109/CVPR52688.2022.01567",
        hub="",
        file="vit256_small_dino.pth",
        page="the repository mahmoodlab/HIPT on GitHub, file HIPT_4K/Checkpoints/vit256_small_dino.pth",
        licence="Apache-2.0 with Commons Clause (not to be sold)",
        commercial="unclear",
        native_px=256,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        options=_vit("vit_small_patch16_224", taps=(3, 6, 9, 12)),
        taps_from=_CELLVIT,
    ),
    _card(
        "uni",
        "UNI (ViT-L/16, DINOv2)",
        paper="doi 10.1038/s41591-024-02857-3",
        hub="MahmoodLab/UNI",
        file=_BIN,
        options=_vit("vit_large_patch16_224", taps=(6, 12, 18, 24), arch_options={"init_values": 1e-5}),
        taps_from=_CELLVIT_PLUS,
        **_NC_ND,
    ),
    _card(
        "uni2-h",
        "UNI2-h (ViT-H/14, DINOv2)",
        paper="doi 10.1038/s41591-024-02857-3",
        hub="MahmoodLab/UNI2-h",
        file=_BIN,
        options=_vit(
            "vit_giant_patch14_224",
            taps=(6, 12, 18, 24),
            fit=True,
            arch_options=_swiglu(
                5.33334, depth=24, num_heads=24, embed_dim=1536, init_values=1e-5, no_embed_class=True, reg_tokens=8
            ),
        ),
        **_NC_ND,
    ),
    _card(
        "virchow",
        "Virchow (ViT-H/14, DINOv2)",
        paper="doi 10.1038/s41591-024-03141-0",
        hub="paige-ai/Virchow",
        file=_BIN,
        licence="Apache-2.0",
        commercial="yes",
        gated=True,
        options=_vit(
            "vit_huge_patch14_224", taps=(8, 16, 24, 32), fit=True, arch_options=_swiglu(5.3375, init_values=1e-5)
        ),
        taps_from=_CELLVIT_PLUS,
    ),
    _card(
        "virchow2",
        "Virchow2 (ViT-H/14, DINOv2, 4 registers)",
        paper="arXiv 2408.00738",
        hub="paige-ai/Virchow2",
        mpp=(0.25, 0.5, 1.0, 2.0),
        options=_vit(
            "vit_huge_patch14_224",
            taps=(8, 16, 24, 32),
            fit=True,
            arch_options=_swiglu(5.3375, init_values=1e-5, reg_tokens=4),
        ),
        taps_from=_CELLVIT_PLUS,
        **_NC_ND,
    ),
    _card(
        "gigapath",
        "Prov-GigaPath, tile encoder (ViT-g/16, DINOv2)",
        paper="doi 10.1038/s41586-024-07441-w",
        hub="prov-gigapath/prov-gigapath",
        file=_BIN,
        licence="Apache-2.0, with conditions that allow research only",
        commercial="no",
        gated=True,
        native_px=224,
        options=_vit(
            "vit_giant_patch14_dinov2",
            taps=(10, 20, 30, 40),
            image_size=224,
            arch_options={
                "patch_size": 16,
                "embed_dim": 1536,
                "depth": 40,
                "num_heads": 24,
                "init_values": 1e-5,
                "mlp_ratio": 5.33334,
            },
        ),
    ),
    _card(
        "h-optimus-0",
        "H-optimus-0 (ViT-g/14, DINOv2, 4 registers)",
        paper="bioptimus/releases on GitHub, 2024",
        hub="bioptimus/H-optimus-0",
        file=_BIN,
        licence="Apache-2.0",
        commercial="yes",
        gated=True,
        options=_vit("vit_giant_patch14_reg4_dinov2", taps=(2, 15, 27, 39), fit=True, image_size=224),
        taps_from=_TEACHER,
        **_BIOPTIMUS,
    ),
    _card(
        "h-optimus-1",
        "H-optimus-1 (ViT-g/14, DINOv2, 4 registers)",
        paper="the hub's page, 2025",
        hub="bioptimus/H-optimus-1",
        options=_vit("vit_giant_patch14_reg4_dinov2", taps=(10, 20, 30, 40), fit=True, image_size=224),
        **_NC_ND,
        **_BIOPTIMUS,
    ),
    _card(
        "h0-mini",
        "H0-mini (ViT-B/14, distilled from H-optimus-0, 4 registers)",
        paper="arXiv 2501.16239",
        hub="bioptimus/H0-mini",
        options=_vit(
            "vit_base_patch14_reg4_dinov2",
            taps=(3, 6, 9, 12),
            fit=True,
            image_size=224,
            arch_options=_swiglu(5.33334),
        ),
        **_NC_ND,
        **_BIOPTIMUS,
    ),
    _card(
        "phikon",
        "Phikon (ViT-B/16, iBOT)",
        paper="doi 10.1101/2023.07.21.23292757",
        hub="owkin/phikon",
        licence="Owkin non-commercial licence",
        commercial="no",
        options=_vit("vit_base_patch16_224", taps=(3, 6, 9, 12)),
    ),
    _card(
        "phikon-v2",
        "Phikon-v2 (ViT-L/16, DINOv2)",
        paper="arXiv 2409.09173",
        hub="owkin/phikon-v2",
        revision="419e8285b80eac3b60beca0d9b91942d48ad7b8e",
        licence="Owkin non-commercial licence",
        commercial="no",
        options=_vit("vit_large_patch16_224", taps=(6, 12, 18, 24), arch_options={"init_values": 1e-5}),
    ),
    _card(
        "hibou-b",
        "Hibou-B (ViT-B/14, DINOv2, 4 registers)",
        paper="arXiv 2406.05074",
        hub="histai/hibou-b",
        revision="7fdc8cce365ebfd9e7e60ee6ee9a8d4d59388f3c",
        licence="Apache-2.0",
        commercial="yes",
        options=_vit(
            "vit_base_patch14_reg4_dinov2",
            taps=(3, 6, 9, 12),
            fit=True,
            image_size=224,
            arch_options=_swiglu(5.33334),
        ),
        **_HIBOU,
    ),
    _card(
        "hibou-l",
        "Hibou-L (ViT-L/14, DINOv2, 4 registers)",
        paper="arXiv 2406.05074",
        hub="histai/hibou-L",
        licence="Apache-2.0",
        commercial="yes",
        gated=True,
        options=_vit(
            "vit_large_patch14_reg4_dinov2",
            taps=(6, 12, 18, 24),
            fit=True,
            image_size=224,
            arch_options=_swiglu(5.34375),
        ),
        **_HIBOU,
    ),
)
"""In the order in which they are listed."""
