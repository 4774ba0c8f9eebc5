"""Averages over organs, scans and choices of support, and how sure they are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.bench.accuracy import OURS, Score
from napari_medssl.metrics.intervals import Interval, percentile_interval

Array = npt.NDArray[np.float64]

MEASURES = ("whole", "in_range", "common", "surface_dice", "hd95_mm", "volume_percent", "absolute_volume_percent")
LEVEL = 0.95
_RESAMPLES = 1000
_CHUNK_VALUES = 4_000_000  # of the resampled tables that are in memory at a time


@dataclass(frozen=True)
class Average:
    """A mean with its 95 % bootstrap intervals.

    mean: None when nothing was defined. count: values that were.
    over_subjects: when other people had come. over_supports: when other slices (or patients) had been labelled.
    over_both: both at once. An interval is None when there was only one to choose from.
    """

    mean: float | None
    count: int
    over_subjects: Interval | None
    over_supports: Interval | None
    over_both: Interval | None

    @property
    def interval(self) -> Interval | None:
        """The widest statement there is: over both, or over what there are several of."""
        return self.over_both or self.over_subjects or self.over_supports


@dataclass(frozen=True)
class Line:
    """One organ (0: the mean over organs, each counting the same) by one method from a number of labelled slices.

    values: by name of the measure. undefined: how many results had no such value, by name: their absence flatters the
    mean of distances, because who finds nothing has none. seconds, cpu_seconds: median.
    scans: how many.
    """

    method: str
    slices: int
    organ: int
    scans: int
    values: dict[str, Average]
    undefined: dict[str, int]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Comparison:
    """Mean of differences on the same organs, scans and labelled slices.

    measure: name. value: of the first less the second. organ: 0 for the mean over organs. verdict: "ahead" or "behind"
    (in the mean), with "surely" before it when the interval over subjects leaves out 0: that of one scan's slices says
    nothing about another scan. Higher counts as better.
    """

    first: str
    second: str
    measure: str
    organ: int
    value: Average

    @property
    def verdict(self) -> str:
        """Where the first stands."""
        mean, interval = self.value.mean, self.value.over_both or self.value.over_subjects
        if mean is None or mean == 0:
            return "" if mean is None else "even"
        sure = interval is not None and (interval.low > 0 or interval.high < 0)
        return ("surely " if sure else "") + ("ahead" if mean > 0 else "behind")


def lines(scores: Sequence[Score], *, crossed: bool) -> list[Line]:
    """A line per method, number of slices and organ, the mean over organs last.

    crossed: all scans share the choices of support (other patients), instead of each having its own (slices).
    """
    found = []
    for method, slices in _groups(scores):
        mine = [s for s in scores if (s.method, s.slices) == (method, slices)]
        grid = _Grid(mine)
        averages = {m: grid.averages(grid.table(mine, m), crossed=crossed) for m in MEASURES}
        for n, organ in enumerate((*grid.organs, 0)):
            of_organ = [s for s in mine if organ in (0, s.organ)]
            found.append(
                Line(
                    method,
                    slices,
                    organ,
                    len({s.scan for s in of_organ}),
                    {m: averages[m][n] for m in MEASURES},
                    {m: sum(math.isnan(getattr(s, m)) for s in of_organ) for m in MEASURES},
                    float(np.median([s.seconds for s in of_organ])),
                    float(np.median([s.cpu_seconds for s in of_organ])),
                )
            )
    return found


def against(scores: Sequence[Score], *, crossed: bool, measure: str = "whole") -> list[Comparison]:
    """Ours less each alternative, from the smallest number of slices, by organ and in the mean."""
    if not scores:
        return []
    fewest = min(s.slices for s in scores)
    first = [s for s in scores if s.slices == fewest]
    names = [m for m, _ in _groups(first) if m != OURS]
    found = []
    for name in names:
        pairs = ([s for s in first if s.method == OURS], [s for s in first if s.method == name])
        found += _compared((OURS, name), pairs, measure, crossed=crossed)
    return found


def gains(scores: Sequence[Score], *, crossed: bool) -> list[Comparison]:
    """What more labelled slices bring ours over the next smaller number, on slices that no number of them labels."""
    ours = [s for s in scores if s.method == OURS]
    counts = sorted({s.slices for s in ours})
    found = []
    for fewer, more in itertools.pairwise(counts):
        pairs = ([s for s in ours if s.slices == more], [s for s in ours if s.slices == fewer])
        found += _compared((str(more), str(fewer)), pairs, "common", crossed=crossed)
    return found


def _compared(
    names: tuple[str, str], pairs: tuple[list[Score], list[Score]], measure: str, *, crossed: bool
) -> list[Comparison]:
    grid = _Grid([*pairs[0], *pairs[1]])
    values = grid.table(pairs[0], measure) - grid.table(pairs[1], measure)
    averages = grid.averages(values, crossed=crossed)
    return [Comparison(*names, measure, organ, value) for organ, value in zip((*grid.organs, 0), averages, strict=True)]


def _groups(scores: Sequence[Score]) -> list[tuple[str, int]]:
    """Methods in the order of the scores, with their numbers of slices ascending."""
    methods = dict.fromkeys(s.method for s in scores)
    return [(m, k) for m in methods for k in sorted({s.slices for s in scores if s.method == m})]


class _Grid:
    """Places of scores in tables of (scans, choices, organs)."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self.organs = sorted({s.organ for s in scores})
        self._scans = sorted({s.scan for s in scores})
        self._choices = sorted({s.choice for s in scores})
        people = {s.scan: s.person or s.scan for s in scores}
        self._person = np.unique([people[scan] for scan in self._scans], return_inverse=True)[1]

    def table(self, scores: Sequence[Score], measure: str) -> Array:
        """NaN where a scan lacks an organ or a choice, or the measure is not defined."""
        values = np.full((len(self._scans), len(self._choices), len(self.organs)), np.nan)
        for s in scores:
            place = self._scans.index(s.scan), self._choices.index(s.choice), self.organs.index(s.organ)
            values[place] = getattr(s, measure)
        return values

    def averages(self, values: Array, *, crossed: bool) -> list[Average]:
        """Of every organ, and of their mean."""
        return averages(values, self._person, crossed=crossed)


def averages(
    values: Array, person: npt.NDArray[np.intp], *, crossed: bool, resamples: int = _RESAMPLES, seed: int = 0
) -> list[Average]:
    """Means with cluster bootstrap intervals, of every organ and, last, of the mean over organs.

    values: (scans, choices, organs), NaN where undefined. person: (scans,) number of each scan's person.

    The mean of an organ is that over scans of the means over their choices of support; undefined values are left out.
    People are drawn with all of their scans. Choices are drawn anew within each scan and organ, or, when
    `crossed`, once for all scans and organs, because then they are the same patients. The draws for both are
    independent. With few people or choices such intervals are too narrow: they know only those that were there.
    """
    rng = np.random.default_rng(seed)
    several = len(np.unique(person)) > 1, values.shape[1] > 1
    kinds = {
        "subjects": (True, False),
        "supports": (False, True),
        "subjects and supports": (True, True),
    }
    means = _means(values, np.ones((1, *values.shape)), np.ones((1, len(values))))[0]
    drawn = {
        over: _resampled(values, person, which, crossed=crossed, resamples=resamples, rng=rng)
        for over, which in kinds.items()
        if all(have or not want for want, have in zip(which, several, strict=True))
    }
    found = []
    for n in range(values.shape[2] + 1):
        mine = values[..., n] if n < values.shape[2] else values
        intervals = [_interval(drawn.get(over), n, over) for over in kinds]
        mean = float(means[n]) if np.isfinite(means[n]) else None
        found.append(Average(mean, int(np.isfinite(mine).sum()), *intervals))
    return found


def _interval(drawn: Array | None, n: int, over: str) -> Interval | None:
    if drawn is None:
        return None
    values = drawn[:, n][np.isfinite(drawn[:, n])]
    return percentile_interval(list(values), level=LEVEL, over=over)


def _resampled(
    values: Array,
    person: npt.NDArray[np.intp],
    which: tuple[bool, bool],
    *,
    crossed: bool,
    resamples: int,
    rng: np.random.Generator,
) -> Array:
    """(resamples, organs + 1) means of tables with people and / or choices drawn with replacement."""
    n_people, n_choices = int(person.max()) + 1, values.shape[1]
    chunk = max(1, _CHUNK_VALUES // values.size)
    found = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        scans = np.ones((size, len(person)))
        if which[0]:
            scans = rng.multinomial(n_people, np.full(n_people, 1 / n_people), size)[:, person].astype(float)
        times = np.ones((size, *values.shape))
        if which[1]:
            shape: Any = (size, 1, 1) if crossed else (size, values.shape[0], values.shape[2])
            drawn = rng.multinomial(n_choices, np.full(n_choices, 1 / n_choices), shape)
            times = times * np.moveaxis(drawn, -1, 2)
        found.append(_means(values, times, scans))
    return np.concatenate(found)


def _means(values: Array, times: Array, scans: Array) -> Array:
    """(R, organs + 1). times: (R, scans, choices, organs) how often each value counts. scans: (R, scans) each scan."""
    known = np.isfinite(values)
    counted = (times * known).sum(2)  # (R, scans, organs)
    total = (times * np.where(known, values, 0)).sum(2)
    of_scan = np.divide(total, counted, out=np.zeros_like(total), where=counted > 0)
    weight = scans[..., None] * (counted > 0)
    whole = weight.sum(1)
    organs = np.divide((weight * of_scan).sum(1), whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    defined = np.isfinite(organs)
    share = defined.sum(1, keepdims=True)
    mean = np.divide(
        np.where(defined, organs, 0).sum(1, keepdims=True), share, out=np.full(share.shape, np.nan), where=share > 0
    )
    return np.concatenate([organs, mean], axis=1)
