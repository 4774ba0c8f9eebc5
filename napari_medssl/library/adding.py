"""Labelled slices of a scan become examples of a library."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.library.example import Example, example_from
from napari_medssl.library.keeping import (
    KeepSettings,
    KeptScan,
    box_to_keep,
    joined_box,
    keep_scan,
    slices_to_keep,
)
from napari_medssl.oneshot.support import Support


@dataclass(frozen=True)
class Added:
    """All examples of the library after an addition, which of them are new, and what to know, as sentences."""

    examples: tuple[Example, ...]
    new: tuple[Example, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """What the user says about examples. name: empty for "liver 1", "liver 2"..."""

    name: str = ""
    note: str = ""
    licence: str = ""
    scanner: str = ""


def add_examples(
    present: Sequence[Example], support: Support, *, facts: Facts = Facts(), keep: KeepSettings | None = None
) -> Added:
    """`present` and one example for each organ of `support`.

    Organs are the same when they have the same name, whatever the case; the library's value counts then. A new organ
    keeps its value, or gets the next free one when another organ has it. What the library has already (the same
    organ, slices and mask of the same scan) is left out. Of a scan that is there already at least as much is kept as
    before.

    Raises SupportError when nothing is new or a name is taken.
    """
    notes: list[str] = []
    scan = _scan_for(present, support, facts, keep or KeepSettings())
    known = {e.sha256: e for e in present}
    new: list[Example] = []
    for organ in support.organs:
        label, note = _organ_in([*present, *new], organ)
        name = _name_for([*present, *new], label.name, facts.name, several=len(support.organs) > 1)
        made = example_from(support.mask == organ.value, label, scan, name=name, note=facts.note, licence=facts.licence)
        if made.sha256 in known:
            notes.append(f"{label.name} on these slices is in the library already, as {known[made.sha256].name!r}")
            continue
        notes += note
        new.append(made)
    if not new:
        raise SupportError(f"nothing was added: {'; '.join(notes)}")
    old = [e.on(scan) if e.scan.source_sha256 == scan.source_sha256 else e for e in present]
    return Added((*old, *new), tuple(new), tuple(notes))


def spread_slices(mask: np.ndarray, per_organ: int, *, few: int = 0) -> np.ndarray:
    """Of a label map (Z, Y, X) only `per_organ` slices of each organ: the middles of equal parts of its extent.

    Three are the published few-shot protocol (thesis section 7.4.2.2). An organ on fewer slices, or on at most `few`,
    keeps all of them.
    """
    chosen = np.zeros_like(mask)
    for value in (int(v) for v in np.unique(mask) if v):
        where = mask == value
        slices = np.flatnonzero(where.any(axis=(1, 2)))
        wanted = len(slices) if len(slices) <= few else min(per_organ, len(slices))
        for part in np.array_split(slices, wanted):
            z = int(part[len(part) // 2])
            chosen[z][where[z]] = value
    return chosen


def _scan_for(present: Iterable[Example], support: Support, facts: Facts, keep: KeepSettings) -> KeptScan:
    volume = support.volume
    slices = slices_to_keep(support.slices, volume.shape[0], keep)
    labelled = np.asarray(support.mask.any(axis=0))
    box = box_to_keep(labelled, (volume.spacing_mm[1], volume.spacing_mm[2]), keep)
    old = next((e.scan for e in present if e.scan.source_sha256 == volume.content_hash), None)
    scanner = facts.scanner
    if old is not None:
        slices |= set(old.slices)
        box = joined_box(box, old.box)
        scanner = scanner or old.scanner
    return keep_scan(volume, slices, box=box, overview_mm=keep.overview_mm, scanner=scanner)


def _organ_in(present: Iterable[Example], organ: Label) -> tuple[Label, list[str]]:
    """The organ as the library has it, and a note when its value had to change."""
    known = {e.organ.value: e.organ for e in present}
    for label in known.values():
        if label.name.casefold() == organ.name.strip().casefold():
            return label, []
    if organ.value not in known:
        return dataclasses.replace(organ, name=organ.name.strip()), []
    value = next(v for v in range(1, len(known) + 2) if v not in known)
    note = f"{organ.name} has the value {value} in the library, because {known[organ.value].name} has {organ.value}"
    return Label(value, organ.name.strip(), organ.color), [note]


def _name_for(present: Iterable[Example], organ: str, wanted: str, *, several: bool) -> str:
    taken = {e.name.casefold() for e in present}
    if wanted.strip():
        name = f"{wanted.strip()} {organ}" if several else wanted.strip()
        if name.casefold() in taken:
            raise SupportError(f"an example is called {name!r} already; choose another name, or remove that one first")
        return name
    return next(n for n in (f"{organ} {i}" for i in range(1, len(taken) + 2)) if n.casefold() not in taken)
