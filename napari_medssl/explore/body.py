"""The cells of a grid that lie in the patient, not in the air around."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.cells import Mask
from napari_medssl.intensity import guess_modality
from napari_medssl.volume import Volume

_CT_BODY_HU = -300.0  # half way from air to fat and muscle, above most lung, which holes are filled for
# Of Otsu's threshold above the darkest value. Ours: half of it, enough for the organs, loses fat that is suppressed in
# an MR or dark in a windowed CT, and with it the outline; of three shares tried on five scans this one kept it in all.
_SHARE = 0.12
_GAPS_MM = 10.0  # notches in the outline up to this width are closed; thinner things, as a table, are not body


def body_cells(grid: FeatureGrid, volume: Volume) -> Mask:
    """(Z, Y, X) bool: cells whose centre lies in the largest bright part of the scan, holes and notches filled.

    What is thinner than 10 mm (or 3 cells) is not body, nor what hangs on by such a bridge: the table, for one.
    Bright is above -300 HU in a CT with Hounsfield units, else above an eighth of Otsu's threshold of intensities
    smoothed over a cell. Filled is slice by slice. All cells when that finds nothing (a constant scan), so that the
    result can always be used as a mask. Cells beyond the scan are not body.
    """
    values = _at_cells(grid, volume)
    seen = np.isfinite(values)
    if not seen.any() or values[seen].min() == values[seen].max():
        return np.ones(grid.shape, bool)
    bright = seen & (np.where(seen, values, -np.inf) > _threshold(volume, values[seen]))
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in bright])
    reach = _disk(grid.spacing_mm[1:])
    opened = np.stack([_at_border(ndimage.binary_opening, plane, reach) for plane in filled])
    parts, count = ndimage.label(opened if opened.any() else filled)
    if not count:
        return np.ones(grid.shape, bool)
    largest = parts == int(np.bincount(parts.ravel())[1:].argmax()) + 1
    kept = np.stack([_at_border(ndimage.binary_dilation, plane, reach) for plane in largest]) & filled
    closed = [_at_border(ndimage.binary_closing, plane, reach) | plane for plane in kept]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in closed])


def _disk(spacing_mm: tuple[float, float]) -> Mask:
    """A disk of `_GAPS_MM` across, at least 3 x 3 cells."""
    y, x = (max(1, round(_GAPS_MM / 2 / s)) for s in spacing_mm)
    down, across = np.meshgrid(np.arange(-y, y + 1) / y, np.arange(-x, x + 1) / x, indexing="ij")
    return np.asarray(np.hypot(down, across) <= 1, bool)


def _at_border(change: Callable[[Mask, Mask], Mask], plane: Mask, reach: Mask) -> Mask:
    """A morphological change of a slice that goes on beyond its border as it is there."""
    y, x = (n // 2 for n in reach.shape)
    return np.asarray(change(np.pad(plane, ((y, y), (x, x)), mode="edge"), reach)[y:-y, x:-x], bool)


def _threshold(volume: Volume, values: np.ndarray) -> float:
    from skimage.filters import threshold_otsu  # half a second to import, not needed elsewhere

    if guess_modality(volume.data) == "CT":
        return _CT_BODY_HU
    low = float(values.min())
    return low + _SHARE * (float(threshold_otsu(values)) - low)  # type: ignore[no-untyped-call]


def _at_cells(grid: FeatureGrid, volume: Volume) -> np.ndarray:
    """(Z, Y, X) float32: mean of the intensities around each cell's centre; NaN beyond the scan."""
    step = np.linalg.inv(volume.affine) @ grid.affine  # cell index to voxel index
    reach = np.clip(np.ceil(np.abs(step[:3, :3]).max(1)), 1, 9).astype(int)  # voxels of a cell along each voxel axis
    data = np.nan_to_num(volume.data.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    smooth = ndimage.uniform_filter(data, size=tuple(reach | 1), mode="nearest")
    z, y, x = (np.arange(n) for n in grid.shape)
    index = [s[0] * z[:, None, None] + s[1] * y[:, None] + s[2] * x + s[3] for s in step[:3]]
    chosen = [np.floor(i + 0.5).astype(np.int64) for i in index]
    inside = np.all([(c >= 0) & (c < n) for c, n in zip(chosen, volume.shape, strict=True)], 0)
    found = smooth[tuple(np.clip(c, 0, n - 1) for c, n in zip(chosen, volume.shape, strict=True))]
    return np.where(inside, found, np.nan)
