"""What an extraction will do and give, known before it begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from napari_medssl.dense.join import Stage
from napari_medssl.dense.pooling import pooling_factors
from napari_medssl.dense.prepared_scan import own_spacing, resampled_shape
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.dense.stages import chosen_stages, stages_of, widest_layer
from napari_medssl.dense.windows import Triple, Windows, place_windows
from napari_medssl.settings import check
from napari_medssl.volume import Affine, Volume

_MOST = 128  # voxels along a window's side: 512 MiB for the first stage of the published U-Net, and few overlaps


@dataclass(frozen=True)
class VolumePlan:
    """The windows, stages and cells of one scan.

    spacing_mm: side of the voxels the encoder is shown. voxels: of the scan at that spacing. stages: those joined;
    finest: the one whose cells the result has. known: all stages of the encoder. factors: cells pooled into one.
    widest: numbers per voxel that the encoder's widest layer reads and writes.
    """

    volume: Volume
    settings: ExtractSettings
    spacing_mm: float
    voxels: Triple
    windows: Windows
    known: tuple[Stage, ...]
    stages: tuple[Stage, ...]
    factors: Triple
    widest: float

    @cached_property
    def finest(self) -> Stage:
        """The chosen stage with the smallest cells."""
        return min(self.stages, key=lambda s: s.stride)

    @property
    def cells(self) -> Triple:
        """Cells of the finest stage over the scan, before pooling."""
        z, y, x = (-(-n // self.finest.stride) for n in self.voxels)
        return z, y, x

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(C, Z, Y, X) of the result."""
        z, y, x = (-(-n // f) for n, f in zip(self.cells, self.factors, strict=True))
        return sum(s.channels for s in self.stages), z, y, x

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return math.prod(self.shape) * np.dtype(self.settings.precision).itemsize

    @property
    def rows_bytes(self) -> int:
        """Most bytes of the features that windows still add to, of the rows being joined, and of the slab they see."""
        _, height, width = self.windows.scan
        depth = self.windows.size[0]
        slab = depth * height * width
        waiting = sum(s.channels * slab // s.stride**3 for s in self.stages)
        joined = self.shape[0] * (depth // self.finest.stride) * math.prod(self.cells[1:])
        return 4 * (2 * waiting + 2 * joined + 2 * slab)

    @property
    def window_bytes(self) -> int:
        """Bytes that encoding one window takes, in float32.

        Twice what the widest layer reads and writes, for convolutions on a CPU work on copies of their own layout, and
        what is kept of every stage. Measured: see docs/features3d.md.
        """
        kept = sum(s.channels / s.stride**3 for s in self.known)
        return int(4 * math.prod(self.windows.size) * (2 * self.widest + kept))

    @property
    def affine(self) -> Affine:
        """(4, 4): index of a cell of the result to RAS mm of its centre."""
        onto = np.eye(4)
        for axis, (n, m, f) in enumerate(zip(self.volume.shape, self.voxels, self.factors, strict=True)):
            step = n / m  # scan voxels per voxel the encoder sees; both grids begin at the same outer corner
            first = self.finest.centre + self.finest.stride * (f - 1) / 2
            onto[axis, axis] = step * self.finest.stride * f
            onto[axis, 3] = (first + 0.5) * step - 0.5
        return np.asarray(self.volume.affine @ onto)


def plan_volume(
    volume: Volume, encoder: Any, settings: ExtractSettings, hints: Mapping[str, Any] | None = None
) -> VolumePlan:
    """The plan for a scan and a volume encoder.

    hints: what the weights' card says about "spacing_mm", "stages" and "patch".

    Raises SettingsError for settings outside their limits and stages the encoder does not have.
    """
    check(settings)
    hints = hints or {}
    known = stages_of(encoder)
    stages = chosen_stages(known, settings.stages, hints.get("stages", ()))
    spacing = settings.spacing_mm or float(hints.get("spacing_mm") or 0) or own_spacing(volume)
    voxels = resampled_shape(volume, spacing)
    patch = (settings.patch,) * 3 if settings.patch else _patch_of(encoder, hints)
    windows = place_windows(voxels, int(encoder.stride), patch=patch, most=_MOST, overlap=settings.overlap)
    finest = min(s.stride for s in stages)
    z, y, x = (n * s / m * finest for n, s, m in zip(volume.shape, volume.spacing_mm, voxels, strict=True))
    factors = pooling_factors((z, y, x), settings.cell_mm)
    return VolumePlan(volume, settings, spacing, voxels, windows, known, stages, factors, widest_layer(encoder))


def _patch_of(encoder: Any, hints: Mapping[str, Any]) -> tuple[int, ...]:
    """The window an encoder must have: its card's, or the crop a transformer was trained on; 0 when any will do."""
    patch = hints.get("patch") or getattr(encoder, "size", 0) or (0, 0, 0)
    return (int(patch),) * 3 if isinstance(patch, int) else tuple(int(p) for p in patch)
