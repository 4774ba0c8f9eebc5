"""The same crops of some scans for every encoder that is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import Size, check_size, draw_crop
from napari_medssl.pretext.scan import Scan, to_float
from napari_medssl.settings import setting

_USUAL = {"crop_z": 32, "crop_y": 64, "crop_x": 64, "spacing_mm": 2.0}  # of paper 002, and of the methods here


@dataclass(frozen=True)
class CropSettings:
    """What is cut from the scans; 0 takes what the (first) weights were trained on."""

    count: int = setting(128, "Crops in all, shared evenly by the scans.", ge=4, le=100_000)
    crop_z: int = setting(0, "Voxels of a crop along z, a multiple of 8; 0: as trained.", ge=0, le=512)
    crop_y: int = setting(0, "Voxels of a crop along y, a multiple of 8; 0: as trained.", ge=0, le=512)
    crop_x: int = setting(0, "Voxels of a crop along x, a multiple of 8; 0: as trained.", ge=0, le=512)
    spacing_mm: float = setting(0.0, "Side of a voxel; 0: as trained.", ge=0.0, le=20.0)
    batch: int = setting(8, "Crops at a time; batch statistics are averaged over batches.", ge=1, le=256)
    seed: int = setting(0, "Of the places of the crops.", ge=0)

    @property
    def size(self) -> Size:
        """Voxels along z, y and x."""
        return self.crop_z, self.crop_y, self.crop_x


def as_trained(settings: CropSettings, card: Mapping[str, Any]) -> CropSettings:
    """`settings` with what is 0 taken from a model card, or as paper 002 has it where the card does not say.

    Raises SettingsError for sides that are no multiples of 8.
    """
    trained = card.get("settings", {})
    known = trained if isinstance(trained, Mapping) else {}
    missing: dict[str, Any] = {
        name: known.get(name) or usual for name, usual in _USUAL.items() if not getattr(settings, name)
    }
    filled = replace(settings, **missing)
    check_size("crop", filled.size)
    return filled


def draw_crops(scans: Sequence[Scan], settings: CropSettings) -> Tensor:
    """(count, Z, Y, X) uint8 crops, the scans in turn; the same ones for the same settings and scans.

    Places are random, over body where four draws find any (`draw_corner`); what a small scan leaves free is 0.
    """
    if not scans:
        raise SettingsError("there is no scan to take crops from; give folders of scans")
    drawn = [
        draw_crop(scans[n % len(scans)], settings.size, np.random.default_rng([settings.seed, n]))
        for n in range(settings.count)
    ]
    return torch.from_numpy(np.stack(drawn))


def in_batches(crops: Tensor, size: int, *, full: bool = False) -> Iterator[Tensor]:
    """(B, 1, Z, Y, X) float32 in [0, 1], in order. full: without a smaller last batch, unless it is the only one."""
    whole = len(crops) // size * size
    count = whole if full and whole else len(crops)
    for first in range(0, count, size):
        yield to_float(crops[first : min(first + size, count)])[:, None]
