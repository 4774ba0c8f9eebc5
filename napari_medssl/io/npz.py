"""NumPy archives: voxels, affine and organ names in one file for further work in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.geometry import file_grid, plain_grid
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.io.modality import guess_modality
from napari_medssl.io.npz_headers import array_claims
from napari_medssl.io.request import Request
from napari_medssl.labels import Label
from napari_medssl.volume import Modality, NativeGrid, Volume

PARSER_ERRORS: tuple[type[Exception], ...] = ()  # only built-in ones


def write(path: Path, volume: Volume) -> None:
    """Write an archive with

    data: (Z, Y, X) as in the volume. affine: (4, 4), index z, y, x to RAS mm. spacing_mm: (3,). modality: text.
    label_values (N,), label_names (N,) text, label_colors (N, 3) RGB bytes: the organs.
    native_affine, native_shape, native_axes, native_flips: the grid of the original file (see `NativeGrid`).
    """
    grid = file_grid(volume)
    np.savez_compressed(
        path,
        data=volume.data,
        affine=volume.affine,
        spacing_mm=np.array(volume.spacing_mm),
        modality=np.array(volume.modality),
        label_values=np.array([label.value for label in volume.labels], np.int32),
        label_names=np.array([label.name for label in volume.labels], np.str_),
        label_colors=np.array([label.color for label in volume.labels], np.uint8).reshape(-1, 3),
        native_affine=grid.affine,
        native_shape=np.array(grid.shape),
        native_axes=np.array(grid.axes),
        native_flips=np.array(grid.flips),
    )


def read(path: Path, request: Request) -> Volume:
    """A volume from an archive with at least `data` and `affine` as `write` lays them down.

    Nothing in the archive is executed (no pickles). Raises FormatError when an array is missing, of the wrong shape or
    larger than the archive can hold.
    """
    if request.index not in (None, 0):
        raise FormatError(f"{path} has no volume {request.index}; an archive holds one")
    for claim in array_claims(path):
        if all(claim.shape):
            claim.check(path)
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    missing = [name for name in ("data", "affine") if name not in arrays]
    if missing:
        raise FormatError(f"{path} has no array {missing[0]!r}; a volume needs 'data' (Z, Y, X) and 'affine' (4, 4)")
    data, affine = arrays["data"], arrays["affine"]
    if data.ndim != 3 or data.dtype.kind not in "iufb":
        raise FormatError(
            f"{path}: 'data' has shape {data.shape} and type {data.dtype}; three axes of numbers are needed"
        )
    if request.labels:
        data = as_labels(data, path)
        return Volume(data, affine, "auto", complete(_labels(arrays), data), _native(arrays, data, affine), path)
    modality = _modality(arrays)
    if modality == "auto":
        modality = guess_modality(data)
    return Volume(data, affine, modality, _labels(arrays), _native(arrays, data, affine), path)


def _labels(arrays: dict[str, Any]) -> tuple[Label, ...]:
    names = ("label_values", "label_names", "label_colors")
    if not all(n in arrays for n in names):
        return ()
    return tuple(
        Label(int(value), str(name), (int(red), int(green), int(blue)))
        for value, name, (red, green, blue) in zip(*(arrays[n] for n in names), strict=True)
    )


def _modality(arrays: dict[str, Any]) -> Modality:
    text = str(arrays.get("modality", "auto"))
    return "CT" if text == "CT" else "MR" if text == "MR" else "auto"


def _native(arrays: dict[str, Any], data: np.ndarray, affine: np.ndarray) -> NativeGrid:
    volume = Volume(data, affine)
    names = ("native_affine", "native_shape", "native_axes", "native_flips")
    if not all(n in arrays for n in names):
        return plain_grid(volume)
    shape, axes = (tuple(int(v) for v in arrays[n]) for n in ("native_shape", "native_axes"))
    flips = tuple(bool(v) for v in arrays["native_flips"])
    if len(shape) != 3 or sorted(axes) != [0, 1, 2] or len(flips) != 3:
        raise FormatError("the archive's native grid is damaged; its three axes are not a permutation of 0, 1, 2")
    return NativeGrid(np.asarray(arrays["native_affine"], np.float64), shape, axes, flips)  # type: ignore[arg-type]  # checked above
