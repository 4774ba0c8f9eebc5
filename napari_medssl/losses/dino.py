"""DINO: the student's distribution over prototypes is to be the teacher's, centred and sharpened."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def dino(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Scalar: mean cross-entropy from softmax((teacher - centre) / t_t) to softmax(student / t_s).

    student, teacher: (B, K) scores of two different views of the same images. centre: (K,) running mean of the
    teacher's scores; it keeps one prototype from taking all, the low teacher temperature keeps all from being equal.
    No gradient reaches teacher and centre.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (2021), Eqs. 1-3, algorithm 1.
    """
    target = ((teacher - centre) / teacher_temperature).softmax(1).detach()
    return -(target * (student / student_temperature).log_softmax(1)).sum(1).mean()


@in_float32
def moved_centre(centre: Tensor, teacher: Tensor, *, momentum: float = 0.9) -> Tensor:
    """(K,) next centre: momentum * centre + (1 - momentum) * mean of the (B, K) teacher scores (Eq. 4).

    Where the mean is not finite the centre stays, or one bad batch would spoil every later one.
    """
    seen = teacher.detach().mean(0)
    return torch.where(seen.isfinite(), momentum * centre + (1 - momentum) * seen, centre)
