"""Scores to the numbers of a table: means over people, spread over folds, paired differences with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from napari_medssl.evaluate.cowpro.scoring import Score
from napari_medssl.evaluate.cowpro.variants import Variant
from napari_medssl.metrics.intervals import Interval, bootstrap_intervals
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, threshold_mode

Person: TypeAlias = tuple[int, str]
"""Fold and name: what is one witness."""

Values: TypeAlias = Mapping[Person, float]

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """In percent. value: over people. over_folds: standard deviation of the folds' means, None for a single fold."""

    value: float
    over_folds: float | None
    people: int


@dataclass(frozen=True)
class Difference:
    """Of two variants on the same people, in points of Dice. interval: bootstrap over people."""

    value: float
    interval: Interval | None
    people: int

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


class Scores:
    """The scores of a reproduction, by person: everybody counts once, whatever the number of supports."""

    def __init__(self, scores: Sequence[Score], *, per_slice: bool = False) -> None:
        found: dict[tuple[str, str, str], dict[Person, list[float]]] = {}
        for s in scores:
            people = found.setdefault((s.encoder, s.variant, s.organ), {})
            people.setdefault((s.fold, s.person), []).append(100 * (s.slice_dice if per_slice else s.dice))
        self._found = {key: {p: float(np.mean(v)) for p, v in people.items()} for key, people in found.items()}
        self.organs = tuple(dict.fromkeys(s.organ for s in scores))
        self.encoders = tuple(dict.fromkeys(s.encoder for s in scores))

    def values(self, encoder: str, variant: Variant, organ: str) -> Values:
        """Dice in percent of every person; empty when it was not scored."""
        return self._found.get((encoder, variant.name, organ), {})

    def over_organs(self, encoder: str, variants: Mapping[str, Variant]) -> Values:
        """The mean over the organs of everybody who has all of them; variants: by organ."""
        each = [self.values(encoder, v, organ) for organ, v in variants.items()]
        everywhere = set(each[0]).intersection(*each[1:]) if each else set()
        return {p: float(np.mean([values[p] for values in each])) for p in sorted(everywhere)}


def per_organ(organ: str, variant: Variant) -> Variant:
    """`variant` with the threshold that is the default for this organ: dynamic for kidneys (B7-12)."""
    mode = threshold_mode(PrototypeSettings(threshold="per-organ"), organ)
    return Variant(variant.method, mode, variant.window, variant.percent, variant.region)


def mean_of(values: Values) -> Mean | None:
    """None without values. Folds of the same size give the mean over folds that is published."""
    if not values:
        return None
    folds: dict[int, list[float]] = {}
    for (fold, _), value in values.items():
        folds.setdefault(fold, []).append(value)
    means = [float(np.mean(v)) for v in folds.values()]
    spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
    return Mean(float(np.mean(list(values.values()))), spread, len(values))


def difference(first: Values, second: Values, *, resamples: int, seed: int = 17) -> Difference | None:
    """First minus second over the people both have; None when there is nobody.

    People of a fold share encoder and support, so they are a little less independent than the interval takes them for.
    """
    people = sorted(set(first) & set(second))
    if not people:
        return None
    points = np.array([first[p] - second[p] for p in people])
    if len(people) < 2:
        return Difference(float(points.mean()), None, len(people))
    (interval,) = bootstrap_intervals(
        lambda n: float(points[n].mean()),
        np.arange(len(people)),
        resamples=resamples,
        levels=(LEVEL,),
        rng=np.random.default_rng(seed),
    )
    return Difference(float(points.mean()), interval, len(people))
