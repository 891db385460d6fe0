"""What a student is told by a teacher's maps and features. Shapes: B batch, C channels, H W pixels.

Hinton et al. 2015 (Distilling the knowledge in a neural network, arXiv 1503.02531): at a temperature T above 1 a
teacher also says how unlikely it holds the classes that it does not choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "feature_distance",
    "merged_divergence",
    "softened_binary_divergence",
    "softened_divergence",
    "weighted_squared_error",
]


def softened_divergence(student: Tensor, teacher: Tensor, *, temperature: float, squared: bool = True) -> Tensor:
    """Mean over pixels of T² KL(softmax(z_t / T) ‖ softmax(z_s / T)).

    Args:
        student: (B, C, H, W) logits z_s.
        teacher: (B, C, H, W) logits z_t, or logarithms of probabilities, whose softmax is the same.
        temperature: T.
        squared: Multiply by T², so that the gradient keeps its size whatever the temperature.
    """
    theirs = (teacher / temperature).log_softmax(dim=1)
    mine = (student / temperature).log_softmax(dim=1)
    divergence = (theirs.exp() * (theirs - mine)).sum(dim=1).mean()
    return divergence * temperature**2 if squared else divergence


def merged_divergence(
    student: Tensor,
    teacher: Tensor,
    groups: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    temperature: float,
    squared: bool = True,
) -> Tensor:
    """`softened_divergence` of two lists of classes, as far as one says what the other does.

    Whether there is a nucleus, all classes taken together, is one divergence of a yes or no. The other is between the
    groups that the lists have in common, among each other, weighted by how surely the teacher sees a nucleus of one of
    them. So classes that one list alone has are neither drawn to nor away from; the truth has to teach them.

    Args:
        student: (B, S + 1, H, W) logits, channel 0 background.
        teacher: (B, T + 1, H, W) logits, channel 0 background.
        groups: Channels of the teacher and of the student that are one, their probabilities added up.
        temperature: T.
        squared: Multiply by T², as above.
    """
    divergence = softened_binary_divergence(
        _nucleus(student), _nucleus(teacher), temperature=temperature, squared=squared
    )
    if len(groups) < 2:
        return divergence
    theirs = torch.stack([teacher[:, list(channels)].logsumexp(dim=1) for channels, _ in groups], dim=1)
    mine = torch.stack([student[:, list(channels)].logsumexp(dim=1) for _, channels in groups], dim=1)
    sure = (theirs.logsumexp(dim=1) - teacher.logsumexp(dim=1)).exp()
    theirs, mine = (theirs / temperature).log_softmax(dim=1), (mine / temperature).log_softmax(dim=1)
    among = ((theirs.exp() * (theirs - mine)).sum(dim=1) * sure).mean()
    return divergence + (among * temperature**2 if squared else among)


def _nucleus(logits: Tensor) -> Tensor:
    """(B, 1, H, W) logit of any class against the background, channel 0."""
    return logits[:, 1:].logsumexp(dim=1, keepdim=True) - logits[:, :1]


def softened_binary_divergence(student: Tensor, teacher: Tensor, *, temperature: float, squared: bool = True) -> Tensor:
    """The same for a map of probabilities, each channel a yes or no by itself; mean over pixels, sum over channels.

    Args:
        student: (B, C, H, W) logits.
        teacher: (B, C, H, W) logits.
        temperature: T.
        squared: As above.
    """
    theirs, mine = teacher / temperature, student / temperature
    yes = theirs.sigmoid() * (F.logsigmoid(theirs) - F.logsigmoid(mine))
    no = (-theirs).sigmoid() * (F.logsigmoid(-theirs) - F.logsigmoid(-mine))
    divergence = (yes + no).sum(dim=1).mean()
    return divergence * temperature**2 if squared else divergence


def weighted_squared_error(student: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of (B, C, H, W) maps, under weights (B, 1, H, W) of each pixel where given."""
    squared = (student - teacher) ** 2
    if weight is None:
        return squared.mean()
    return (squared * weight).sum() / (weight.sum() * student.shape[1]).clamp(min=1.0)


def feature_distance(student: Tensor, teacher: Tensor, *, way: Literal["cosine", "mse"]) -> Tensor:
    """How far features (B, D, h, w) lie from a teacher's (B, D, g, g) on the coarser grid, which the teacher's is.

    Args:
        student: Projected to the teacher's width; averaged over each cell of the teacher's grid where its own is finer.
        teacher: To come near to.
        way: "cosine", 1 less the cosine of the angle between the two vectors of a place, whose lengths do not matter;
            or "mse", the squared difference as a share of the mean square of the teacher's features.
    """
    if student.shape[-2:] != teacher.shape[-2:]:
        student = F.adaptive_avg_pool2d(student, (teacher.shape[-2], teacher.shape[-1]))
    if way == "cosine":
        return (1 - F.cosine_similarity(student, teacher, dim=1, eps=1e-6)).mean()
    return ((student - teacher) ** 2).mean() / (teacher**2).mean().clamp(min=1e-6)
