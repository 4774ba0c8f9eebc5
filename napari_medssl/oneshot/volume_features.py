"""Features of a 3D encoder for one-shot segmentation: laid onto the slices, alone or beside those of the slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.models.features import FeatureStack, SliceFrame
from napari_medssl.models.slices import make_frame
from napari_medssl.oneshot.provider import Models
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

_SIZE, _STRIDE = 192, 4  # of the cells features are laid onto when there are none of slices: those of the default set
_SLICES = 8  # laid at a time
_EPS = 1e-6


def chosen_features(models: Models, settings: SegmentSettings) -> Models:
    """`models`, whose features are those the settings ask for: of slices as they are, of volumes, or of both."""
    return models if settings.features == "slices" else VolumeFeatures(models, settings)


class VolumeFeatures:
    """Models whose features come from a 3D encoder, alone ("volume") or joined to those of the slice encoder ("both").

    Everything else is asked of the models it wraps. Both parts of a joined vector have length 1 before they are
    weighed, so that a cosine is the weighted mean of the cosines of the parts: `settings.volume_share` of the 3D one.
    The joining is ours; no document compares them.
    """

    def __init__(self, models: Models, settings: SegmentSettings) -> None:
        self._models, self._settings = models, settings
        self._encoder: dict[str, Any] = {}

    @property
    def facts(self) -> dict[str, Any]:
        """Which features were used, and the 3D encoder they came from; for a report."""
        kept = ("name", "weights", "weights_sha256", "stages", "spacing_mm", "cell_mm")
        encoder = {k: self._encoder[k] for k in kept if k in self._encoder}
        return {"kind": self._settings.features, "volume_share": self._settings.volume_share, "encoder": encoder}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._models, name)

    def features_steps(self, volume: Volume) -> Steps[FeatureStack]:
        """Features of all slices of a scan, (Z, D, h, w); raises what the engine raises for the 3D encoder."""
        own: FeatureStack | None = None
        if self._settings.features == "both":
            own = yield from self._models.features_steps(volume)
        chosen = self._settings
        grid = yield from self._models.grid_steps(volume, chosen.volume_weights, spacing_mm=chosen.volume_spacing_mm)
        self._encoder = dict(grid.encoder)
        frame, stride = (own.frame, own.stride) if own is not None else (_frame(volume), _STRIDE)
        laid = yield from onto_slices_steps(grid, volume, frame, stride)
        if own is None:
            return laid
        return joined(own, laid, share=self._settings.volume_share)


def onto_slices_steps(grid: FeatureGrid, volume: Volume, frame: SliceFrame, stride: int) -> Steps[FeatureStack]:
    """The vectors of a grid at the cells of framed slices: (Z, C, h, w) float16, trilinear, by physical position.

    frame, stride: of the stack that is wanted. The mean vector of the grid is taken away: features of a rectified
    network point into one corner of their space, where all cosines are near 1 (ours). Cells beside the slice, and those
    beyond the grid, get the nearest vector. A few slices at a time, so that little is needed beside the result.
    """
    side = frame.size // stride
    rows, columns = (_voxels(frame, stride, axis) for axis in (0, 1))
    mean = torch.from_numpy(_mean_vector(grid))[:, None, None, None]
    depth = volume.shape[0]
    data = torch.empty((depth, grid.channels, side, side), dtype=torch.float16)
    for start in range(0, depth, _SLICES):
        yield Progress(start, depth, "laying 3D features onto slices")
        z = np.arange(start, min(start + _SLICES, depth), dtype=np.float64)
        index = np.stack(np.meshgrid(z, rows, columns, indexing="ij"), -1)
        found = _sampled(grid, index @ volume.affine[:3, :3].T + volume.affine[:3, 3])
        data[start : start + len(z)] = (found - mean).transpose(0, 1).half()
    return FeatureStack(data, frame, stride)


def _sampled(grid: FeatureGrid, points_mm: np.ndarray) -> Tensor:
    """(C, ...) float32 vectors at (..., 3) points, as `FeatureGrid.at`, for all channels at once: ten times as fast."""
    top = np.array(grid.shape) - 1
    index = np.clip(grid.index_of(points_mm.reshape(-1, 3)), 0, top)
    low = np.floor(index.min(0)).astype(int)
    high = np.minimum(np.ceil(index.max(0)).astype(int), top) + 1
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box = torch.from_numpy(np.ascontiguousarray(grid.data[:, z, y, x], np.float32))
    place = 2 * (index - low) / np.maximum(high - low - 1, 1) - 1  # -1 and 1: the middles of the outermost cells
    where = torch.from_numpy(place[:, ::-1].astype(np.float32).reshape(1, *points_mm.shape))  # x y z, as torch wants it
    found = F.grid_sample(box[None], where, mode="bilinear", padding_mode="border", align_corners=True)
    return found[0]


def joined(first: FeatureStack, second: FeatureStack, *, share: float) -> FeatureStack:
    """The vectors of two stacks of one frame behind each other: float16, each part centred and of length 1 before it
    is multiplied by the root of its share (1 - `share` and `share`).
    """
    parts = (_unit(first.data) * (1 - share) ** 0.5, _unit(second.data) * share**0.5)
    return FeatureStack(torch.cat([p.half() for p in parts], 1), first.frame, first.stride)


def _unit(data: Tensor) -> Tensor:
    """Vectors as the matching sees them: without their mean over channels, of length 1."""
    values = data.float()
    return F.normalize(values - values.mean(1, keepdim=True), dim=1, eps=_EPS)


def _frame(volume: Volume) -> SliceFrame:
    _, y_mm, x_mm = volume.spacing_mm
    return make_frame((volume.shape[1], volume.shape[2]), (y_mm, x_mm), _SIZE)


def _voxels(frame: SliceFrame, stride: int, axis: int) -> np.ndarray:
    """Fractional row (or column) of the slice at the middle of each cell; beside the slice, its border."""
    pixel = (np.arange(frame.size // stride) + 0.5) * stride - frame.offset[axis]
    voxel = pixel * frame.shape[axis] / frame.inner[axis] - 0.5
    return np.clip(voxel, 0, frame.shape[axis] - 1)


def _mean_vector(grid: FeatureGrid) -> np.ndarray:
    """(C,) float32, plane by plane: the grid may lie on the disk."""
    planes = [np.asarray(grid.data[:, z], np.float32).mean((1, 2)) for z in range(grid.shape[0])]
    return np.asarray(np.mean(planes, 0), np.float32)
