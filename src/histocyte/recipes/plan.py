"""What the training of a method is made of, as data: it is told, written beside a run and trained from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = ["Augmentations", "Crops", "Sampling", "TrainingPlan"]

Sampling = Literal["sets", "area", "cellvit", "cellvit-pannuke", "replication"]
"""How images are drawn: by our shares of the sets, and by area in each; by area alone; by CellViT's weights of tissues
and cells, counted in the images at hand or, as published, in all of PanNuke; by CISCA's copies of rare images."""
Augmentations = Literal["histocyte", "cellvit", "flips", "cisca", "none"]
"""Ours; CellViT's eleven transforms; quarter turns and flips alone; CISCA's; none at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Which crops a training sees; without a plan these."""

    augmentation: Augmentations = "histocyte"
    sampling: Sampling = "sets"
    sampling_gamma: float = 0.85
    """Exponent γ of CellViT's sampling: 0 draws uniformly, 1 balances fully."""
    crop_px: int = 256
    zoom: tuple[float, float] = (0.8, 1.25)
    """Range of a random factor on the resolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How a method is trained, as its paper or its authors' code has it.

    An epoch is as many crops as the area of the training images holds: on images of the crops' size, each image once.
    """

    source: str
    """Where it is from, with the DOI."""
    optimiser: Literal["adamw", "adam", "sgd"]
    learning_rate: float
    batch: int
    epochs: int
    losses: Mapping[str, float]
    """Weight by loss term."""
    augmentation: Augmentations
    sampling: Sampling = "area"
    schedule: Mapping[str, Any] = field(default_factory=lambda: {"name": "constant"})
    """Schedule of the learning rate (`training.schedule`)."""
    encoder_factor: float = 1.0
    """Learning rate of the encoder, as a share of it."""
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    amsgrad: bool = False
    weight_decay: float = 0.0
    clip: float = 0.0
    """Largest norm of the gradient; 0: any."""
    clip_each: bool = False
    """… of each tensor's by itself."""
    adapt: str = "full"
    """How much of the encoder is trained (`training.adapt`)."""
    frozen_epochs: int = 0
    """At first the encoder stays as it is for so long."""
    average_decay: float = 0.0
    """Decay of a moving average of the weights; 0: none."""
    keep: Literal["best", "last"] = "last"
    """Which weights are the result."""
    validate_epochs: int = 1
    """Epochs between validations."""
    patience: int = 0
    """Validations without a better score after which the training ends; 0: never."""
    sampling_gamma: float = 0.85
    """Exponent γ of CellViT's sampling: 0 draws uniformly, 1 balances fully."""
    class_weights: bool = False
    """Weigh classes by how often they were seen (`losses.classes.class_weights`)."""
    crop_px: int = 256
    zoom: tuple[float, float] = (1.0, 1.0)
    """Range of a random factor on the resolution."""
    readings: tuple[str, ...] = ()
    """What is not published or not clear, and how it is read here; and what differs."""

    @property
    def crops(self) -> Crops:
        """Which crops it sees."""
        return Crops(**{f.name: getattr(self, f.name) for f in fields(Crops)})

    def to_json(self) -> dict[str, Any]:
        """In plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people, a fact a line."""
        rate = f"learning rate {self.learning_rate:g}"
        if self.encoder_factor != 1:
            rate += f" (encoder {self.encoder_factor:g} of it)"
        extra = [f"betas {self.betas[0]:g} and {self.betas[1]:g}"] if self.optimiser != "sgd" else []
        extra += [f"momentum {self.betas[0]:g}"] if self.optimiser == "sgd" else []
        extra += ["AMSGrad"] if self.amsgrad else []
        extra += [f"weight decay {self.weight_decay:g}"]
        if self.clip:
            extra.append(f"gradient clipped to {self.clip:g}" + (" in each tensor" if self.clip_each else ""))
        options = ", ".join(f"{k} {v:g}" for k, v in self.schedule.items() if k != "name")
        schedule = f"{self.schedule['name']}({options})" if options else str(self.schedule["name"])
        length = f"{self.epochs} epochs of batch {self.batch}, crops of {self.crop_px} px"
        if self.zoom != (1.0, 1.0):
            length += f" zoomed by {self.zoom[0]:g}–{self.zoom[1]:g}"
        if self.adapt != "full":
            length += f"; of the encoder is trained: {'nothing' if self.adapt == 'frozen' else self.adapt}"
        if self.frozen_epochs:
            length += f"; the encoder stays as it is for the first {self.frozen_epochs}"
        end = {"last": "the last weights are the result", "best": "the weights of the best validation are the result"}
        if self.patience:
            length += f"; ends after {self.patience} validations without a better score"
        drawn = {
            "sets": "by our shares of the sets that are known by name",
            "area": "by their area",
            "cellvit": f"by rare tissues and cells (CellViT's weights, γ = {self.sampling_gamma:g})",
            "cellvit-pannuke": f"by rare tissues and cells of PanNuke (CellViT's weights, γ = {self.sampling_gamma:g})",
            "replication": "images of rare classes more often (CISCA's copies)",
        }
        average = f"; weights averaged by {self.average_decay:g}" if self.average_decay else ""
        weighed = "; classes weighed by how rare they are" if self.class_weights else ""
        return [
            f"{self.optimiser}, {rate}, {', '.join(extra)}; schedule {schedule}",
            f"{length}; {end[self.keep]}{average}",
            " + ".join(f"{weight:g} {term}" for term, weight in self.losses.items()) + weighed,
            f"images drawn {drawn[self.sampling]}; augmentation: {self.augmentation}",
            f"from: {self.source}",
            *(f"note: {reading}" for reading in self.readings),
        ]
