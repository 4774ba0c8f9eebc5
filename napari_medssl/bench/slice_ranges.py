"""What a slice range from scores is worth to segmentation across patients: beside no range, and beside the true one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.bench.accuracy import organs_of, person_of
from napari_medssl.bench.supports import even_slices, mask_of
from napari_medssl.classify.slices.learn import learn_slices
from napari_medssl.classify.slices.marks import several_classes
from napari_medssl.classify.slices.ranges import slice_range_from_scores
from napari_medssl.classify.slices.settings import LearnSettings
from napari_medssl.classify.slices.sources import organs_on_slices
from napari_medssl.classify.slices.vectors import slice_vectors_steps
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.run import cases_of
from napari_medssl.io import read
from napari_medssl.metrics.segmentation import dice
from napari_medssl.oneshot import Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case
from napari_medssl.volume import SoftRange, Volume

_Mask = npt.NDArray[np.bool_]
_SUPPORT_SLICES = 3  # the published few-shot protocol, as `bench.accuracy` across patients


@dataclass(frozen=True)
class RangeScore:
    """One organ of one scan: Dice over the whole scan with no range, with that from scores, with the true one.

    cut: with no range, but what lies outside the range from scores taken away afterwards. soft: with the range from
    scores as it is, a soft one; scored: as an exact one, which the organ is taken to fill.
    found, true: half-open ranges; found is the whole scan where the scores see the organ on no slice.
    """

    scan: str
    organ: int
    whole: float
    cut: float
    soft: float
    scored: float
    oracle: float
    found: tuple[int, int]
    true: tuple[int, int]


def range_steps(
    folder: Path, *, engine: Engine, queries: int = 3, labelled: int = 2, only: Sequence[str] = ()
) -> Steps[list[RangeScore]]:
    """Segment every organ of the first `queries` people of a folder from the last one, three times.

    The support is labelled on three slices. Presence is learned from all slices of the last `labelled` people; the
    query itself has no label anywhere.

    Raises FormatError when the folder has not as many people.
    """
    cases = cases_of(folder, only=only, labelled=True)
    people = list(dict.fromkeys(person_of(c) for c in cases))
    if len(people) < queries + labelled:
        needed = f"{queries} to segment and {labelled} labelled ones are needed"
        raise FormatError(f"{folder} has {len(people)} people; {needed}")
    known = [_Read(c) for c in cases if person_of(c) in people[-labelled:]]
    scores: list[RangeScore] = []
    for number, case in enumerate([c for c in cases if person_of(c) in people[:queries]]):
        yield Progress(number, queries, f"measuring {case.image.name}")
        scores += yield from _query(_Read(case), known, engine)
    return scores


class _Read:
    """A scan with its truth."""

    def __init__(self, case: Case) -> None:
        assert case.labels is not None  # only labelled cases are asked
        self.name, self.scan = case.image.name, read(case.image)
        self.labels: Volume = read(case.labels, labels=True)
        self.truth: npt.NDArray[Any] = self.labels.data


def _query(query: _Read, known: Sequence[_Read], engine: Engine) -> Steps[list[RangeScore]]:
    vectors = {}
    for item in (*known, query):
        vectors[item.name] = yield from slice_vectors_steps(engine, item.scan)
    shown = {k.name: {z: list(map(str, on)) for z, on in organs_on_slices(k.labels).items()} for k in known}
    organs = sorted({o for marked in shown.values() for on in marked.values() for o in on})
    head = learn_slices(vectors, several_classes(organs, shown), LearnSettings())
    said = head.scores(vectors[query.name])
    donor = known[-1]
    scores = []
    for organ in organs_of(query.truth):
        if str(organ) not in head.classes or not (donor.truth == organ).any():
            continue
        yield Progress(0, 0, f"measuring {query.name}", f"organ {organ}")
        probability, _ = said.of(str(organ))
        depth = len(query.truth)
        slice_mm = query.scan.spacing_mm[0]
        span = slice_range_from_scores(probability, threshold=head.threshold_of[str(organ)], slice_mm=slice_mm)
        found, true = span or SoftRange(0, depth), _span(query.truth == organ)
        marked = donor.truth == organ
        support = Support(donor.scan, mask_of(marked, even_slices(marked, _SUPPORT_SLICES)))
        masks = [_segmented(engine, query, support, limits) for limits in (None, found, (found.low, found.high), true)]
        kept = np.zeros_like(masks[0])
        kept[slice(*found)] = masks[0][slice(*found)]
        whole, cut, soft, scored, oracle = (_dice(m, query.truth == organ) for m in (masks[0], kept, *masks[1:]))
        scores.append(RangeScore(query.name, organ, whole, cut, soft, scored, oracle, found, true))
    return scores


def _segmented(engine: Engine, query: _Read, support: Support, limits: tuple[int, int] | None) -> _Mask:
    found: _Mask = engine.segment(query.scan, [support], slice_range=limits).labels.data == 1
    return found


def _dice(found: _Mask, truth: _Mask) -> float:
    value = dice(found, truth).value
    return float("nan") if value is None else value


def _span(organ: npt.NDArray[np.bool_]) -> tuple[int, int]:
    slices = np.flatnonzero(organ.any(axis=(1, 2)))
    return int(slices[0]), int(slices[-1]) + 1
