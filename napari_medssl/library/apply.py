"""A library applied to a scan: the best-matching examples of each organ become the supports of a segmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.library.example import Example
from napari_medssl.library.keeping import KeptScan
from napari_medssl.library.library import Library
from napari_medssl.library.looks import Encoder
from napari_medssl.library.ranking import RULE, Match, SelectSettings, rank_steps
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Steps
from napari_medssl.settings import check, to_dict
from napari_medssl.volume import Volume


class Segmenter(Encoder, Protocol):
    """The part of `napari_medssl.Engine` that applying a library uses."""

    def segment_steps(
        self,
        query: Volume,
        supports: Sequence[Support],
        *,
        slice_range: tuple[int, int] | None = None,
        settings: SegmentSettings | None = None,
    ) -> Steps[Segmentation]: ...


@dataclass(frozen=True)
class Choice:
    """What a library offers for one scan.

    supports: for `Engine.segment`. matches: every example, best first within its organ. used: the chosen ones.
    report: the same as plain JSON values, with the rule and the hash of the library.
    """

    supports: tuple[Support, ...]
    matches: tuple[Match, ...]
    used: tuple[Match, ...]
    report: dict[str, Any]


def supports_for_steps(
    library: Library, engine: Encoder, volume: Volume, *, settings: SelectSettings | None = None
) -> Steps[Choice]:
    """The best-matching examples of each organ for a scan.

    An example on the scan itself (the same voxels in the same place) is used alone for its organ: its labelled slices
    are then those of the scan. Yields Progress. Raises SupportError when the library is empty, SettingsError for a
    setting outside its limits.
    """
    settings = settings or SelectSettings()
    check(settings)
    if not library.examples:
        raise SupportError("the library has no examples; add a labelled scan to it first")
    matches = yield from rank_steps(library, engine, volume)
    used = tuple(m for organ in library.organs for m in _best(matches, organ, settings.per_organ))
    report = {
        "library_sha256": library.sha256,
        "rule": RULE,
        "settings": to_dict(settings),
        "examples": [m.facts(used=any(m is u for u in used)) for m in matches],
        "notes": _notes(used, volume),
    }
    return Choice(tuple(supports_of([m.example for m in used], volume)), matches, used, report)


def apply_steps(
    library: Library,
    engine: Segmenter,
    volume: Volume,
    *,
    slice_range: tuple[int, int] | None = None,
    select: SelectSettings | None = None,
    settings: SegmentSettings | None = None,
) -> Steps[Segmentation]:
    """Choose supports for a scan and segment it; the report has the choice under "library"."""
    choice = yield from supports_for_steps(library, engine, volume, settings=select)
    result = yield from engine.segment_steps(volume, choice.supports, slice_range=slice_range, settings=settings)
    warnings = [*result.report.get("warnings", ()), *choice.report["notes"]]
    return dataclasses.replace(result, report={**result.report, "library": choice.report, "warnings": warnings})


def _best(matches: Iterable[Match], organ: Label, per_organ: int) -> list[Match]:
    mine = [m for m in matches if m.example.organ == organ]
    own = [m for m in mine if m.own_scan]
    return own or mine[: per_organ or None]


def supports_of(examples: Sequence[Example], volume: Volume) -> list[Support]:
    """As few label maps as possible: a scan's organs share one, unless they overlap."""
    maps: list[tuple[KeptScan, list[Example]]] = []
    for example in examples:
        for scan, members in maps:
            if scan is example.scan and not any(_overlap(example, m) for m in members):
                members.append(example)
                break
        else:
            maps.append((example.scan, [example]))
    volumes: dict[int, Volume] = {}
    made = []
    for scan, members in maps:
        own = scan.source_sha256 == volume.content_hash
        if id(scan) not in volumes:
            volumes[id(scan)] = volume if own else scan.volume()
        labels = np.zeros(scan.shape, np.min_scalar_type(max(m.organ.value for m in members)))
        for member in members:
            member.put_into(labels)
        made.append(Support(volumes[id(scan)], labels, tuple(dict.fromkeys(m.organ for m in members))))
    return made


def _overlap(a: Example, b: Example) -> bool:
    shared = set(a.slices) & set(b.slices)
    pick = [(a.slices.index(z), b.slices.index(z)) for z in sorted(shared)]
    if not pick:
        return False
    mine, other = a.planes(), b.planes()
    return any(bool((mine[i] & other[j]).any()) for i, j in pick)


def _notes(used: Iterable[Match], volume: Volume) -> list[str]:
    others = sorted({m.example.organ.name for m in used if not m.same_modality})
    if not others:
        return []
    return [
        f"the scan is {volume.modality}, but the library has no such example of {', '.join(others)}; "
        "look at the result closely, or add an example of this kind"
    ]
