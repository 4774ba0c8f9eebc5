"""From stored numbers to intensities."""

from __future__ import annotations

import numpy as np

_INTEGERS = (np.int16, np.uint16, np.int32)


def rescale(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """stored * slope + intercept, as integers where nothing is lost (a CT stays int16), else as float32.

    stored: any real array, not changed. A slope of 0 or a value that is not finite means "no scaling", as NIfTI says.
    """
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        slope, intercept = 1.0, 0.0
    if slope == 1 and intercept == 0:
        return stored
    if stored.size and np.issubdtype(stored.dtype, np.integer) and slope.is_integer() and intercept.is_integer():
        ends = [int(stored.min()) * int(slope) + int(intercept), int(stored.max()) * int(slope) + int(intercept)]
        for kind in _INTEGERS:
            limits = np.iinfo(kind)
            if limits.min <= min(ends) and max(ends) <= limits.max:
                # Through int64: the product may leave the stored type although the result fits the new one.
                return np.asarray(stored.astype(np.int64) * int(slope) + int(intercept), kind)
    # Scalars of Python do not widen an array: float32 stays float32, wider numbers are scaled as float64.
    wide: np.ndarray[tuple[int, ...], np.dtype[np.floating]]
    wide = stored.astype(np.float64 if stored.dtype.itemsize > 4 else np.float32)
    return np.asarray(wide * slope + intercept, np.float32)


def native_bytes(array: np.ndarray) -> np.ndarray:
    """C-contiguous copy or view in the machine's byte order (other libraries refuse foreign-endian arrays)."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def storable(array: np.ndarray) -> np.ndarray:
    """The array in a type other programs read: no bool, no half precision, no 64-bit integers where they fit 32."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.uint64) and array.size:
        low, high = int(array.min()), int(array.max())
        for kind in (np.uint8, np.int16, np.uint16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind)
    return array
