"""Which geometric change was made to a slice: 54 classes (thesis 3.3.1), or quarter turns (Gidaris et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.pretext.move_choice import MOVE_CLASSES, move_of
from napari_medssl.pretext.patches import Moves, move
from napari_medssl.pretext.scan import Scan, to_float
from napari_medssl.pretext.slice_choice import draw_slice
from napari_medssl.pretext.task import Example
from napari_medssl.settings import check, setting


@dataclass(frozen=True)
class GeometricSettings:
    """How slices are changed, and what is shown of them."""

    size: int = setting(192, "Side of the framed slice and of the image in pixels.", ge=16, le=1024)
    keep: float = setting(
        0.6,
        "Share of the side that is shown after the change; up to 0.6 nothing from beyond the slice is.",
        ge=0.2,
        le=1.0,
    )
    fill: Literal["mirrored", "zeros"] = setting(
        "mirrored", "What comes from beyond the slice. zeros, as in the thesis, betrays the change.", advanced=True
    )


class GeometricChange:
    """The task: rotation by -15, 0 or 15 degrees, shifts of a tenth of the side or none, scale 1 or 1.2, 54 classes.

    The thesis keeps it as the example of a shortcut: voids and borders tell the class. Here the middle is cut out after
    the change, and what remains outside is mirrored (R-28), so that neither is seen; `keep=1, fill="zeros"` is the
    thesis' own task.

    A prepared batch has image (B, C, size, size) float32 in [0, 1] and label (B,) int64.
    """

    classes = MOVE_CLASSES

    def __init__(self, settings: GeometricSettings, channels: int = 1) -> None:
        check(settings)
        self.settings, self.channels = settings, channels

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """slices (channels, size, size) uint8 and the label."""
        return _labelled_slice(scans, rng, self)

    def prepare(self, batch: Example) -> Example:
        """The changed images."""
        labels, size = batch["label"], self.settings.size
        moves = torch.from_numpy(move_of(np.arange(self.classes), size)).to(labels.device)[labels]
        changed = move(
            to_float(batch["slices"]),
            Moves(moves[:, 0], moves[:, 1:3], moves[:, 3]),
            corner=torch.zeros(len(labels), 2, device=labels.device),
            size=size,
            mirrored=self.settings.fill == "mirrored",
        )
        return {"image": show_middle(changed, self.settings.keep), "label": labels}


@dataclass(frozen=True)
class RotationSettings:
    """What is shown of turned slices."""

    size: int = setting(192, "Side of the framed slice and of the image in pixels.", ge=16, le=1024)
    keep: float = setting(0.7, "Share of the side that is shown, without the outer parts of the body.", ge=0.2, le=1.0)


class QuarterTurns:
    """The task: was the slice turned by 0, 90, 180 or 270 degrees? Label k: k quarter turns against the clock.

    Turning moves pixels without resampling and leaves no voids, but the bars that make a slice square would turn with
    it: the square in the middle of the slice is taken instead, and of that the middle alone is shown.

    A prepared batch has image (B, C, size, size) float32 in [0, 1] and label (B,) int64.
    """

    classes = 4

    def __init__(self, settings: RotationSettings, channels: int = 1) -> None:
        check(settings)
        self.settings, self.channels = settings, channels

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """slices (channels, size, size) uint8 and the label."""
        return _labelled_slice(scans, rng, self)

    def prepare(self, batch: Example) -> Example:
        """The turned images."""
        labels = batch["label"]
        turned = turn(show_middle(to_float(batch["slices"]), self.settings.keep), labels)
        return {"image": turned, "label": labels}


def _labelled_slice(scans: Sequence[Scan], rng: np.random.Generator, task: GeometricChange | QuarterTurns) -> Example:
    slices = draw_slice(scans, rng, size=task.settings.size, channels=task.channels, bars="square")
    return {"slices": slices, "label": torch.tensor(int(rng.integers(task.classes)))}


def turn(images: Tensor, quarters: Tensor) -> Tensor:
    """(B, C, H, H) images turned by (B,) quarters against the clock."""
    turns = torch.stack([torch.rot90(images, k, (-2, -1)) for k in range(4)], 1)
    return turns[torch.arange(len(images), device=images.device), quarters % 4]


def show_middle(images: Tensor, share: float) -> Tensor:
    """The middle `share` of the sides of (B, C, H, H) images, enlarged to their size."""
    size = images.shape[-1]
    inner = max(1, round(size * share))
    first = (size - inner) // 2
    middle = images[..., first : first + inner, first : first + inner]
    if inner == size:
        return middle
    return F.interpolate(middle, size=(size, size), mode="bilinear", align_corners=False)
