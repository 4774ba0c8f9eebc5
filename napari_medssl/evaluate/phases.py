"""Which part of a network is trained when, and how fast: the ways of fine-tuning."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

Mode: TypeAlias = Literal["frozen", "warm-up", "gradual", "full"]

HEAD_EPOCHS = 5
"""Epochs of the head alone in a warm-up (B2-22)."""

WARM_SHARE = 0.1
"""Of the head's learning rate, for everything after a warm-up (B2-22)."""


@dataclass(frozen=True)
class Phase:
    """What is trained at one step. open: stages of the encoder, counted from its end, that are trained.
    head_rate, encoder_rate: learning rates.
    """

    open: int
    head_rate: float
    encoder_rate: float


def phase_at(
    mode: Mode, step: int, *, steps: int, per_epoch: int, stages: int, head_rate: float, encoder_rate: float,
    fall: float | None = None,
) -> Phase:  # fmt: skip
    """The phase of step number `step` (from 0) out of `steps`; `per_epoch` steps are an epoch.

    frozen: the head alone. warm-up: the head alone for 5 epochs, but at most half of the run, then everything at a
    tenth of the head's rate (paper 002, lengths and rates ours: B2-22). gradual: a stage more at equal intervals, the
    deepest first, all of them open for the last 1 / (stages + 1) of the run; no document defines it (S100). full: all
    from the start, the encoder slower than the head (guide 001: head 1e-3, encoder 1e-4).
    All rates are multiplied by `fall`; None: they fall along a half cosine to 0.
    """
    fall = 0.5 * (1 + math.cos(math.pi * step / steps)) if fall is None else fall
    head, encoder = head_rate * fall, encoder_rate * fall
    if mode == "frozen":
        return Phase(0, head, 0.0)
    if mode == "full":
        return Phase(stages, head, encoder)
    if mode == "gradual":
        return Phase(min(stages, step * (stages + 1) // steps), head, encoder)
    if step < min(HEAD_EPOCHS * per_epoch, steps // 2):
        return Phase(0, head, 0.0)
    return Phase(stages, WARM_SHARE * head, WARM_SHARE * head)


def encoder_stages(encoder: nn.Module) -> list[nn.Module]:
    """The parts of an encoder that have weights, in the order they are written in, which is from input to output."""
    return list(named_stages(encoder).values())


def named_stages(encoder: nn.Module) -> dict[str, nn.Module]:
    """`encoder_stages` by name; the members of a list of modules count one by one."""
    inner: nn.Module = getattr(encoder, "inner", encoder)
    found: dict[str, nn.Module] = {}
    for name, child in inner.named_children():
        listed = isinstance(child, nn.ModuleList)
        found |= {f"{name}.{n}": c for n, c in child.named_children()} if listed else {name: child}
    with_weights = {name: part for name, part in found.items() if any(True for _ in part.parameters())}
    return with_weights or ({"encoder": inner} if any(True for _ in inner.parameters()) else {})
