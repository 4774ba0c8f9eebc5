"""Which examples of a library fit a scan best, told before anything is segmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_medssl.library.example import Example
from napari_medssl.library.keeping import KeptScan
from napari_medssl.library.library import Library
from napari_medssl.library.signature import Encoder, Signature, signature_steps
from napari_medssl.models.features import FeatureStack
from napari_medssl.oneshot.alignment import HeightMap, align_heights, slice_summaries
from napari_medssl.oneshot.matching import cell_prototypes, match_logits
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting
from napari_medssl.volume import Modality, Volume

RULE = "examples on the scan itself, then those of its modality, then by score: likeness of the scans times agreement"
"""How examples are put in order, for reports."""

_LEAST_LIKENESS = 0.05  # scans too different or too short to be aligned still have an order among them


@dataclass(frozen=True)
class SelectSettings:
    """How many examples are used."""

    per_organ: int = setting(3, "Examples used for each organ, the best-matching ones; 0: all.", ge=0, le=1000)


@dataclass(frozen=True)
class Match:
    """How well one example fits a scan.

    score: likeness times agreement; higher fits better, to be compared between examples of one organ.
    likeness: of the two scans as a whole, the similarity of `align_heights`. agreement: in [0, 1], `round_trip`.
    same_modality: False when both are known and differ. own_scan: the example was made on this very scan.
    """

    example: Example
    likeness: float
    agreement: float
    same_modality: bool
    own_scan: bool

    @property
    def score(self) -> float:
        """At least 0; 1 for an example on the scan itself."""
        return max(self.likeness, _LEAST_LIKENESS) * self.agreement

    def facts(self, *, used: bool) -> dict[str, Any]:
        """The match for a report."""
        e = self.example
        return {
            "name": e.name,
            "organ": e.organ.value,
            "used": used,
            "score": round(self.score, 4),
            "likeness": round(self.likeness, 4),
            "agreement": round(self.agreement, 4),
            "same_modality": self.same_modality,
            "own_scan": self.own_scan,
            "slices": list(e.slices),
            "spacing_mm": [round(s, 4) for s in e.scan.spacing_mm],
            "licence": e.licence,
            "sha256": e.sha256,
        }


def rank_steps(library: Library, engine: Encoder, volume: Volume) -> Steps[tuple[Match, ...]]:
    """Every example of a library with how well it fits a scan: organ by organ, best first.

    Examples of the scan's own modality stand before all others of their organ, those on the scan itself first of all.
    Equal scores keep the order of the library. Encodes the scan once and each scan of the library once, where its
    features are not kept; no example of an organ alone on its own scan is compared.
    """
    found: list[Match] = []
    query: FeatureStack | None = None
    summaries = torch.empty(0)
    for number, scan in enumerate(library.scans):
        mine = [e for e in library.examples if e.scan is scan]
        if scan.source_sha256 == volume.content_hash:
            found += [Match(e, 1.0, 1.0, same_modality=True, own_scan=True) for e in mine]
            continue
        if query is None:
            query = yield from engine.features_steps(volume)
            summaries = slice_summaries(query.data)
        yield Progress(number, len(library.scans), "comparing with the library")
        signature = yield from signature_steps(engine, scan, mine, library.features_of(scan))
        with torch.inference_mode():
            found += _matches(scan, mine, signature, volume, query.data, summaries)
    organs = {organ.value: n for n, organ in enumerate(library.organs)}
    found.sort(key=lambda m: (organs[m.example.organ.value], not m.own_scan, not m.same_modality, -m.score))
    return tuple(found)


def round_trip(example: tuple[Tensor, Tensor], query: Tensor) -> float:
    """Whether the organ found on matching slices of a scan leads back to where it was painted; in [0, 1].

    example: (N, D, h, w) features of the labelled slices and (N, h, w) share of each cell covered by the organ.
    query: (N, D, h, w) features of the scan's slices at the same heights.

    On each pair of slices the organ is found in the scan with the prototypes of the example, then in the example with
    the prototypes of what was found; the mean over the pairs of the Dice overlap of that with the painted mask. A
    pair on which nothing is found counts as 0. The idea is reverse classification accuracy (Valindria et al., 2017,
    doi 10.1109/TMI.2017.2665165), here with features in place of a trained classifier and one example in place of a
    reference set.
    """
    scores = []
    for features, cover, there in zip(*example, query, strict=True):
        found = torch.sigmoid(match_logits(cell_prototypes(features, cover), there[None])[0])
        found = found * (found > 0.5)
        if not found.any():
            scores.append(0.0)
            continue
        back = torch.sigmoid(match_logits(cell_prototypes(there, found), features[None])[0])
        scores.append(float(2 * (back * cover).sum() / (back.sum() + cover.sum())))
    return sum(scores) / len(scores)


def same_modality(a: Modality, b: Modality) -> bool:
    """False when both are known and differ."""
    return "auto" in (a, b) or a == b


def _matches(
    scan: KeptScan, examples: Sequence[Example], signature: Signature, volume: Volume, query: Tensor, summaries: Tensor
) -> list[Match]:
    height = align_heights(signature.summaries, summaries, scan.spacing_mm[0], volume.spacing_mm[0])
    alike = same_modality(scan.modality, volume.modality)
    matches = []
    for example in examples:
        rows = [_row_at(z, height, scan, volume) for z in example.slices]
        agreement = round_trip(signature.labelled(example), query[rows].float())
        matches.append(Match(example, height.similarity, agreement, same_modality=alike, own_scan=False))
    return matches


def _row_at(z: int, height: HeightMap, scan: KeptScan, volume: Volume) -> int:
    """The slice of the query at the height of a slice of the example."""
    return min(max(round(height(z * scan.spacing_mm[0]) / volume.spacing_mm[0]), 0), volume.shape[0] - 1)
