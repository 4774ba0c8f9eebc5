"""What people say about slices and exams: which of the classes they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SupportError

Kind: TypeAlias = Literal["several", "one"]
"""Any number of classes on a slice, none included; or exactly one of them."""

Said: TypeAlias = Mapping[str, bool]
"""Class to whether it is there; a class that is not named is unknown."""

FloatArray: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SliceMarks:
    """Marked slices of some scans.

    classes: names, in the order of the columns of every score. kind: "several" or "one".
    slices: scan to slice to what is said of it. exams: scan to what is said of it as a whole, for heads that learn from
        exams. Scans are named by the caller; the names are those of the vectors to learn from.

    Raises SupportError for no class, one without a name or two of one name, an unknown class, a negative slice, or,
    where a slice shows one class, a slice said to show none or two.
    """

    classes: tuple[str, ...]
    kind: Kind = "several"
    slices: Mapping[str, Mapping[int, Said]] = field(default_factory=dict)
    exams: Mapping[str, Said] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.classes or not all(name.strip() for name in self.classes):
            raise SupportError("there is no class to learn; name at least one, such as 'lesion'")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise SupportError(f"two classes are called {twice!r}; give each a name of its own")
        for scan, marked in self.slices.items():
            for z, said in marked.items():
                self._check(said, f"slice {z} of {scan}")
                if z < 0:
                    raise SupportError(f"{scan} has no slice {z}; slices are counted from 0")
        for scan, said in self.exams.items():
            self._check(said, f"the exam {scan}")

    @property
    def count(self) -> int:
        """How many slices are marked."""
        return sum(map(len, self.slices.values()))

    def targets(self, scan: str) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Marked slices of a scan, ascending, and (n, C) of 1 shown, 0 not shown, NaN not known."""
        marked = self.slices.get(scan, {})
        order = sorted(marked)
        rows = np.array([self.row(marked[z]) for z in order], np.float32).reshape(len(order), len(self.classes))
        return np.array(order, np.intp), rows

    def exam_target(self, scan: str) -> FloatArray:
        """(C,) of the whole exam: what is said of it, else 1 where a marked slice shows the class, else NaN."""
        own = self.row(self.exams.get(scan, {}))
        _, rows = self.targets(scan)
        seen = np.array((rows == 1).any(0)) if len(rows) else np.zeros(len(self.classes), bool)
        return np.where(np.isnan(own) & seen, np.float32(1), own).astype(np.float32)

    def row(self, said: Said) -> FloatArray:
        """(C,) of 1, 0 and NaN; where a slice shows one class, the others are not shown."""
        known = {name: float(there) for name, there in said.items()}
        other = 0.0 if self.kind == "one" and any(said.values()) else np.nan
        return np.array([known.get(name, other) for name in self.classes], np.float32)

    def _check(self, said: Said, where: str) -> None:
        unknown = sorted(set(said) - set(self.classes))
        if unknown:
            raise SupportError(f"{where} is marked as {unknown[0]!r}; the classes are: {', '.join(self.classes)}")
        shown = [name for name, there in said.items() if there]
        if self.kind == "one" and len(shown) != 1:
            raise SupportError(
                f"{where} is marked as {' and '.join(shown) or 'nothing'}; here a slice shows exactly one class, "
                "or choose that it can show several"
            )


def one_class(classes: Sequence[str], slices: Mapping[str, Mapping[int, str]]) -> SliceMarks:
    """Marks of slices that show exactly one class each: scan to slice to class."""
    said = {scan: {z: {name: True} for z, name in marked.items()} for scan, marked in slices.items()}
    return SliceMarks(tuple(classes), "one", said)


def several_classes(classes: Sequence[str], slices: Mapping[str, Mapping[int, Sequence[str]]]) -> SliceMarks:
    """Marks of slices that show the classes named, and none of the others: scan to slice to classes."""
    said = {
        scan: {z: {**dict.fromkeys(classes, False), **dict.fromkeys(names, True)} for z, names in marked.items()}
        for scan, marked in slices.items()
    }
    return SliceMarks(tuple(classes), "several", said)
