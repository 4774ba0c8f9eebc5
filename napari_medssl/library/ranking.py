"""Which examples of a library fit a scan best, told before anything is segmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from napari_medssl.library.example import Example
from napari_medssl.library.library import Library
from napari_medssl.library.looks import Encoder, looks_steps
from napari_medssl.oneshot.alignment import align_heights, slice_summaries
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting
from napari_medssl.volume import Modality, Volume

RULE = "examples on the scan itself, then those of its modality, then by the likeness of the scans"
"""How examples are put in order, for reports."""


@dataclass(frozen=True)
class SelectSettings:
    """How many examples are used.

    One by default: on chaos_t2, nothing known of the query, the best-matching one gave the same Dice as all five of a
    library in a quarter of the time.
    """

    per_organ: int = setting(1, "Examples used for each organ, the best-matching ones; 0: all.", ge=0, le=1000)


@dataclass(frozen=True)
class Match:
    """How well one example fits a scan.

    likeness: of the two scans as a whole, the similarity of `align_heights`: about -1 to 1, -2 when they could not be
    compared. 1 for an example on the scan itself.
    same_modality: False when both are known and differ. own_scan: the example was made on this very scan.
    """

    example: Example
    likeness: float
    same_modality: bool
    own_scan: bool

    def facts(self, *, used: bool) -> dict[str, Any]:
        """The match for a report."""
        e = self.example
        return {
            "name": e.name,
            "organ": e.organ.value,
            "used": used,
            "likeness": round(self.likeness, 4),
            "same_modality": self.same_modality,
            "own_scan": self.own_scan,
            "slices": list(e.slices),
            "spacing_mm": [round(s, 4) for s in e.scan.spacing_mm],
            "scanner": e.scan.scanner,
            "licence": e.licence,
            "sha256": e.sha256,
        }


def rank_steps(library: Library, engine: Encoder, volume: Volume) -> Steps[tuple[Match, ...]]:
    """Every example of a library with how well it fits a scan: organ by organ, best first.

    Examples on the scan itself stand first, then those of its modality, then the others of their organ, each by the
    likeness of the scans; equals keep the order of the library. (Whether the organ found in the scan leads back to
    where it was painted, as in reverse classification accuracy, was tried and told nothing; so was the likeness near
    the labelled slices alone, which was no better than that of the whole scans.)

    Encodes the scan once, and each scan of the library once where its features are not kept.
    """
    found: list[Match] = []
    looks: torch.Tensor | None = None
    scans = library.scans
    for number, scan in enumerate(scans):
        mine = [e for e in library.examples if e.scan is scan]
        if scan.source_sha256 == volume.content_hash:
            found += [Match(e, 1.0, same_modality=True, own_scan=True) for e in mine]
            continue
        if looks is None:
            looks = slice_summaries((yield from engine.features_steps(volume)).data)
        yield Progress(number, len(scans), "comparing with the library")
        theirs = yield from looks_steps(engine, scan, library.features_of(scan))
        likeness = align_heights(theirs, looks, scan.spacing_mm[0], volume.spacing_mm[0]).similarity
        alike = same_modality(scan.modality, volume.modality)
        found += [Match(e, likeness, same_modality=alike, own_scan=False) for e in mine]
    organs = {organ.value: n for n, organ in enumerate(library.organs)}
    found.sort(key=lambda m: (organs[m.example.organ.value], not m.own_scan, not m.same_modality, -m.likeness))
    return tuple(found)


def same_modality(a: Modality, b: Modality) -> bool:
    """False when both are known and differ."""
    return "auto" in (a, b) or a == b
