"""The MNI152 T1 template that the wheel of nilearn carries: a real averaged brain, no download needed."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_medssl.io import read
from napari_medssl.labels import PALETTE, Label
from napari_medssl.samples.registry import SampleError
from napari_medssl.volume import Volume

STRUCTURES = (
    Label(1, "grey matter", PALETTE[0]),
    Label(2, "white matter", PALETTE[1]),
    Label(3, "lateral ventricles", PALETTE[2]),
)

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_HALF = 128  # the tissue maps hold probabilities as bytes, 255 being certain
_DEEP_MM = 20.0  # from the surface of the brain: between 20 and 25 mm only the lateral ventricles are one large piece


def mni_available() -> bool:
    """Whether nilearn is installed and carries the template. Doesn't import nilearn (it takes seconds)."""
    folder = _folder()
    return folder is not None and all((folder / _FILE.format(kind)).is_file() for kind in ("t1", "gm", "wm"))


def load_mni() -> tuple[Volume, Volume]:
    """T1 (Z, Y, X) uint8 at 1 mm without skull, and its parts: 1 grey matter, 2 white matter, 3 lateral ventricles.

    A voxel belongs to the likelier of the two tissues where that has a probability of at least one half. The lateral
    ventricles are the largest connected part that is neither, 20 mm or more below the surface of the brain.
    Source: Fonov and others 2011, ICBM 152 nonlinear symmetric 2009a.

    Raises SampleError when nilearn is not installed or no longer carries the files.
    """
    folder = _folder()
    if folder is None or not mni_available():
        raise SampleError("the MNI152 sample comes with the package nilearn; install it: pip install nilearn")
    t1 = dataclasses.replace(read(folder / _FILE.format("t1")), modality="MR")
    grey, white = (read(folder / _FILE.format(kind)).data for kind in ("gm", "wm"))
    tissues = np.zeros(t1.shape, np.uint8)
    tissues[(grey >= _HALF) & (grey >= white)] = 1
    tissues[(white >= _HALF) & (white > grey)] = 2
    tissues[_ventricles(t1.data > 0, grey.astype(np.int16) + white < _HALF)] = 3
    return t1, t1.like(tissues, STRUCTURES)


def _ventricles(head: np.ndarray, fluid: np.ndarray) -> np.ndarray:
    """(Z, Y, X) bool at 1 mm."""
    deep = ndimage.distance_transform_edt(ndimage.binary_fill_holes(head)) > _DEEP_MM
    parts, _ = ndimage.label(fluid & deep)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    found: np.ndarray = (parts == sizes.argmax()) & (parts > 0)
    return found


def _folder() -> Path | None:
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"
