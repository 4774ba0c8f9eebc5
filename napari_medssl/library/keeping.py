"""What a library keeps of a scan: full resolution where organs are labelled, an overview of everything else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from napari_medssl.errors import FormatError, VolumeError
from napari_medssl.geometry import spacing_of
from napari_medssl.settings import setting
from napari_medssl.volume import Affine, Modality, Volume

Box = tuple[int, int, int, int]
"""Half-open part of a slice: first and last + 1 row, first and last + 1 column."""

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32")
_COARSEST = 16  # pixels of the scan per pixel of the overview, at most: bounds what a small file may unfold to


@dataclass(frozen=True)
class KeepSettings:
    """How much of a scan goes into a library.

    Matching needs the labelled slices in full, their neighbours (the encoder looks at three slices at a time), and the
    look of all other slices to tell at which height of another scan an organ lies; for the last an overview is enough.
    """

    what: Literal["slices", "crop", "whole"] = setting(
        "slices",
        "slices: labelled slices and their neighbours in full; crop: of these only the organs' surroundings; "
        "whole: the whole scan. The rest is kept as an overview.",
    )
    neighbours: int = setting(1, "Slices kept in full on each side of a labelled one.", ge=0, le=10, advanced=True)
    margin_mm: float = setting(40.0, "Crop: kept in full around the organs.", ge=0.0, le=1000.0)
    overview_mm: float = setting(5.0, "Pixels of the overview.", ge=0.5, le=20.0, advanced=True)


@dataclass(frozen=True, eq=False)
class KeptScan:
    """The kept part of one scan; it holds voxels and geometry, and nothing of the file they came from.

    shape: (Z, Y, X) of the scan. affine: (4, 4), index (z, y, x) to RAS mm. modality: "CT", "MR" or "auto".
    dtype: of the scan's voxels.
    slices: kept in full, ascending. box: the part of them that is kept.
    detail: (len(slices), h, w), the box of those slices.
    overview: (Z, ceil(Y / step[0]), ceil(X / step[1])) means over step[0] x step[1] pixels of every slice.
    source_sha256: `Volume.content_hash` of the scan, by which it is recognised when a library is applied to it.
    scanner: what the user says about the scanner, such as "1.5 T".

    Whole numbers are stored as 16 bits where they fit, whatever `dtype` is.
    Raises FormatError when the parts do not fit together.
    """

    shape: tuple[int, int, int]
    affine: Affine
    modality: Modality
    dtype: str
    slices: tuple[int, ...]
    box: Box
    detail: np.ndarray
    overview: np.ndarray
    step: tuple[int, int]
    source_sha256: str
    scanner: str = ""

    def __post_init__(self) -> None:
        for ok, what in _consistency(self):
            if not ok:
                raise FormatError(f"the kept scan is inconsistent: {what}")

    @property
    def nbytes(self) -> int:
        """Bytes of the kept voxels."""
        return self.detail.nbytes + self.overview.nbytes

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along Z, Y, X in mm."""
        z, y, x = (float(n) for n in spacing_of(self.affine))
        return z, y, x

    @cached_property
    def sha256(self) -> str:
        """Hash of everything that is kept; a stored file is checked with it."""
        facts = (self.shape, self.modality, self.dtype, self.slices, self.box, self.step, self.source_sha256)
        h = hashlib.sha256(repr((*facts, self.scanner)).encode())
        for array in (self.affine, self.detail, self.overview):
            h.update(f"{array.shape}{array.dtype.name}".encode())
            h.update(np.ascontiguousarray(array).data)
        return h.hexdigest()

    def volume(self) -> Volume:
        """The scan again, on its own grid: detail where it is kept, the overview (bilinear) elsewhere.

        Made anew at each call: a library may hold more scans than fit in memory unfolded.
        """
        z, y, x = self.shape
        data = np.empty(self.shape, self.dtype)
        top, bottom, left, right = self.box
        whole = (top, bottom, left, right) == (0, y, 0, x)
        detailed = dict(zip(self.slices, self.detail, strict=True))
        up_y, up_x = _upsampling(y, self.step[0]), _upsampling(x, self.step[1])
        for i in range(z):
            if i not in detailed or not whole:
                plane = up_y @ self.overview[i].astype(np.float32) @ up_x.T
                data[i] = np.rint(plane) if data.dtype.kind in "iu" else plane
            if i in detailed:
                data[i, top:bottom, left:right] = detailed[i]
        return Volume(data, self.affine, self.modality)


def keep_scan(
    volume: Volume,
    slices: Iterable[int],
    *,
    box: Box | None = None,
    overview_mm: float = 5.0,
    scanner: str = "",
) -> KeptScan:
    """Keep `slices` of a scan in full (of them only `box`, when it is given) and an overview of the rest.

    Voxels that are not numbers become the darkest value of the scan. Raises VolumeError when none is a number.
    """
    _, y, x = volume.shape
    chosen = tuple(sorted(set(slices)))
    box = box or (0, y, 0, x)
    data = _finite(volume.data)
    step = tuple(int(np.clip(round(overview_mm / mm), 1, _COARSEST)) for mm in volume.spacing_mm[1:])
    detail = _compact(data[list(chosen), box[0] : box[1], box[2] : box[3]])
    overview = _block_means(data, (step[0], step[1]))
    if detail.dtype.kind in "iu":
        overview = np.rint(overview)
    return KeptScan(
        volume.shape,
        np.array(volume.affine),
        volume.modality,
        _kind(volume.data),
        chosen,
        box,
        detail,
        _compact(overview),
        (step[0], step[1]),
        volume.content_hash,
        scanner,
    )


def slices_to_keep(labelled: Iterable[int], depth: int, settings: KeepSettings) -> set[int]:
    """The slices kept in full for these labelled ones."""
    if settings.what == "whole":
        return set(range(depth))
    reach = range(-settings.neighbours, settings.neighbours + 1)
    return {z + d for z in labelled for d in reach if 0 <= z + d < depth}


def box_to_keep(labelled: np.ndarray, spacing_yx: tuple[float, float], settings: KeepSettings) -> Box:
    """The part of the slices kept in full; labelled: bool (Y, X), where any organ is on any slice."""
    y, x = labelled.shape
    if settings.what != "crop":
        return 0, y, 0, x
    ends: list[int] = []
    for hit, n, mm in ((labelled.any(1), y, spacing_yx[0]), (labelled.any(0), x, spacing_yx[1])):
        where = np.flatnonzero(hit)
        margin = int(np.ceil(settings.margin_mm / mm))
        ends += [max(0, int(where[0]) - margin), min(n, int(where[-1]) + 1 + margin)]
    return ends[0], ends[1], ends[2], ends[3]


def joined_box(a: Box, b: Box) -> Box:
    """The smallest box around two."""
    return min(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), max(a[3], b[3])


def _consistency(scan: KeptScan) -> tuple[tuple[bool, str], ...]:
    z, y, x = scan.shape
    top, bottom, left, right = scan.box
    small = tuple(-(-n // s) if s > 0 else 0 for n, s in zip((y, x), scan.step, strict=True))
    rising = all(a < b for a, b in zip(scan.slices, scan.slices[1:], strict=False))
    return (
        (min(scan.shape) >= 1, "its size has an axis without voxels"),
        (scan.affine.shape == (4, 4) and bool(np.isfinite(scan.affine).all()), "its affine is no finite (4, 4) matrix"),
        (scan.dtype in DTYPES, f"its voxels are of the unknown type {scan.dtype!r}"),
        (bool(scan.slices) and rising, "its slices are not in ascending order"),
        (bool(scan.slices) and scan.slices[0] >= 0 and scan.slices[-1] < z, "a kept slice lies outside the scan"),
        (0 <= top < bottom <= y and 0 <= left < right <= x, "the kept part lies outside the slices"),
        (scan.detail.shape == (len(scan.slices), bottom - top, right - left), "the kept slices have another size"),
        (all(1 <= s <= _COARSEST for s in scan.step), "its overview has impossible pixels"),
        (scan.overview.shape == (z, *small), "its overview has another size"),
    )


def _finite(data: np.ndarray) -> np.ndarray:
    if data.dtype.kind != "f":
        return data
    good = np.isfinite(data)
    if good.all():
        return data
    if not good.any():
        raise VolumeError("no voxel of the scan is a number (all are NaN or infinite); choose another scan")
    return np.where(good, data, data[good].min()).astype(data.dtype)


def _kind(data: np.ndarray) -> str:
    name = data.dtype.name
    if name in DTYPES:
        return name
    if data.dtype.kind in "bui":
        return "uint8" if data.dtype.kind == "b" else "int64"
    return "float32"


def _compact(data: np.ndarray) -> np.ndarray:
    """The same numbers in the first of uint8, int16, uint16, int32 and float32 that holds them, native byte order."""
    whole = data.dtype.kind in "bui" or bool(np.array_equal(np.rint(data), data))
    if whole and data.size:
        low, high = data.min(), data.max()
        for kind in (np.uint8, np.int16, np.uint16, np.int32):
            limits = np.iinfo(kind)
            if limits.min <= low and high <= limits.max:
                return np.ascontiguousarray(data.astype(kind))
    return np.ascontiguousarray(data.astype(np.float32))


def _block_means(data: np.ndarray, step: tuple[int, int]) -> np.ndarray:
    """(Z, Y, X) to (Z, ceil(Y / step), ceil(X / step)) float32 means; blocks at the far edges may be smaller."""
    rows, columns = (np.arange(0, n, s) for n, s in zip(data.shape[1:], step, strict=True))
    area = np.outer(
        np.diff(np.append(rows, data.shape[1])), np.diff(np.append(columns, data.shape[2]))
    )  # pixels per block
    means = [np.add.reduceat(np.add.reduceat(p.astype(np.float64), rows, axis=0), columns, axis=1) / area for p in data]
    return np.asarray(means, np.float32)


def _upsampling(n: int, step: int) -> np.ndarray:
    """(n, blocks) float32: linear interpolation between block centres, constant beyond the outermost."""
    starts = np.arange(0, n, step)
    centres = (starts + np.minimum(starts + step, n) - 1) / 2
    weights = [np.interp(np.arange(n), centres, unit) for unit in np.eye(len(centres))]
    return np.asarray(np.stack(weights, 1), np.float32)
