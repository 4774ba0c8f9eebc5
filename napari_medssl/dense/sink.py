"""Where finished rows of a grid go: into memory, or straight onto the disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.dense.files import grid_path, load_grid, save_grid
from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.grid_facts import facts_of
from napari_medssl.dense.zarr_file import FACTS, new_zarr
from napari_medssl.errors import SettingsError
from napari_medssl.report import plain
from napari_medssl.volume import Affine


class Sink(Protocol):
    """Takes rows of a grid in order, from the bottom up."""

    def add(self, rows: Tensor) -> None:
        """(C, n, Y, X) float32 on the CPU."""
        ...

    def finish(self, source: dict[str, Any], encoder: dict[str, Any]) -> None:
        """All rows were given; what the grid remembers is now known."""
        ...


class MemorySink:
    """Rows in one array."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: Any, *, bounded: bool) -> None:
        self.data: npt.NDArray[Any] = np.empty(shape, dtype)
        self._bounded = bounded
        self._next = 0

    def add(self, rows: Tensor) -> None:
        stop = self._next + rows.shape[1]
        _store(rows, self.data[:, self._next : stop], bounded=self._bounded)
        self._next = stop

    def finish(self, source: dict[str, Any], encoder: dict[str, Any]) -> None:
        """Nothing to do."""


class ZarrSink:
    """Rows on disk, written in whole chunks."""

    def __init__(self, array: Any, *, bounded: bool) -> None:
        self._bounded = bounded
        self._array, self._next, self._filled = array, 0, 0
        self._depth = int(array.chunks[1])
        self._part = np.empty((array.shape[0], self._depth, *array.shape[2:]), array.dtype)

    def add(self, rows: Tensor) -> None:
        while rows.shape[1]:
            count = min(rows.shape[1], self._depth - self._filled)
            _store(rows[:, :count], self._part[:, self._filled : self._filled + count], bounded=self._bounded)
            self._filled += count
            rows = rows[:, count:]
            if self._filled == self._depth:
                self._write()

    def finish(self, source: dict[str, Any], encoder: dict[str, Any]) -> None:
        """Write the last rows, and the facts as they turned out."""
        self._write()
        self._array.attrs[FACTS] = {**self._array.attrs[FACTS], "source": plain(source), "encoder": plain(encoder)}

    def _write(self) -> None:
        if self._filled:
            self._array[:, self._next : self._next + self._filled] = self._part[:, : self._filled]
            self._next, self._filled = self._next + self._filled, 0


class GridWriter:
    """Makes one grid of the rows it is given; `grid` is there after the block of `writing`."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.source: dict[str, Any] = {}
        self.encoder: dict[str, Any] = {}
        self.grid: FeatureGrid | None = None

    def add(self, rows: Tensor) -> None:
        """The next rows, (C, n, Y, X) float32."""
        self._sink.add(rows)


@contextmanager
def writing(
    out: str | Path | None, shape: tuple[int, int, int, int], dtype: Any, affine: Affine, *, bounded: bool
) -> Iterator[GridWriter]:
    """A writer of one grid: in memory without `out`, kept at `out` otherwise, a `.zarr` without ever being in memory.

    bounded: whether vectors have length 1, so that float16 holds them without a check.

    Set `source` and `encoder` of the writer within the block. Nothing is left at `out` when the block ends with an
    error or is given up. Raises FormatError for a name or disk that cannot be written.
    """
    path = None if out is None else grid_path(out)
    if path is not None and path.suffix.lower() == ".zarr":
        facts = facts_of(FeatureGrid(np.broadcast_to(np.zeros((), dtype), shape), affine))
        with new_zarr(path, shape, dtype, facts) as array:
            sink: Any = ZarrSink(array, bounded=bounded)
            writer = GridWriter(sink)
            yield writer
            sink.finish(writer.source, writer.encoder)
        writer.grid = load_grid(path)
        return
    sink = MemorySink(shape, dtype, bounded=bounded)
    writer = GridWriter(sink)
    yield writer
    writer.grid = FeatureGrid(sink.data, affine, writer.source, writer.encoder)
    if path is not None:
        save_grid(path, writer.grid)


def _store(rows: Tensor, into: npt.NDArray[Any], *, bounded: bool) -> None:
    """Rows in the format they are kept in. Raises SettingsError for values beyond the range of float16."""
    kept = torch.from_numpy(into)
    kept.copy_(rows)
    # A sum costs a fraction of looking at each value, and cannot be finite when one of them is not.
    if into.dtype == np.float16 and not bounded and not bool(torch.isfinite(kept.sum(dtype=torch.float32))):
        raise SettingsError("the features exceed the range of float16; choose precision float32, or normalise them")
