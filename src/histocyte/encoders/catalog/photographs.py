"""Cards of encoders trained on photographs, most of them re-hosted by timm's authors."""

from __future__ import annotations

from typing import Any

from histocyte.encoders.catalog.card import IMAGENET, EncoderCard, stored_facts

__all__ = ["PHOTOGRAPHS"]

_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_CELLVIT = "CellViT (Hörst et al. 2024)"
_QUARTERS = "ends of the four quarters, as CellViT taps others"
_ALL = "all stages"
_APACHE = ("Apache-2.0", "yes")
_CC_NC = ("CC BY-NC 4.0", "no")
_CVNETS = ("Apple's sample code licence (cvnets)", "unclear")
_DINOV3 = ("DINOv3 licence (its own terms)", "yes")


def _card(
    name: str,
    title: str,
    model: str,
    paper: str,
    licence: tuple[str, Any],
    native_px: int,
    part: str,
    options: dict[str, Any],
    taps_from: str,
    normalised: tuple[tuple[float, float, float], tuple[float, float, float]] = IMAGENET,
) -> EncoderCard:
    """`model` is timm's name with the tag of the weights."""
    return EncoderCard(
        name=name,
        title=title,
        paper=paper,
        hub=f"timm/{model}",
        licence=licence[0],
        commercial=licence[1],
        part=part,
        options={"name": model.split(".")[0], **options},
        native_px=native_px,
        facts=stored_facts(name),
        taps_from=taps_from,
        mean=normalised[0],
        std=normalised[1],
    )


def _sam(size: str, taps: tuple[int, ...], name: str) -> EncoderCard:
    # SAM itself was given images by ImageNet's mean; CellViT-SAM, the use it has here, by 0.5.
    paper = "doi 10.1109/ICCV51070.2023.00371"
    model = f"samvit_{size}_patch16.sa1b"
    title = f"SAM image encoder, ViT-{size[0].upper()}/16"
    return _card(name, title, model, paper, _APACHE, 1024, "sam", {"taps": list(taps)}, _CELLVIT, _HALF)


def _sam2(size: str, native_px: int, name: str) -> EncoderCard:
    title = f"SAM 2 Hiera, {size.replace('_', ' ')}"
    model = f"sam2_hiera_{size}.fb_r{native_px}"
    return _card(name, title, model, "arXiv 2408.00714", _APACHE, native_px, "timm_pyramid", {}, _ALL)


def _dinov2(size: str, taps: tuple[int, ...], name: str, *, registers: bool) -> EncoderCard:
    model = f"vit_{size}_patch14_{'reg4_' if registers else ''}dinov2.lvd142m"
    title = f"DINOv2, ViT-{'g' if size == 'giant' else size[0].upper()}/14{', 4 registers' if registers else ''}"
    paper = "arXiv 2309.16588" if registers else "arXiv 2304.07193"
    options = {"taps": list(taps), "fit": True}
    return _card(name, title, model, paper, _APACHE, 518, "timm_vit", options, _QUARTERS)


def _dinov3(size: str, taps: tuple[int, ...], name: str) -> EncoderCard:
    title = f"DINOv3, ViT-{size[0].upper()}/16, 4 registers"
    model = f"vit_{size}_patch16_dinov3.lvd1689m"
    return _card(name, title, model, "arXiv 2508.10104", _DINOV3, 256, "timm_vit", {"taps": list(taps)}, _QUARTERS)


def _vit(name: str, title: str, model: str, paper: str, taps: tuple[int, ...], normalised: Any = _HALF) -> EncoderCard:
    return _card(name, title, model, paper, _APACHE, 224, "timm_vit", {"taps": list(taps)}, _QUARTERS, normalised)


def _pyramid(
    name: str,
    title: str,
    model: str,
    paper: str,
    licence: tuple[str, Any] = _APACHE,
    native_px: int = 224,
    *,
    depths: tuple[int, ...] | None = None,
    normalised: Any = IMAGENET,
    **arch_options: object,
) -> EncoderCard:
    options: dict[str, Any] = {} if depths is None else {"depths": list(depths)}
    if arch_options:
        options["arch_options"] = arch_options
    return _card(name, title, model, paper, licence, native_px, "timm_pyramid", options, _ALL, normalised)


_FIVE = (0, 1, 2, 3, 4)
"""Strides 2 to 32."""
_B12, _L24 = (3, 6, 9, 12), (6, 12, 18, 24)
_AUGREG = "arXiv 2106.10270"

PHOTOGRAPHS = (
    _sam("base", _B12, "sam-b"),
    _sam("large", _L24, "sam-l"),
    _sam("huge", (8, 16, 24, 32), "sam-h"),
    _sam2("tiny", 896, "sam2-t"),
    _sam2("small", 896, "sam2-s"),
    _sam2("base_plus", 896, "sam2-b+"),
    _sam2("large", 1024, "sam2-l"),
    _dinov2("small", _B12, "dinov2-s", registers=False),
    _dinov2("base", _B12, "dinov2-b", registers=False),
    _dinov2("large", _L24, "dinov2-l", registers=False),
    _dinov2("giant", (10, 20, 30, 40), "dinov2-g", registers=False),
    _dinov2("small", _B12, "dinov2-s-reg", registers=True),
    _dinov2("base", _B12, "dinov2-b-reg", registers=True),
    _dinov2("large", _L24, "dinov2-l-reg", registers=True),
    _dinov2("giant", (10, 20, 30, 40), "dinov2-g-reg", registers=True),
    _dinov3("small", _B12, "dinov3-s"),
    _dinov3("base", _B12, "dinov3-b"),
    _dinov3("large", _L24, "dinov3-l"),
    _vit("vit-ti-22k", "ViT-Ti/16, ImageNet-21k", "vit_tiny_patch16_224.augreg_in21k", _AUGREG, _B12),
    _vit("vit-s-22k", "ViT-S/16, ImageNet-21k", "vit_small_patch16_224.augreg_in21k", _AUGREG, _B12),
    _vit("vit-b-22k", "ViT-B/16, ImageNet-21k", "vit_base_patch16_224.augreg_in21k", _AUGREG, _B12),
    _vit("vit-l-22k", "ViT-L/16, ImageNet-21k", "vit_large_patch16_224.augreg_in21k", _AUGREG, _L24),
    _vit("deit-ti", "DeiT-Ti/16, ImageNet-1k", "deit_tiny_patch16_224.fb_in1k", "arXiv 2012.12877", _B12, IMAGENET),
    _vit(
        "hybrid-b-22k", "ResNet-50 + ViT-B, ImageNet-21k", "vit_base_r50_s16_224.orig_in21k", "arXiv 2010.11929", _B12
    ),
    _vit(
        "hybrid-l-22k",
        "ResNet-50 + ViT-L, stride 32, ImageNet-21k",
        "vit_large_r50_s32_224.augreg_in21k",
        _AUGREG,
        _L24,
    ),
    _pyramid(
        "convnext-b-22k", "ConvNeXt-B, ImageNet-22k", "convnext_base.fb_in22k", "doi 10.1109/CVPR52688.2022.01167"
    ),
    _pyramid(
        "convnextv2-t",
        "ConvNeXt V2-T, ImageNet-22k",
        "convnextv2_tiny.fcmae_ft_in22k_in1k",
        "doi 10.1109/CVPR52729.2023.01548",
        _CC_NC,
    ),
    _pyramid(
        "convnextv2-b",
        "ConvNeXt V2-B, ImageNet-22k",
        "convnextv2_base.fcmae_ft_in22k_in1k",
        "doi 10.1109/CVPR52729.2023.01548",
        _CC_NC,
    ),
    _pyramid(
        "swin2-b-22k",
        "Swin V2-B, ImageNet-22k",
        "swinv2_base_window12_192.ms_in22k",
        "doi 10.1109/CVPR52688.2022.01170",
        ("MIT", "yes"),
        192,
        strict_img_size=False,
    ),
    _pyramid(
        "efficientnetv2-s",
        "EfficientNetV2-S, ImageNet-21k",
        "tf_efficientnetv2_s.in21k",
        "arXiv 2104.00298",
        native_px=300,
        depths=_FIVE,
        normalised=_HALF,
    ),
    _pyramid(
        "resnet18",
        "ResNet-18, ImageNet-1k",
        "resnet18.tv_in1k",
        "doi 10.1109/CVPR.2016.90",
        ("BSD-3-Clause", "yes"),
        depths=_FIVE,
    ),
    _pyramid("resnet50", "ResNet-50, ImageNet-1k", "resnet50.a1_in1k", "doi 10.1109/CVPR.2016.90", depths=_FIVE),
    _pyramid(
        "mobilevit-s",
        "MobileViT-S, ImageNet-1k",
        "mobilevit_s.cvnets_in1k",
        "arXiv 2110.02178",
        _CVNETS,
        256,
        depths=_FIVE,
        normalised=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ),
    _pyramid(
        "mobilevitv2-100",
        "MobileViTv2-1.0, ImageNet-1k",
        "mobilevitv2_100.cvnets_in1k",
        "arXiv 2206.02680",
        _CVNETS,
        256,
        depths=_FIVE,
        normalised=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ),
    _pyramid(
        "mobilevitv2-150",
        "MobileViTv2-1.5, ImageNet-1k",
        "mobilevitv2_150.cvnets_in1k",
        "arXiv 2206.02680",
        _CVNETS,
        256,
        depths=_FIVE,
        normalised=((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ),
    _pyramid(
        "mobilenetv2",
        "MobileNetV2, ImageNet-1k",
        "mobilenetv2_100.ra_in1k",
        "doi 10.1109/CVPR.2018.00474",
        depths=_FIVE,
    ),
    _pyramid(
        "mobilenetv3-l",
        "MobileNetV3-L, ImageNet-1k",
        "mobilenetv3_large_100.ra_in1k",
        "doi 10.1109/ICCV.2019.00140",
        depths=_FIVE,
    ),
    _pyramid(
        "mobilenetv4-m",
        "MobileNetV4 Conv-M, ImageNet-1k",
        "mobilenetv4_conv_medium.e500_r256_in1k",
        "arXiv 2404.10518",
        native_px=256,
        depths=_FIVE,
    ),
)
"""In the order in which they are listed."""
