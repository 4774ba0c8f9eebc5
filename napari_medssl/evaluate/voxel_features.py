"""Features of single voxels: an encoder's stages read at points, and what needs no learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from napari_medssl.io import read
from napari_medssl.pretext.crops3d import cut
from napari_medssl.pretext.scan import to_float
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case
from napari_medssl.train.grid import Grid, on_grid
from napari_medssl.train.objectives.voxel_contrast import joined_at

Points = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

WINDOW = (48, 80, 80)
"""Voxels an encoder sees at once."""

HALO = (8, 16, 16)
"""Voxels on each side of a window where no points are read: features near a border lack half of what is around them."""

SCALES_MM = (2.0, 4.0, 8.0, 16.0)
"""Standard deviations of the smoothed intensities among the features made by hand."""

_AIR = 20  # of 255


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan as encoders are shown it, and the points' places in it.

    image: (Z, Y, X) uint8, the intensity window on cubic voxels. spacing_mm: of them. at: (N, 3) fractional z, y, x.
    """

    image: npt.NDArray[np.uint8]
    spacing_mm: float
    at: Points


def prepare(case: Case, points_mm: Points, spacing_mm: float) -> Prepared:
    """The scan on voxels of `spacing_mm`, as in training; points in RAS mm."""
    volume = read(case.image, series=case.series)
    voxels = on_grid(volume, Grid(spacing_mm=spacing_mm), name=case.image)
    inverse = np.linalg.inv(volume.affine)
    index = points_mm @ inverse[:3, :3].T + inverse[:3, 3]
    at = (index + 0.5) * (np.array(voxels.image.shape) / np.array(volume.shape)) - 0.5  # same outer corner
    return Prepared(voxels.image, spacing_mm, at)


def encoded_steps(encoder: Any, scan: Prepared) -> Steps[Floats]:
    """(N, C) float32: all stages of a volume encoder, joined, trilinear at the points.

    Only windows that hold a point are computed, and no grid is kept: 240 channels of a whole CT on 2 mm would be 4 GB.
    Each point is read where it lies nearest to a window's middle, without averaging over windows.
    """
    core = np.array(WINDOW) - 2 * np.array(HALO)
    cells = np.floor(scan.at / core).astype(int)
    kinds, of = np.unique(cells, axis=0, return_inverse=True)
    found: Floats = np.zeros((0, 0), np.float32)
    for n, cell in enumerate(kinds):
        if n % 8 == 0:
            yield Progress(n, len(kinds), "encoding")
        mine = np.flatnonzero(of.reshape(-1) == n)
        features = _window(encoder, scan, cell * core - HALO, mine)
        if not found.size:
            found = np.zeros((len(scan.at), features.shape[1]), np.float32)
        found[mine] = features
    return found


def _window(encoder: Any, scan: Prepared, corner: Any, mine: Any) -> Floats:
    room = np.array(scan.image.shape) - WINDOW
    low, high = np.where(room > 0, 0, -(-room // 2)), np.where(room > 0, room, -(-room // 2))
    z, y, x = (int(c) for c in np.clip(corner, low, high))
    crop = cut(scan.image, (z, y, x), WINDOW)
    unit = (scan.at[mine] - (z, y, x) + 0.5) / np.array(WINDOW) * 2 - 1
    with torch.inference_mode():
        device = next(encoder.parameters()).device
        stages = encoder.stages(to_float(torch.from_numpy(crop))[None, None].to(device))
        read_at = joined_at(stages, torch.from_numpy(unit[None, :, ::-1].astype(np.float32)).to(device))
    return np.asarray(read_at[0].cpu().numpy())


def made_by_hand(scan: Prepared) -> Floats:
    """(N, 10) float32: intensity, gradient magnitude per mm, and at each of `SCALES_MM` smoothed intensity and its
    local standard deviation.
    """
    image = scan.image.astype(np.float32) / 255
    fields = [image, ndimage.gaussian_gradient_magnitude(image, 1.0) / scan.spacing_mm]
    for scale in SCALES_MM:
        sigma = scale / scan.spacing_mm
        smooth = ndimage.gaussian_filter(image, sigma)
        fields += [smooth, np.sqrt(np.maximum(ndimage.gaussian_filter(image**2, sigma) - smooth**2, 0))]
    return _at(fields, scan.at)


def body_position(scan: Prepared) -> Floats:
    """(N, 9) float32: z, y, x in the box around the body, 0 to 1, their squares and products.

    With the squares a linear probe can tell a middle from both ends. The box holds 99 % of the voxels brighter than air
    along each axis, so that a table or an arm does not move it much.
    """
    body = scan.image > _AIR
    ends = []
    for axis in range(3):
        share = np.cumsum(body.sum(tuple(a for a in range(3) if a != axis)))
        share = share / max(1, share[-1])
        ends.append((int(np.searchsorted(share, 0.005)), int(np.searchsorted(share, 0.995)) + 1))
    low, high = np.array(ends, float).T
    p = (scan.at - low) / np.maximum(high - low, 1)
    z, y, x = p.T
    return np.stack([z, y, x, z * z, y * y, x * x, z * y, z * x, y * x], 1).astype(np.float32)


def _at(fields: Sequence[Floats], at: Points) -> Floats:
    where = np.clip(at, 0, np.array(fields[0].shape) - 1).T
    return np.stack([ndimage.map_coordinates(f, where, order=1, mode="nearest") for f in fields], 1)
