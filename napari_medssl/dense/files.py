"""Feature grids on disk, as one `.npz` file or a `.zarr` folder of chunks."""

from __future__ import annotations

from pathlib import Path

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.npz_file import read_npz, write_npz
from napari_medssl.dense.zarr_file import open_zarr, write_zarr
from napari_medssl.errors import FormatError

SUFFIXES = (".npz", ".zarr")


def save_grid(path: str | Path, grid: FeatureGrid) -> Path:
    """Write a grid with all it knows; the suffix chooses the format. Gives the path.

    The file or folder appears whole, or what was there before stays. Raises FormatError for another suffix, a folder
    of something else at that name, or a disk that refuses.
    """
    path = grid_path(path)
    (write_npz if path.suffix.lower() == ".npz" else write_zarr)(path, grid)
    return path


def load_grid(path: str | Path) -> FeatureGrid:
    """A stored grid. From `.npz` its vectors are read into memory, from `.zarr` they stay on disk.

    Raises FormatError for a file that is missing, damaged, of something else, or newer than this program.
    """
    path = grid_path(path)
    return read_npz(path) if path.suffix.lower() == ".npz" else open_zarr(path)


def grid_path(path: str | Path) -> Path:
    """The path of a grid, its suffix checked. Raises FormatError."""
    path = Path(path).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise FormatError(f"{path.name!r} is no name of a feature grid; end it with {' or '.join(SUFFIXES)}")
    return path
