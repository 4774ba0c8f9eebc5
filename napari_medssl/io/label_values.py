"""Label maps as arrays: whole numbers from 0, in the smallest type that holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.labels import Label, default_label

# Labels stored as floats through a slope come back a little off; an image's intensities are off by much more.
WHOLE_TOLERANCE = 1e-3


def as_labels(array: np.ndarray, name: Path | str) -> np.ndarray:
    """The array as uint8, or uint16 (int32 beyond 65535) when its labels need it.

    array: any shape; bool, integers, or floats within 0.001 of whole numbers. name: the file, for the message.
    Raises FormatError when a value is negative, not finite or fractional: then this is no label map.
    """
    if array.dtype == bool:
        return array.astype(np.uint8)
    if not np.issubdtype(array.dtype, np.integer):
        array = _whole(array, name)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0:
        raise FormatError(f"{name} has negative values (down to {low}); a label map starts at 0. Is it an image?")
    if high > np.iinfo(np.int32).max:
        raise FormatError(f"{name} has the label {high}; label numbers above 2147483647 are not supported")
    return array.astype(np.uint8 if high <= 255 else np.uint16 if high <= 65535 else np.int32)


def _whole(array: np.ndarray, name: Path | str) -> np.ndarray:
    if not np.isrealobj(array) or not np.isfinite(array).all():
        raise FormatError(f"{name} holds values that are no finite numbers; a label map has whole numbers from 0")
    whole = np.rint(array)
    worst = float(np.abs(whole - array).max(initial=0.0))
    if worst > WHOLE_TOLERANCE:
        raise FormatError(
            f"{name} has fractional values (up to {worst:.3g} from a whole number), so it is no label map; "
            "read it as an image, or threshold it first"
        )
    return np.asarray(whole.astype(np.int64))


def present(array: np.ndarray) -> tuple[int, ...]:
    """The labels that occur, ascending, without 0."""
    if array.size and array.dtype == np.uint8:
        return tuple(int(v) for v in np.flatnonzero(np.bincount(array.ravel(), minlength=256)) if v)
    return tuple(int(v) for v in np.unique(array) if v)


def complete(table: tuple[Label, ...], array: np.ndarray) -> tuple[Label, ...]:
    """`table` with a default entry for every label of `array` it lacks, by ascending value."""
    known = {label.value: label for label in table}
    known.update({v: default_label(v) for v in present(array) if v not in known})
    return tuple(known[v] for v in sorted(known))
