"""What the engine is asked to do, checked before any work begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.errors import SettingsError, SupportError, VolumeError
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.settings import check
from napari_medssl.volume import SoftRange, Volume

_SLAB_VOXELS = 1 << 22  # looked at together, so that a check never copies a whole scan


@dataclass(frozen=True)
class Request:
    """A segmentation that can be computed: every voxel finite, every limit in range.

    warnings: what was changed, as sentences.
    """

    query: Volume
    supports: tuple[Support, ...]
    slice_range: tuple[int, int] | None
    settings: SegmentSettings
    warnings: tuple[str, ...]


def check_request(
    query: Volume,
    supports: Sequence[Support],
    *,
    slice_range: tuple[int, int] | None,
    settings: SegmentSettings | None,
) -> Request:
    """The request with unusable voxels replaced and settings filled in.

    Raises VolumeError for a scan that cannot be worked with, SupportError without supports, SettingsError for a
    setting or slice range outside its limits, TypeError for arguments of the wrong type.
    """
    settings = settings if settings is not None else SegmentSettings()
    if not isinstance(settings, SegmentSettings):
        raise TypeError(f"settings must be SegmentSettings, not {type(settings).__name__}")
    check(settings)
    if isinstance(supports, Support) or not all(isinstance(s, Support) for s in supports):
        raise TypeError("supports must be a list of napari_medssl.Support")
    if not supports:
        raise SupportError("no labelled example was given; paint an organ on one slice or give another labelled scan")
    cleaned: dict[int, tuple[Volume, tuple[str, ...]]] = {id(query): check_volume(query, what="scan")}
    for n, support in enumerate(supports, 1):
        if id(support.volume) not in cleaned:
            cleaned[id(support.volume)] = check_volume(support.volume, what=f"scan of example {n}")
    # A support on the query itself must go on sharing the query's volume.
    usable = tuple(_with_volume(s, cleaned[id(s.volume)][0]) for s in supports)
    warnings = tuple(w for _, found in cleaned.values() for w in found)
    return Request(cleaned[id(query)][0], usable, _check_range(slice_range, query.shape[0]), settings, warnings)


def check_volume(volume: Volume, *, what: str = "scan") -> tuple[Volume, tuple[str, ...]]:
    """The volume fit for computing, and warnings.

    Voxels that are not numbers, which mark the outside of the field of view in many files, become the darkest value
    of the scan; infinite ones the darkest or brightest. A scan without such voxels is returned as it is, not copied.

    Raises VolumeError when there is no voxel, the values are no real numbers, none is finite, or all are equal.
    """
    if not isinstance(volume, Volume):
        raise TypeError(f"the {what} must be a napari_medssl.Volume, not {type(volume).__name__}")
    data = volume.data
    if data.size == 0:
        raise VolumeError(f"the {what} has no voxels (shape {data.shape}); choose a scan that is not empty")
    if data.dtype.kind not in "biuf":
        raise VolumeError(f"the {what} holds values of type {data.dtype}; convert them to whole or real numbers")
    low, high, bad = _extent(data)
    if bad == data.size:
        raise VolumeError(f"the {what} holds no finite value, only NaN or infinity; choose another scan")
    if low == high:
        raise VolumeError(f"every voxel of the {what} is {low:g}; there is nothing to tell an organ by")
    if not bad:
        return volume, ()
    # astype copies; nan_to_num then works in place.
    finite = np.nan_to_num(data.astype(data.dtype, copy=True), copy=False, nan=low, posinf=high, neginf=low)
    share = 100 * bad / data.size
    warning = (
        f"{bad} voxels ({share:.2g} %) of the {what} are NaN or infinite; they were computed as its extreme values"
    )
    return dataclasses.replace(volume, data=finite), (warning,)


def _with_volume(support: Support, volume: Volume) -> Support:
    return support if support.volume is volume else dataclasses.replace(support, volume=volume)


def _check_range(slice_range: tuple[int, int] | None, depth: int) -> tuple[int, int] | None:
    if slice_range is None:
        return None
    try:
        low, high = (int(z) for z in slice_range)
    except (TypeError, ValueError):
        raise SettingsError(f"slice_range is {slice_range!r}; give two whole numbers (first, last + 1)") from None
    if not 0 <= low < high <= depth:
        raise SettingsError(
            f"slice_range is {low}:{high}; the scan has slices 0 to {depth - 1}, "
            f"so it must lie within 0:{depth} and hold at least one slice"
        )
    return SoftRange(low, high) if isinstance(slice_range, SoftRange) else (low, high)


def _slabs(data: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _SLAB_VOXELS // max(1, data[0].size))
    for start in range(0, len(data), step):
        yield data[start : start + step]


def _extent(data: np.ndarray) -> tuple[float, float, int]:
    """Smallest and largest finite value and the number of voxels that are not finite."""
    low, high, bad = np.inf, -np.inf, 0
    for slab in _slabs(data):
        values = slab
        if data.dtype.kind == "f":
            finite = np.isfinite(slab)
            n_bad = int(slab.size - np.count_nonzero(finite))
            bad += n_bad
            values = slab[finite] if n_bad else slab
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high, bad
