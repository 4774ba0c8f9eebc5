"""Grids of features from slice encoders, 2D and 2.5D: one row of cells for every slice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.dense.compute import Compute, Runner
from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.dense.pooling import Pooling, pooling_factors
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.dense.sink import writing
from napari_medssl.dense.windows import Triple
from napari_medssl.errors import WeightsError
from napari_medssl.geometry import spacing_of
from napari_medssl.intensity import window_limits
from napari_medssl.models.features import FeatureStack, SliceFrame
from napari_medssl.models.slices import make_frame, slice_batch
from napari_medssl.progress import Progress, Steps
from napari_medssl.report import plain
from napari_medssl.settings import check, to_dict
from napari_medssl.volume import Affine, Volume

_DEFAULT_SIZE = 256  # side of the square for an encoder that names none, as the engine lays it out
_SLAB = 16  # slices of a stack that are converted together


class SliceCells:
    """Which cells of a framed slice lie over it, and where they are in the patient.

    frame: how the slices of the scan were laid into the encoder's square. stride: pixels of it per cell.
    depth: slices. factors: cells pooled into one along Z, Y, X.
    """

    def __init__(self, frame: SliceFrame, stride: int, depth: int, factors: Triple = (1, 1, 1)) -> None:
        self._frame, self._stride, self.factors = frame, stride, factors
        self._first = [o // stride for o in frame.offset]
        self._stop = [-(-(o + n) // stride) for o, n in zip(frame.offset, frame.inner, strict=True)]
        self.cells: Triple = (depth, self._stop[0] - self._first[0], self._stop[1] - self._first[1])

    def cut(self, features: Tensor) -> Tensor:
        """(Z, C, h, w) of the whole square to the cells over the slice."""
        return features[:, :, self._first[0] : self._stop[0], self._first[1] : self._stop[1]]

    def shape(self, channels: int) -> tuple[int, int, int, int]:
        """(C, Z, Y, X) of the result."""
        z, y, x = Pooling(self.factors).shape(self.cells)
        return channels, z, y, x

    def affine(self, volume: Volume) -> Affine:
        """(4, 4): index of a cell to RAS mm of its centre."""
        onto = np.eye(4)
        onto[0, 0], onto[0, 3] = self.factors[0], (self.factors[0] - 1) / 2
        for axis in (0, 1):
            frame, factor = self._frame, self.factors[axis + 1]
            step = frame.shape[axis] / frame.inner[axis]  # pixels of the slice per pixel of the square
            first = (self._first[axis] + factor / 2) * self._stride - frame.offset[axis]  # from its outer corner
            onto[axis + 1, axis + 1] = step * self._stride * factor
            onto[axis + 1, 3] = first * step - 0.5
        return np.asarray(volume.affine @ onto)


def slice_cells(volume: Volume, frame: SliceFrame, stride: int, cell_mm: float) -> SliceCells:
    """The cells of a scan's slices, pooled to about `cell_mm` (0: not at all)."""
    single = SliceCells(frame, stride, volume.shape[0])
    z, y, x = spacing_of(single.affine(volume))
    return SliceCells(frame, stride, volume.shape[0], pooling_factors((float(z), float(y), float(x)), cell_mm))


def extract_slices_steps(
    volume: Volume,
    encoder: Any,
    settings: ExtractSettings,
    *,
    facts: Mapping[str, Any],
    source: Mapping[str, Any] | None,
    out: str | Path | None,
    run: Runner,
) -> Steps[FeatureGrid]:
    """See `extract_steps`; for an encoder of slices, which sees them framed and windowed as the engine shows them."""
    check(settings)
    frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], int(getattr(encoder, "input_size", _DEFAULT_SIZE)))
    cells = slice_cells(volume, frame, int(encoder.stride), settings.cell_mm)
    limits = window_limits(volume, settings.intensity)
    with writing(
        out, cells.shape(int(encoder.channels)), settings.precision, cells.affine(volume), bounded=settings.normalise
    ) as writer:
        pooling = Pooling(cells.factors)
        waiting: list[Tensor] = []
        used: list[str] = []

        def encode(items: range, module: Any, compute: Compute) -> None:
            batch = slice_batch(volume, list(items), frame, int(module.in_slices), limits=limits)
            with compute.running():
                features = module(batch.to(compute.device)).float().cpu()
            if not bool(torch.isfinite(features).all()):
                raise WeightsError("the encoder gives values that are not numbers; its weights are damaged")
            waiting.append(_rows(features, cells, settings))
            used[:] = [compute.precision]

        steps = run(encode, volume.shape[0], "extracting features")
        notes: tuple[str, ...] = ()
        try:
            while True:
                try:
                    progress = next(steps)
                except StopIteration as stop:
                    notes = stop.value
                    break
                for rows in waiting:
                    writer.add(pooling.add(rows))
                waiting.clear()
                yield progress
        finally:
            steps.close()
        writer.add(pooling.add(torch.empty((int(encoder.channels), 0, *cells.cells[1:])), last=True))
        writer.source = dict(source or grid_source(volume))
        writer.encoder = _facts(facts, volume, cells, settings, used[0], notes)
    assert writer.grid is not None
    return writer.grid


def stack_grid_steps(
    volume: Volume,
    stack: FeatureStack,
    settings: ExtractSettings,
    *,
    facts: Mapping[str, Any],
    source: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Steps[FeatureGrid]:
    """The grid of features that are known already, slice by slice of the whole scan."""
    check(settings)
    depth, channels = stack.data.shape[:2]
    cells = slice_cells(volume, stack.frame, stack.stride, settings.cell_mm)
    with writing(
        out, cells.shape(channels), settings.precision, cells.affine(volume), bounded=settings.normalise
    ) as writer:
        pooling = Pooling(cells.factors)
        for start in range(0, depth, _SLAB):
            part = stack.data[start : start + _SLAB].float()
            stop = min(start + _SLAB, depth)
            writer.add(pooling.add(_rows(part, cells, settings), last=stop == depth))
            yield Progress(stop, depth, "arranging features")
        writer.source = dict(source or grid_source(volume))
        writer.encoder = _facts(facts, volume, cells, settings, str(facts.get("precision", "float32")), ())
    assert writer.grid is not None
    return writer.grid


def _rows(features: Tensor, cells: SliceCells, settings: ExtractSettings) -> Tensor:
    """(Z, C, h, w) to (C, Z, Y, X)."""
    rows = cells.cut(features).transpose(0, 1)
    return F.normalize(rows, dim=0) if settings.normalise else rows.contiguous()


def _facts(
    facts: Mapping[str, Any],
    volume: Volume,
    cells: SliceCells,
    settings: ExtractSettings,
    precision: str,
    notes: tuple[str, ...],
) -> dict[str, Any]:
    spacing = spacing_of(cells.affine(volume)) / np.array(cells.factors)
    known: dict[str, Any] = plain(
        {
            **facts,
            "stages": [1],
            "spacing_mm": [round(float(s), 4) for s in spacing],
            "precision": precision,
            "stored": settings.precision,
            "settings": to_dict(settings),
            "notes": [*facts.get("notes", ()), *notes],
        }
    )
    return known
