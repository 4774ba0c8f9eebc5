"""The grids of several stages joined on the finest of them, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.dense.axis_resize import sample_axis
from napari_medssl.dense.windows import Triple


@dataclass(frozen=True)
class Stage:
    """One stage of an encoder.

    number: 1 the first. channels: length of a vector. stride: voxels per cell. centre: position, in voxels along each
    axis, of the centre of the first cell; (stride - 1) / 2 where cells tile the input.
    """

    number: int
    channels: int
    stride: int
    centre: float


class _Fine:
    """Rows of one stage brought to the plane of the finest grid, and those between them on request."""

    def __init__(self, stage: Stage, finest: Stage, shape: Triple, target: Triple, *, normalise: bool) -> None:
        self._shape, self._normalise = shape, normalise
        centres = [(finest.stride * np.arange(n) + finest.centre - stage.centre) / stage.stride for n in target]
        self._same = stage.stride == finest.stride and stage.centre == finest.centre
        self._z = np.clip(centres[0], 0, shape[0] - 1)
        self._y, self._x = (sample_axis(c, n) for c, n in zip(centres[1:], shape[1:], strict=True))
        self._cut = target[1:]
        self._first = 0
        self._rows: list[Tensor] = []

    def add(self, rows: Tensor) -> None:
        """(C, n, Y, X): the next rows of the stage."""
        for row in rows.unbind(1):
            row = F.normalize(row, dim=0) if self._normalise else row
            fine = row[:, : self._cut[0], : self._cut[1]] if self._same else self._y.last_but_one(self._x.last(row))
            self._rows.append(fine)

    def ready(self) -> int:
        """How many rows of the finest grid can be had by now."""
        known = self._first + len(self._rows)
        if known >= self._shape[0]:
            return len(self._z)
        return int(np.searchsorted(self._z, known - 1, side="right"))

    def write(self, start: int, stop: int, into: Tensor) -> None:
        """Rows start..stop of the finest grid into a (C, stop - start, Y, X) part; earlier ones are forgotten."""
        for n, k in enumerate(range(start, stop)):
            low = int(np.floor(self._z[k]))
            share = float(self._z[k] - low)
            one = self._rows[low - self._first]
            if share:
                torch.lerp(one, self._rows[low + 1 - self._first], share, out=into[:, n])
            else:
                into[:, n] = one
        keep = int(np.floor(self._z[min(stop, len(self._z) - 1)]))
        del self._rows[: max(0, keep - self._first)]
        self._first = max(self._first, keep)


class JoinedStages:
    """Stages joined into one vector, on the cells of the finest one that lie over the scan.

    target: cells of the result along Z, Y, X. normalise: whether the vector of each stage gets length 1 before the
    coarser ones are interpolated. Interpolation is linear between cell centres, beyond them the outermost cell.
    """

    def __init__(
        self, stages: Sequence[Stage], shapes: Sequence[Triple], finest: Stage, target: Triple, *, normalise: bool
    ) -> None:
        self._stages, self._target, self._next = tuple(stages), target, 0
        self._fine = [_Fine(s, finest, n, target, normalise=normalise) for s, n in zip(stages, shapes, strict=True)]

    def add(self, rows: Sequence[Tensor]) -> Tensor:
        """(sum of C, n, Y, X) float32: the joined rows that the next rows of every stage complete; n may be 0."""
        for fine, new in zip(self._fine, rows, strict=True):
            fine.add(new)
        start, stop = self._next, max(self._next, min(f.ready() for f in self._fine))
        joined = torch.empty((sum(s.channels for s in self._stages), stop - start, *self._target[1:]))
        first = 0
        for stage, fine in zip(self._stages, self._fine, strict=True):
            fine.write(start, stop, joined[first : first + stage.channels])
            first += stage.channels
        self._next = stop
        return joined
