"""The grid that scans are trained on: slices framed to one size, or volumes resampled to one spacing, in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.errors import FormatError
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.models.features import SliceFrame
from napari_medssl.models.slices import into_frame, make_frame
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class Grid:
    """The grid scans are prepared on: framed square slices of `size` pixels, or voxels of `spacing_mm` (0: their own).

    Exactly one of the two counts: `size` when it is not 0.
    """

    size: int = 0
    spacing_mm: float = 0.0


def grid_of(settings: Any) -> Grid:
    """The grid a method's settings ask for: `size` of slices, or `spacing_mm` of volumes."""
    size = getattr(settings, "size", 0)
    return Grid(size=size) if size else Grid(spacing_mm=settings.spacing_mm)


class Voxels(NamedTuple):
    """image: (Z, Y, X) uint8, the intensity window spread over 0..255. labels: likewise, or None when unlabelled.

    spacing_mm: distances of voxels along z, y and x.
    """

    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8] | None
    spacing_mm: tuple[float, float, float]


def on_grid(volume: Volume, grid: Grid, *, labels: Volume | None = None, name: Path | str) -> Voxels:
    """A volume, and the label map on its own grid, on `grid`.

    name: of the label map, for the FormatError that is raised when a label does not fit into 8 bits.
    """
    small = None if labels is None else _bytes(labels, name)
    return _framed(volume, small, grid.size) if grid.size else _resampled(volume, small, grid.spacing_mm)


def _bytes(labels: Volume, name: Path | str) -> npt.NDArray[np.uint8]:
    if labels.data.size and not 0 <= labels.data.min() <= labels.data.max() <= 255:  # it would turn into another
        raise FormatError(
            f"{name} has labels from {labels.data.min()} to {labels.data.max()}; "
            "training takes 0 to 255, renumber them first"
        )
    return labels.data.astype(np.uint8)


def _framed(volume: Volume, labels: npt.NDArray[np.uint8] | None, size: int) -> Voxels:
    z_mm, y_mm, x_mm = volume.spacing_mm
    frame = make_frame(volume.shape[1:], (y_mm, x_mm), size)
    limits = window_limits(volume)
    image = np.empty((volume.shape[0], size, size), np.uint8)
    for z in range(volume.shape[0]):
        framed = into_frame(torch.from_numpy(to_unit(volume.data[z : z + 1], limits)), frame)
        image[z] = (framed[0] * 255).round().to(torch.uint8).numpy()
    pixel_mm = max(volume.shape[1] * y_mm, volume.shape[2] * x_mm) / size
    return Voxels(image, None if labels is None else _framed_labels(labels, frame), (z_mm, pixel_mm, pixel_mm))


def _framed_labels(labels: npt.NDArray[np.uint8], frame: SliceFrame) -> npt.NDArray[np.uint8]:
    # Nearest neighbour at pixel centres: label numbers must not mix.
    rows = ((np.arange(frame.inner[0]) + 0.5) * frame.shape[0] / frame.inner[0]).astype(int)
    columns = ((np.arange(frame.inner[1]) + 0.5) * frame.shape[1] / frame.inner[1]).astype(int)
    out = np.zeros((len(labels), frame.size, frame.size), np.uint8)
    top, left = frame.offset
    out[:, top : top + frame.inner[0], left : left + frame.inner[1]] = labels[:, rows][:, :, columns]
    return out


def _resampled(volume: Volume, labels: npt.NDArray[np.uint8] | None, spacing_mm: float) -> Voxels:
    image = (to_unit(volume.data, window_limits(volume)) * 255).round().astype(np.uint8)
    if not spacing_mm:
        return Voxels(image, labels, volume.spacing_mm)
    from skimage.transform import resize

    shape = tuple(max(1, round(n * s / spacing_mm)) for n, s in zip(volume.shape, volume.spacing_mm, strict=True))
    resized = resize(  # type: ignore[no-untyped-call]
        image, shape, order=1, anti_aliasing=True, preserve_range=True
    )
    if labels is not None:
        labels = resize(  # type: ignore[no-untyped-call]
            labels, shape, order=0, anti_aliasing=False, preserve_range=True
        ).astype(np.uint8)
    return Voxels(resized.round().astype(np.uint8), labels, (spacing_mm, spacing_mm, spacing_mm))
