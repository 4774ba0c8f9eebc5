"""Restoring hidden patches: slices and crops of which most patches are taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import Size, check_size, draw_crop
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.slice_choice import draw_slice
from napari_medssl.pretext.task import Example

RATIO, LEAST_RATIO, MOST_RATIO = 0.75, 0.6, 0.8
"""Share of the patches that are hidden: default and range (guide 001, masked image modelling; S90, B1-05)."""

_EPSILON = 1e-4
"""Added to the variance of a patch, the square of 1 % of the intensity window: standardised air stays near 0.
(He et al., 2022, add 1e-6, which would have the network learn the noise of air as well as organs.)"""


@dataclass(frozen=True)
class Masking:
    """Which patches are hidden, and what has to be restored.

    patch: side of a square or cubic patch in pixels. ratio: share of patches hidden, rounded to whole patches; at least
    one is hidden and at least one is not.
    token: side of the patches an encoder takes as tokens; it divides `patch`. 0 when it takes none.
    standardise: restore each patch less its mean and divided by its deviation (He et al., 2022), instead of intensities
    (guide 001).
    """

    patch: int
    ratio: float = RATIO
    token: int = 0
    standardise: bool = False

    def check(self, sides: Sequence[int]) -> None:
        """Raise SettingsError when an image of these sides cannot be cut into such patches, or they into tokens."""
        shown = " x ".join(map(str, sides))
        if any(side % self.patch for side in sides):
            raise SettingsError(
                f"patches of {self.patch} do not tile an image of {shown}; choose a divisor of its sides"
            )
        if int(np.prod([side // self.patch for side in sides])) < 2:
            raise SettingsError(f"an image of {shown} is a single patch of {self.patch}; choose smaller patches")
        if self.token and self.patch % self.token:
            raise SettingsError(
                f"hidden patches of {self.patch} are no whole number of the encoder's patches of {self.token}; "
                f"choose a multiple of {self.token}"
            )
        if not LEAST_RATIO <= self.ratio <= MOST_RATIO:
            raise SettingsError(f"ratio is {self.ratio}; it must be at least {LEAST_RATIO} and at most {MOST_RATIO}")

    def draw(self, sides: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Boolean grid of patches, True where hidden; the number of hidden ones depends on the sides alone."""
        grid = [side // self.patch for side in sides]
        hidden = np.zeros(int(np.prod(grid)), bool)
        hidden[rng.choice(len(hidden), self._hidden(len(hidden)), replace=False)] = True
        return torch.from_numpy(hidden.reshape(grid))

    def apply(self, image: Tensor, mask: Tensor) -> Example:
        """What the network takes, from (B, C, *sides) images in [0, 1] and their (B, *grid) masks.

        image: 0 where hidden. target: what is to be restored, of the same shape. weight: (B, 1, *sides), 1 where hidden
        and 0 elsewhere. visible: (B, V) int64, numbers of the tokens that are not hidden, ascending; only with `token`.
        """
        weight = _enlarged(mask, self.patch)[:, None].to(image.dtype)
        target = standardised(image, self.patch) if self.standardise else image
        found = {"image": image * (1 - weight), "target": target, "weight": weight}
        if self.token:
            hidden = _enlarged(mask, self.patch // self.token).flatten(1)
            patches = mask[0].numel()
            visible = (patches - self._hidden(patches)) * (hidden.shape[1] // patches)
            found["visible"] = hidden.to(torch.uint8).argsort(stable=True, dim=1)[:, :visible]
        return found

    def _hidden(self, patches: int) -> int:
        return min(patches - 1, max(1, round(self.ratio * patches)))


def standardised(image: Tensor, patch: int) -> Tensor:
    """(B, C, *sides) with every patch of every channel less its mean and divided by its deviation."""
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    centred = image - _enlarged(pool(image, patch), patch, first=2)
    variance = _enlarged(pool(centred.square(), patch), patch, first=2)
    return centred / (variance + _EPSILON).sqrt()


def _enlarged(grid: Tensor, factor: int, *, first: int = 1) -> Tensor:
    """Each cell repeated `factor` times along every axis from `first` on."""
    for axis in range(first, grid.ndim):
        grid = grid.repeat_interleave(factor, axis)
    return grid


class MaskedSlices:
    """Random slices, (channels, size, size) with their neighbours, and masks common to the neighbours.

    An example: "slices" (channels, size, size) uint8 and "mask" (size / patch, size / patch) bool. A batch: see
    `Masking.apply`. Slices are not changed in any other way; masks are augmentation enough (He et al., 2022, Table 1e).

    Source: guide 001, masked image modelling (S90).
    """

    def __init__(self, size: int, channels: int, masking: Masking) -> None:
        masking.check((size, size))
        self.size, self.channels, self.masking = size, channels, masking

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        slices = draw_slice(scans, rng, size=self.size, channels=self.channels)
        return {"slices": slices, "mask": self.masking.draw((self.size, self.size), rng)}

    def prepare(self, batch: Example) -> Example:
        return self.masking.apply(to_float(batch["slices"]), batch["mask"])


class MaskedCrops:
    """Random crops of volumes and their masks, cubes of patches.

    An example: "crop" (Z, Y, X) uint8 and "mask" (Z, Y, X) / patch, bool. A batch: see `Masking.apply`; C is 1.

    Source: guide 001, masked image modelling for 3D images (S90).
    """

    def __init__(self, crop: Size, masking: Masking) -> None:
        check_size("crop", crop)
        masking.check(crop)
        self.crop, self.masking = crop, masking

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        crop = draw_crop(pick_scan(scans, rng), self.crop, rng)
        return {"crop": torch.from_numpy(crop), "mask": self.masking.draw(self.crop, rng)}

    def prepare(self, batch: Example) -> Example:
        return self.masking.apply(to_float(batch["crop"])[:, None], batch["mask"])
