"""Maps of a network's layer, put back where they lie in the scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor

from napari_medssl.models.features import SliceFrame
from napari_medssl.models.slices import out_of_frame
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Affine, Volume

FloatArray: TypeAlias = npt.NDArray[np.float32]

_LABEL = "placing on the scan"
_SLICES = 8  # at a time, so that a large scan needs little beside its own result
_SLAB_VOXELS = 1 << 20


def slices_onto_grid(
    maps: Tensor, slices: Sequence[int], frame: SliceFrame, depth: int,
    *, between: Literal["empty", "linear"] = "empty",
) -> Steps[FloatArray]:  # fmt: skip
    """(S, h, w) maps of framed slices to (depth, Y, X) float32 on the scan's own slices.

    slices: the number in the scan of each map; one that is shown twice gets the mean of its maps. frame: how the slices
    were laid into the square that the maps cover. between: what slices get that were not shown: 0, or a blend of the
    shown ones before and after; those outside the shown ones always get 0.

    A cell is taken to lie in the middle of the pixels it stands for and values between cells are bilinear. Strided
    convolutions look up to half a cell beside that, so a place is known to about a cell.
    """
    places = np.unique(np.asarray(slices))
    rows = np.searchsorted(places, np.asarray(slices))
    shown = torch.zeros((len(places), *maps.shape[1:])).index_add_(0, torch.from_numpy(rows), maps.float())
    shown /= torch.from_numpy(np.bincount(rows)).float()[:, None, None]
    out = np.zeros((depth, *frame.shape), np.float32)
    wanted = places if between == "empty" else np.arange(places[0], places[-1] + 1)
    for first in range(0, len(wanted), _SLICES):
        yield Progress(first, len(wanted), _LABEL)
        part = wanted[first : first + _SLICES]
        out[part] = out_of_frame(_blend(shown, places, part), frame).numpy()
    return out


def map_onto_grid(found: Tensor, affine: Affine, volume: Volume) -> Steps[FloatArray]:
    """One (z, y, x) map, whose cells lie anywhere, to (Z, Y, X) float32 on the grid of `volume`.

    affine: (4, 4), index of a cell's middle to RAS mm. Trilinear between cells, constant in the outer half of the
    outermost cells, 0 outside. Any two grids will do, oblique ones too.
    """
    values = found.float().numpy()
    step = np.linalg.solve(affine, volume.affine)  # voxel of the volume to cell
    depth, height, width = volume.shape
    out = np.zeros(volume.shape, np.float32)
    rows = max(1, _SLAB_VOXELS // (height * width))
    plane = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))  # (2, Y, X)
    for first in range(0, depth, rows):
        yield Progress(first, depth, _LABEL)
        for z in range(first, min(first + rows, depth)):
            cells = np.tensordot(step[:3, 1:3], plane, 1) + (step[:3, 0] * z + step[:3, 3])[:, None, None]
            inside = np.all([(c >= -0.5) & (c <= n - 0.5) for c, n in zip(cells, values.shape, strict=True)], axis=0)
            out[z] = np.where(inside, map_coordinates(values, cells, order=1, mode="nearest"), 0)
    return out


def cell_affine(affine: Affine, cells: Sequence[int], voxels: Sequence[int]) -> Affine:
    """Index of a cell's middle to RAS mm, for `cells` that share out a grid of `voxels` evenly along Z, Y and X.

    affine: (4, 4) of that grid. The outer faces of both grids are the same.
    """
    factor = np.asarray(voxels, np.float64) / np.asarray(cells)
    turn = np.diag([*factor, 1.0])
    turn[:3, 3] = (factor - 1) / 2
    return np.asarray(affine, np.float64) @ turn


def _blend(shown: Tensor, places: npt.NDArray[np.intp], wanted: npt.NDArray[np.intp]) -> Tensor:
    """(W, h, w): the maps of the wanted slices, linear between those that are there."""
    after = np.searchsorted(places, wanted)
    before = np.maximum(after - (places[after] != wanted), 0)
    gap = np.maximum(places[after] - places[before], 1)
    share = torch.from_numpy((wanted - places[before]) / gap).float()[:, None, None]
    return torch.lerp(shown[before], shown[after], share)
