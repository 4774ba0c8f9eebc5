"""Which of ten turns was a crop given? Rotation prediction in 3D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import Size, check_size, draw_crop, enlarged, fitting, shrunk
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example

TURNS: tuple[tuple[int, int], ...] = ((0, 0), *((axis, quarters) for axis in (2, 1, 0) for quarters in (1, 2, 3)))
"""The ten classes as (axis, quarter turns), axis 0, 1, 2 = z, y, x: none, then 90, 180, 270 degrees about x, y, z."""


class Turns:
    """Crops turned in one of ten ways.

    crop: voxels along z, y, x cut from the scan. cube: side of the cube it is resized to before it is turned, because
    a quarter turn would swap the sides of anything else and give the label away (B2-08); 0 takes the longest side of
    the crop.

    An example: "crop" (Z, Y, X) uint8, "label" scalar int64. A batch: "image" (B, 1, cube, cube, cube), "label" (B,).

    Source: Komodakis & Gidaris, 2018; in 3D Taleb et al., 2020; paper 002, Eq. 1 (S68). A crop that is no cube is
    blurred along its short side by the resizing, which tells turns about two of the axes without any anatomy: prefer
    cubes of isotropic voxels. From a scan that is smaller than the crop a smaller one is cut and enlarged, because
    padding would turn with it and tell the same (ours).
    """

    def __init__(self, crop: Size, *, cube: int = 0) -> None:
        check_size("crop", crop)
        if cube < 0 or cube % 8:
            raise SettingsError(f"cube is {cube}; it must be a multiple of 8 (0: the longest side of the crop)")
        self.crop, self.cube = crop, cube or max(crop)

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        scan = pick_scan(scans, rng)
        size = shrunk(self.crop, fitting(self.crop, scan.shape))
        crop = enlarged(draw_crop(scan, size, rng), self.crop)
        return {"crop": torch.from_numpy(crop), "label": torch.tensor(int(rng.integers(len(TURNS))))}

    def prepare(self, batch: Example) -> Example:
        volumes = to_float(batch["crop"])[:, None]
        side = (self.cube,) * 3
        if volumes.shape[2:] != side:
            volumes = F.interpolate(volumes, size=side, mode="trilinear", align_corners=False)
        return {"image": turn_cubes(volumes, batch["label"]), "label": batch["label"]}


def turn_cubes(cubes: Tensor, labels: Tensor) -> Tensor:
    """(B, C, n, n, n) cubes, each turned as its class in `TURNS` says: at quarter turns exact, nothing is resampled."""
    return torch.stack([_turned(cube, *TURNS[label]) for cube, label in zip(cubes, labels.tolist(), strict=True)])


def turn_back(cubes: Tensor, labels: Tensor) -> Tensor:
    """Undo `turn_cubes`."""
    turns = (TURNS[label] for label in labels.tolist())
    return torch.stack([_turned(cube, axis, -quarters) for cube, (axis, quarters) in zip(cubes, turns, strict=True)])


def _turned(cube: Tensor, axis: int, quarters: int) -> Tensor:
    plane = [1 + i for i in range(3) if i != axis]
    return torch.rot90(cube, quarters, plane)
