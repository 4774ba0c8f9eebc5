"""Random changes of an exam in training: one change of place for all of its slices, noise for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from napari_medssl.pretext.move_choice import draw_discrete_moves
from napari_medssl.pretext.patches import Moves, move
from napari_medssl.transforms.white_noise import draw_noise_places, white_noise

Augmentation: TypeAlias = Literal["none", "jigsaw", "crop"]

NOISE_VARIANCE = 0.01
"""Of the white noise (thesis 3.4.1.3); intensities lie in [0, 1] (B3-15)."""

CROP = (0.08, 1.0)
"""Shares of the slice that a crop keeps (thesis 4.5.2.1, the range of its pretraining; B4-18)."""


@dataclass(frozen=True, eq=False)
class Change:
    """What was drawn for one exam: a move (rotation in degrees, shift along y and x in pixels, scale), a window of the
    slice (top, left, side), and a place in the noise field for each slice, none for no noise.
    """

    move: tuple[float, float, float, float]
    window: tuple[float, float, float]
    noise: np.ndarray


def draw_change(rng: np.random.Generator, kind: Augmentation, *, side: int, slices: int) -> Change | None:
    """Draw a change of an exam with `slices` slices of `side` pixels; None changes nothing.

    jigsaw: the moves of thesis 3.4.1.3 (rotation by 15 degrees, shift by a tenth, scale 1.2) and noise. The thesis
    changes every slice by itself, which would tear the exam apart; here all move alike (B3-34). crop: a random window,
    resized to the whole, one for all slices.
    """
    if kind == "none":
        return None
    whole = (0.0, 0.0, float(side))
    if kind == "jigsaw":
        rotation, y, x, scale = (float(v) for v in draw_discrete_moves(rng, 1, side)[0])
        return Change((rotation, y, x, scale), whole, draw_noise_places(rng, slices))
    window = side * float(np.sqrt(rng.uniform(*CROP)))
    top, left = rng.uniform(0, side - window, 2)
    return Change((0.0, 0.0, 0.0, 1.0), (float(top), float(left), window), np.zeros(0, np.int64))


def apply_change(slices: Tensor, change: Change | None) -> Tensor:
    """(S, C, side, side) float32 slices in [0, 1], changed; what comes from beyond the slice is mirrored."""
    if change is None:
        return slices
    side = slices.shape[-1]
    rotation, y, x, scale = change.move
    top, left, window = change.window
    zoom = scale * side / window
    # A window becomes the whole slice by enlarging about the centre and shifting its own centre there.
    middle = (side - window) / 2
    shift = ((middle - top) * zoom + y, (middle - left) * zoom + x)
    count, device = len(slices), slices.device
    moves = Moves(
        torch.full((count,), rotation, device=device), torch.tensor([shift] * count, device=device),
        torch.full((count,), zoom, device=device),
    )  # fmt: skip
    moved = move(slices, moves, corner=torch.zeros(count, 2, device=device), size=side)
    if not len(change.noise):
        return moved
    noise = white_noise(torch.from_numpy(change.noise).to(device), slices.shape[1:])
    noisy: Tensor = moved + NOISE_VARIANCE**0.5 * noise
    return noisy.clamp(0.0, 1.0)
