"""The scan of one plane of an exam, whatever it is kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.exams.pickled import load_pickled_array
from napari_medssl.errors import FormatError
from napari_medssl.io import read
from napari_medssl.io.formats import stem_of
from napari_medssl.volume import Volume

ARRAYS, PICKLES = (".npy",), (".pck", ".pkl", ".pickle")
ORIENTATIONS = ("sagittal", "coronal", "axial")
"""Planes by the patient axis (x, y, z) their slices are stacked along."""


def read_plane(path: Path, *, series: str | int | None = None) -> Volume:
    """A scan with axes (Z, Y, X), Z across its slices.

    path: an array (.npy, or pickled: .pck) of slices as MRNet and KneeMRI have them, or whatever `io.read` takes. Such
    arrays say nothing of size and place: voxels of 1 mm are taken, said so in the notes; a single (Y, X) slice becomes
    a volume of one.

    Raises FormatError, GeometryError as `io.read`, and for arrays of other shapes or with values that are no numbers.
    """
    suffix = path.suffix.lower()
    if suffix not in (*ARRAYS, *PICKLES):
        return read(path, series=series)
    slices = load_pickled_array(path) if suffix in PICKLES else _load_array(path)
    if slices.ndim == 2:
        slices = slices[None]
    if slices.ndim != 3 or not slices.size:
        raise FormatError(f"{path} holds an array of shape {slices.shape}; slices (number, rows, columns) are needed")
    note = f"{path.name} has no voxel size; 1 mm was taken"
    return Volume(slices, np.eye(4)[[2, 1, 0, 3]], "MR", source=path, notes=(note,))


def plane_of(volume: Volume) -> str:
    """ "sagittal", "coronal" or "axial", by the patient axis that is nearest to the direction across the slices."""
    across = np.cross(volume.affine[:3, 1], volume.affine[:3, 2])  # Z itself may be sheared
    return ORIENTATIONS[int(np.abs(across).argmax())]


def exam_name(path: Path) -> str:
    """What an exam is called after a scan of it: the name of the file without its endings, or of the folder."""
    for suffix in (*ARRAYS, *PICKLES):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name if path.is_dir() else stem_of(path)


def _load_array(path: Path) -> npt.NDArray[np.generic]:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path} is no array of numbers ({error}); save it with numpy.save") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "biuf":
        raise FormatError(f"{path} holds no array of plain numbers; save the slices alone")
    return found
