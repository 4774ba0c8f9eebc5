"""Feature grids as Zarr: a folder of chunks, written and read a part at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.dense.folder import replacing_folder
from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.grid_facts import facts_of, grid_from
from napari_medssl.errors import FormatError
from napari_medssl.io.damage import DAMAGE, damage_as_error

FACTS = "feature_grid"  # the attribute under which a grid describes itself
MARKER = ".zarray"
_CHUNK_BYTES = 1 << 21  # a click reads one chunk, a slab many: 2 MiB are read in milliseconds, and files stay few


def chunk_edge(channels: int, itemsize: int) -> int:
    """Cells along each side of a chunk, a power of two: all channels of a small box, so that a vector is one chunk."""
    cells = _CHUNK_BYTES / (channels * itemsize)
    return int(2 ** max(1, min(5, math.floor(math.log2(max(1.0, cells)) / 3))))


@contextmanager
def new_zarr(path: Path, shape: tuple[int, int, int, int], dtype: Any, grid_facts: dict[str, Any]) -> Iterator[Any]:
    """An array of (C, Z, Y, X) on disk to be filled; it stands at `path` when the block ends without an error.

    Zarr format 2, which zarr 2 and zarr 3 read. Raises FormatError as `replacing_folder` does.
    """
    edge = chunk_edge(shape[0], np.dtype(dtype).itemsize)
    chunks = (shape[0], *(min(edge, n) for n in shape[1:]))
    with replacing_folder(path, marker=MARKER) as part:
        array = _create(part, shape, chunks, dtype)
        array.attrs[FACTS] = grid_facts
        yield array


def write_zarr(path: Path, grid: FeatureGrid) -> None:
    """Copy a grid, slab by slab. Raises FormatError when the disk refuses; an old grid then stays as it was."""
    shape = (grid.channels, *grid.shape)
    with new_zarr(path, shape, grid.data.dtype, facts_of(grid)) as array:
        depth = array.chunks[1]
        for z in range(0, shape[1], depth):
            array[:, z : z + depth] = np.asarray(grid.data[:, z : z + depth])


def open_zarr(path: Path) -> FeatureGrid:
    """A grid whose vectors stay on disk until they are asked for.

    Raises FormatError for a folder that is damaged, of something else, or newer than this program.
    """
    import zarr

    if not path.is_dir():
        raise FormatError(f"cannot read {path}: there is no such folder; give a .zarr folder of features")
    if not (path / MARKER).is_file():
        raise FormatError(f"{path} holds no feature grid; give a folder that `medssl features` wrote")
    with damage_as_error(path):
        array: Any = zarr.open_array(str(path), mode="r")
        facts = dict(array.attrs).get(FACTS)
    _check_chunks(path, array)
    return grid_from(array, facts, path)


def _create(folder: Path, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: Any) -> Any:
    import zarr
    from numcodecs import Blosc  # type: ignore[import-untyped]  # it has no stubs

    told: dict[str, Any] = {"shape": shape, "chunks": chunks, "dtype": np.dtype(dtype)}
    compressor = Blosc("lz4", clevel=1, shuffle=Blosc.SHUFFLE)
    if int(zarr.__version__.split(".")[0]) >= 3:
        written: Any = {"write_empty_chunks": True}  # so that a chunk which is not there is a loss
        return zarr.create_array(str(folder), zarr_format=2, compressors=compressor, config=written, **told)
    return zarr.open_array(  # zarr 2 has but this format
        str(folder), mode="w", compressor=compressor, write_empty_chunks=True, **told
    )


def _check_chunks(path: Path, array: Any) -> None:
    """Missing chunks would silently read as zeros: a folder that was copied in part is refused."""
    try:
        counts = [-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]
    except DAMAGE as error:
        raise FormatError(f"{path} is damaged ({error}); extract the features again") from error
    expected = math.prod(counts)
    found = sum(1 for f in path.iterdir() if not f.name.startswith("."))
    if found < expected:
        raise FormatError(f"{path} holds {found} of {expected} chunks; copy it again or extract the features again")
