"""The cells of a grid that lie in the patient, not in the air around."""

from __future__ import annotations

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
_GAPS_MM = 10.0  # notches in the outline up to this width are closed


def body_cells(grid: FeatureGrid, volume: Volume) -> Mask:
    """(Z, Y, X) bool: cells whose centre lies in the largest bright part of the scan, holes and notches filled.

    Bright is above -300 HU in a CT with Hounsfield units, else above an eighth of Otsu's threshold of intensities
    smoothed over a cell. Filled is slice by slice. All cells when that finds nothing (a constant scan), so that the
    result can always be used as a mask. Cells beyond the scan are not body.
    """
    values = _at_cells(grid, volume)
    seen = np.isfinite(values)
    if not seen.any() or values[seen].min() == values[seen].max():
        return np.ones(grid.shape, bool)
    bright = seen & (np.where(seen, values, -np.inf) > _threshold(volume, values[seen]))
    parts, count = ndimage.label(bright)
    if not count:
        return np.ones(grid.shape, bool)
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    return np.stack([_closed(plane, grid.spacing_mm[1:]) for plane in parts == largest])


def _closed(plane: Mask, spacing_mm: tuple[float, float]) -> Mask:
    """A slice of the body without holes and narrow notches; what lies beyond the slice counts as neither."""
    y, x = (max(1, round(_GAPS_MM / 2 / s)) for s in spacing_mm)
    reach = np.hypot(*np.meshgrid(np.arange(-y, y + 1) / y, np.arange(-x, x + 1) / x, indexing="ij")) <= 1
    around = np.pad(plane, ((y, y), (x, x)))
    closed = ndimage.binary_closing(around, reach)[y:-y, x:-x]
    return np.asarray(ndimage.binary_fill_holes(closed | plane), bool)


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
