"""How sure a number is: bootstrap over patients, Student's t over repeated runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """low, high: the ends. level: what share of repetitions it is meant to cover. over: what was repeated.

    count: resamples that gave a number, or runs.
    """

    low: float
    high: float
    level: float
    over: str
    count: int

    @property
    def label(self) -> str:
        """For table heads, such as "90 % over patients"."""
        return f"{100 * self.level:g} % over {self.over}"


def percentile_interval(values: Sequence[float], *, level: float, over: str) -> Interval | None:
    """The middle `level` of the values; None without any.

    Percentiles 5 and 95 bound a 90 % interval, which thesis 3 calls both "5%-95% CI" and "95% CI" (B3-47).
    """
    if not len(values):
        return None
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high), level, over, len(values))


def resample_subjects(
    subjects: npt.NDArray[Any], strata: npt.NDArray[Any] | None, rng: np.random.Generator
) -> IntArray:
    """Numbers of examples after drawing as many subjects with replacement, all examples of a subject together.

    subjects: (N,) of each example. strata: (N,) of each example's subject: as many subjects are drawn from each as it
        has (prevalence stays); None draws from all.
    """
    names, first, of = np.unique(subjects, return_index=True, return_inverse=True)
    kind = np.zeros(len(names), int) if strata is None else np.unique(strata, return_inverse=True)[1][first]
    drawn = [rng.choice(members := np.flatnonzero(kind == s), len(members)) for s in np.unique(kind)]
    order = np.argsort(of, kind="stable")
    ends = np.cumsum(np.bincount(of))
    return np.concatenate([order[ends[i - 1] if i else 0 : ends[i]] for i in np.concatenate(drawn)])


def bootstrap_intervals(
    statistic: Callable[[IntArray], float | None],
    subjects: npt.NDArray[Any],
    *,
    strata: npt.NDArray[Any] | None = None,
    resamples: int = 1000,
    levels: Sequence[float] = (0.9, 0.95),
    rng: np.random.Generator,
) -> list[Interval | None]:
    """Percentile intervals of a statistic when other patients had come.

    statistic: numbers of examples (with repetitions) to the value, or None when it is not defined on them; those draws
        are left out, and `Interval.count` tells how many counted. Examples of one patient are never drawn apart: they
        are no independent witnesses.
    levels: 0.9 gives the 5th and 95th percentile, labelled 90 %.

    Thesis 3 reports such intervals without a method; stratified by prevalence, as its authors' code (B3-47).
    """
    found = bootstrap_table(
        lambda numbers: {"": statistic(numbers)}, subjects, strata=strata, resamples=resamples, levels=levels, rng=rng
    )
    return found.get("", [None] * len(levels))


def bootstrap_table(
    statistics: Callable[[IntArray], Mapping[str, float | None]],
    subjects: npt.NDArray[Any],
    *,
    strata: npt.NDArray[Any] | None = None,
    resamples: int = 1000,
    levels: Sequence[float] = (0.9, 0.95),
    rng: np.random.Generator,
) -> dict[str, list[Interval | None]]:
    """As `bootstrap_intervals`, of several statistics at once: all of them on the same patients, drawn once."""
    values: dict[str, list[float]] = {}
    for _ in range(resamples):
        for name, value in statistics(resample_subjects(subjects, strata, rng)).items():
            values.setdefault(name, [])
            if value is not None:
                values[name].append(value)
    return {
        name: [percentile_interval(v, level=level, over="patients") for level in levels] for name, v in values.items()
    }


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval | None:
    """Student's t interval of the mean of independent runs; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    half = float(student.ppf(0.5 + level / 2, n - 1) * np.std(values, ddof=1) / n**0.5)
    mean = float(np.mean(values))
    return Interval(mean - half, mean + half, level, "seeds", n)
