"""A named example of one organ: some labelled slices of a kept scan."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.labels import Label
from napari_medssl.library.keeping import KeptScan


@dataclass(frozen=True, eq=False)
class Example:
    """One organ on some slices of one scan.

    name: unique in its library. organ: value, name and colour, the same for all examples of an organ.
    scan: what is kept of the scan; examples of several organs of one scan share it.
    slices: the labelled ones, ascending; each holds a part of the organ.
    corner: row and column of the first pixel of `mask`. mask: bool (len(slices), h, w), the box around the organ.
    note: free text. licence: under which the scan and its labels may be used.

    Raises FormatError when the parts do not fit together.
    """

    name: str
    organ: Label
    scan: KeptScan
    slices: tuple[int, ...]
    corner: tuple[int, int]
    mask: np.ndarray
    note: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        for ok, what in _consistency(self):
            if not ok:
                raise FormatError(f"the example {self.name!r} is inconsistent: {what}")

    @cached_property
    def sha256(self) -> str:
        """Hash of scan, organ and mask: what makes two examples the same, whatever they are called."""
        facts = (self.scan.source_sha256, self.organ.name.casefold(), self.slices, self.corner, self.mask.shape)
        h = hashlib.sha256(repr(facts).encode())
        h.update(np.packbits(self.mask).data)
        return h.hexdigest()

    def put_into(self, labels: np.ndarray) -> None:
        """Write the organ's value into a label map (Z, Y, X) of the scan's shape."""
        for z, mask in zip(self.slices, self.mask, strict=True):
            self._window(labels, z)[mask] = self.organ.value

    def overlaps(self, labels: np.ndarray) -> bool:
        """Whether another organ stands in a label map (Z, Y, X) where this one would."""
        return any(bool(self._window(labels, z)[m].any()) for z, m in zip(self.slices, self.mask, strict=True))

    def planes(self) -> np.ndarray:
        """The labelled slices in full: bool (len(slices), Y, X)."""
        whole = np.zeros((len(self.slices), *self.scan.shape[1:]), bool)
        for plane, mask in zip(whole, self.mask, strict=True):
            plane[self._rows, self._columns] = mask
        return whole

    def on(self, scan: KeptScan) -> Example:
        """The same example on a scan of which more is kept."""
        return dataclasses.replace(self, scan=scan)

    @property
    def _rows(self) -> slice:
        return slice(self.corner[0], self.corner[0] + self.mask.shape[1])

    @property
    def _columns(self) -> slice:
        return slice(self.corner[1], self.corner[1] + self.mask.shape[2])

    def _window(self, labels: np.ndarray, z: int) -> np.ndarray:
        return np.asarray(labels[z, self._rows, self._columns])


def example_from(
    mask: np.ndarray, organ: Label, scan: KeptScan, *, name: str, note: str = "", licence: str = ""
) -> Example:
    """An example of the True voxels of a mask (Z, Y, X), which must not be empty, on its kept scan."""
    slices = tuple(int(z) for z in np.flatnonzero(mask.any(axis=(1, 2))))
    planes = mask[list(slices)]
    rows, columns = (np.flatnonzero(planes.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    cut = planes[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = (int(rows[0]), int(columns[0]))
    return Example(name, organ, scan, slices, corner, np.ascontiguousarray(cut), note, licence)


def _consistency(example: Example) -> tuple[tuple[bool, str], ...]:
    mask, (top, left) = example.mask, example.corner
    flat = mask.ndim == 3 and mask.dtype == bool and len(mask) == len(example.slices)
    first, last, west, east = example.scan.box
    inside = flat and first <= top and top + mask.shape[1] <= last and west <= left and left + mask.shape[2] <= east
    return (
        (bool(example.name.strip()), "it has no name"),
        (example.organ.value >= 1, f"its organ has the value {example.organ.value}; values start at 1"),
        (bool(example.organ.name.strip()), "its organ has no name"),
        (bool(example.slices) and flat, "its mask does not have one plane per labelled slice"),
        (all(a < b for a, b in zip(example.slices, example.slices[1:], strict=False)), "its slices do not ascend"),
        (inside, "its mask reaches out of what is kept of the scan"),
        (set(example.slices) <= set(example.scan.slices), "a labelled slice is not kept in full"),
        (flat and bool(mask.any(axis=(1, 2)).all()), "the organ is missing on one of its slices"),
    )
