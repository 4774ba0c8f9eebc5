"""Integrated gradients: what each pixel adds to a class on the way from an image without content to the real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.classify.explain.modes import looking
from napari_medssl.errors import SettingsError, WeightsError

COMPLETE = 0.01
"""How far the sum of what the pixels add may be off the whole difference of scores (F-074)."""
_FIRST, _MOST = 32, 512  # steps along the way; doubled until it is complete
_NO_DIFFERENCE = 1e-3  # of scores, below which a share of it says nothing


@dataclass(frozen=True)
class Integrated:
    """added: like the inputs, what each number adds to the score; on the CPU. gap: largest distance from completeness
    of an input, as a share of its difference of scores. steps: along the way."""

    added: Tensor
    gap: float
    steps: int


def integrated_gradients(
    model: nn.Module, inputs: Tensor, *, target: int, baseline: Tensor | None = None, most: int = _MOST
) -> Integrated:
    """The gradients of a class's score along the straight way from a baseline to the inputs, times that way.

    model: maps `inputs` to scores (B, classes) before softmax or sigmoid. inputs: (B, ...). target: number of the
    class. baseline: like the inputs; None is 0, which is air. most: steps at most.

    Their sum is the score of the input less that of the baseline (completeness). Midpoints of 32 steps, doubled until
    that holds within 1 % for every input or `most` are reached: where a network bends sharply, `gap` says what is left.
    Ours: the doubling, and steps that grow from the baseline on (squares of equal ones), because networks that divide
    by the deviation of an image change most where hardly anything is on it. The network is left as it was.

    Raises SettingsError for a class the network does not have, WeightsError when it gives values that are not numbers.

    Source: Sundararajan, Taly and Yan (2017), "Axiomatic attribution for deep networks",
    https://arxiv.org/abs/1703.01365, equations 1 and 3. Cost: two passes (forward and back) per step.
    """
    start = torch.zeros_like(inputs) if baseline is None else baseline
    with looking(model):
        difference = _score(model, inputs, target) - _score(model, start, target)
        steps = min(_FIRST, most)
        while True:
            added = _along(model, start, inputs, target, steps)
            gap = _gap(added, difference)
            if gap <= COMPLETE or 2 * steps > most:
                break
            steps *= 2
    if not (torch.isfinite(added).all() and torch.isfinite(difference).all()):
        raise WeightsError("the network gives values that are not numbers; its weights are damaged, choose others")
    return Integrated(added.float().cpu(), gap, steps)


def baseline_of(images: Tensor, fill: Literal["dark", "mean", "patch"]) -> Tensor:
    """Images without content: darkness, or for the other fills means over half of every side, as an even image is like
    no other to networks that divide by the deviation (ours).

    images: (B, C, *sides), two or three sides.
    """
    if fill == "dark":
        return torch.zeros_like(images)
    sides = [n // 4 * 2 + 1 for n in images.shape[2:]]
    blur = F.avg_pool2d if images.ndim == 4 else F.avg_pool3d
    return blur(images, sides, 1, [n // 2 for n in sides], count_include_pad=False)


def _score(model: nn.Module, inputs: Tensor, target: int) -> Tensor:
    with torch.no_grad():
        scores: Tensor = model(inputs)
    if scores.ndim != 2 or not 0 <= target < scores.shape[1]:
        raise SettingsError(f"class number {target} was asked for; the network gives {tuple(scores.shape)} scores")
    return scores[:, target]


def _along(model: nn.Module, start: Tensor, end: Tensor, target: int, steps: int) -> Tensor:
    total = torch.zeros_like(end)
    for step in range(steps):
        root = (step + 0.5) / steps
        here = torch.lerp(start, end, root**2).detach().requires_grad_()
        with torch.enable_grad():
            score = model(here)[:, target].sum()
        if score.requires_grad:
            total += 2 * root * torch.autograd.grad(score, here)[0]
    return total / steps * (end - start)


def _gap(added: Tensor, difference: Tensor) -> float:
    sums = added.flatten(1).sum(1)
    away = (sums - difference).abs() / difference.abs().clamp(min=_NO_DIFFERENCE)
    return float(away.max()) if len(away) else 0.0
