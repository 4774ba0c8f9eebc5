"""How good a library's choice is: on labelled scans, beside a fixed example, a random one, and all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medssl.engine import Engine
from napari_medssl.errors import SettingsError
from napari_medssl.io import read
from napari_medssl.library.adding import spread_slices
from napari_medssl.library.apply import supports_of
from napari_medssl.library.example import Example
from napari_medssl.library.keeping import KeepSettings
from napari_medssl.library.library import Library
from napari_medssl.library.ranking import Match, rank_steps
from napari_medssl.metrics.segmentation import dice
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps, reporting
from napari_medssl.train.dataset import Case, collect_cases
from napari_medssl.volume import Volume

_LEAST_VOXELS, _LEAST_SLICES = 300, 3  # smaller organs are left out
_SLICES = 3  # labelled of each organ, as in the published protocol


@dataclass(frozen=True)
class Trial:
    """One organ of one scan with one choice of examples.

    scan: the query. choice: "alone" with one example, "best" with the k best-matching ones. k: how many (of "alone" the
    place of the example in the ranking, from 1). whole: Dice over the whole scan, nothing known of it. in_range: the
    organ's own slices given and counted ("oracle"). seconds: of the run without a range, all organs together.
    likeness: of the example, for "alone". member: its name.
    """

    scan: str
    organ: str
    choice: str
    k: int
    whole: float
    in_range: float
    seconds: float
    member: str = ""
    likeness: float = math.nan


def measure_steps(
    folder: Path,
    engine: Engine,
    *,
    members: int = 5,
    queries: int = 0,
    ks: Sequence[int] = (2, 3),
    keep: KeepSettings | None = None,
    settings: SegmentSettings | None = None,
) -> Steps[list[Trial]]:
    """Make a library of `members` scans of a labelled folder and segment the others with every choice from it.

    folder: `images/` and `labels/` with files of the same names, one scan a patient. members: scans evenly through the
    folder; three slices of each organ are labelled, the middles of equal parts. queries: how many of the other scans,
    evenly through them; 0: all. ks: numbers of best-matching examples tried beside one alone and all together.

    Raises FormatError when the folder has no labelled scans, SettingsError when it has too few.
    """
    cases = [c for c in collect_cases([folder]) if c.labels is not None]
    if not 2 <= members < len(cases):
        raise SettingsError(
            f"a library of {members} scans cannot be measured on {len(cases)} labelled ones; choose 2 to "
            f"{len(cases) - 1} members"
        )
    chosen = {int(i) for i in np.linspace(0, len(cases) - 1, members).round()}
    rest = [c for i, c in enumerate(cases) if i not in chosen]
    if 0 < queries < len(rest):
        rest = [rest[int(i)] for i in np.linspace(0, len(rest) - 1, queries).round()]
    library = Library()
    for i in sorted(chosen):
        yield Progress(len(library.scans), members, "making the library")
        library = _with_case(library, cases[i], keep)
    trials: list[Trial] = []
    for n, case in enumerate(rest):
        label = f"measuring {case.image.name}"
        here = Progress(n, len(rest), label)
        steps = _trials_on(case, library, engine, [*ks, 0], settings)
        trials += yield from reporting(steps, lambda _, here=here: here)  # type: ignore[misc]  # bound per scan
    return trials


@dataclass(frozen=True)
class Summary:
    """Mean Dice of one way to choose, over organs of the mean over scans."""

    choice: str
    whole: float
    in_range: float
    seconds: float


def summaries(trials: Sequence[Trial]) -> list[Summary]:
    """What choosing brings: the first scan of the library always, any at random (the expected value), the
    best-matching ones, all, and the one that turned out best for each organ and scan, which nobody can know."""
    alone = [t for t in trials if t.choice == "alone"]
    first = {organ: min(t.member for t in alone if t.organ == organ) for organ in {t.organ for t in alone}}
    out = [
        _summary("always the first", [t for t in alone if t.member == first[t.organ]]),
        _summary("one at random", alone),
        _summary("best-matching 1", [t for t in alone if t.k == 1]),
    ]
    for k in dict.fromkeys(t.k for t in trials if t.choice == "best"):
        name = f"best-matching {k}" if k else "all"
        out.append(_summary(name, [t for t in trials if t.choice == "best" and t.k == k]))
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in alone:
        groups.setdefault((trial.scan, trial.organ), []).append(trial)
    out.append(_summary("best in hindsight 1", [max(g, key=lambda t: t.whole) for g in groups.values()]))
    return out


def _summary(name: str, trials: Sequence[Trial]) -> Summary:
    whole, in_range = (_organ_mean(trials, field) for field in ("whole", "in_range"))
    seconds = float(np.mean([t.seconds for t in trials])) if trials else math.nan
    return Summary(name, whole, in_range, seconds)


def _organ_mean(trials: Iterable[Trial], field: str) -> float:
    by_organ: dict[str, list[float]] = {}
    for trial in trials:
        by_organ.setdefault(trial.organ, []).append(getattr(trial, field))
    return float(np.mean([np.mean(values) for values in by_organ.values()])) if by_organ else math.nan


def _with_case(library: Library, case: Case, keep: KeepSettings | None) -> Library:
    scan, labels = _read(case)
    mask = spread_slices(_large_enough(labels.data), _SLICES)
    return library.add(Support(scan, mask, labels.labels), name=case.image.name, keep=keep)


def _read(case: Case) -> tuple[Volume, Volume]:
    assert case.labels is not None  # only labelled cases are kept
    return read(case.image), read(case.labels, labels=True)


def _large_enough(labels: np.ndarray) -> np.ndarray:
    kept = np.zeros_like(labels)
    for value in (int(v) for v in np.unique(labels) if v):
        where = labels == value
        if where.sum() >= _LEAST_VOXELS and where.any(axis=(1, 2)).sum() >= _LEAST_SLICES:
            kept[where] = value
    return kept


@dataclass(frozen=True)
class _Asked:
    """A labelled scan to be segmented.

    organs: bool (Z, Y, X) of those of the library that it has, by the library's names.
    """

    name: str
    scan: Volume
    organs: dict[str, np.ndarray]
    engine: Engine
    settings: SegmentSettings | None

    def score_steps(self, picks: Mapping[str, Sequence[Match]]) -> Steps[dict[str, tuple[float, float, float]]]:
        """For each organ Dice over the whole scan, Dice in its given range, and seconds, with these examples."""
        examples = {name: [m.example for m in found] for name, found in picks.items() if found}
        start = time.perf_counter()
        found = yield from self._found_steps([e for mine in examples.values() for e in mine], None)
        seconds = time.perf_counter() - start
        scores = {}
        for name, mine in examples.items():
            organ, value = self.organs[name], mine[0].organ.value
            slices = np.flatnonzero(organ.any(axis=(1, 2)))
            low, high = int(slices[0]), int(slices[-1]) + 1
            given = yield from self._found_steps(mine, (low, high))
            whole, in_range = dice(found == value, organ), dice(given[low:high] == value, organ[low:high])
            scores[name] = (float(whole.value or 0), float(in_range.value or 0), seconds)
        return scores

    def _found_steps(self, examples: Sequence[Example], span: tuple[int, int] | None) -> Steps[np.ndarray]:
        supports = supports_of(examples, self.scan)
        done = yield from self.engine.segment_steps(self.scan, supports, slice_range=span, settings=self.settings)
        return done.labels.data


def _trials_on(
    case: Case, library: Library, engine: Engine, ks: Sequence[int], settings: SegmentSettings | None
) -> Steps[list[Trial]]:
    scan, labels = _read(case)
    truth = _large_enough(labels.data)
    present = {o.name.casefold(): o.value for o in labels.labels if (truth == o.value).any()}
    library = library.with_examples([e for e in library.examples if e.organ.name.casefold() in present])
    organs = {o.name: truth == present[o.name.casefold()] for o in library.organs}
    asked = _Asked(case.image.name, scan, organs, engine, settings)
    matches = yield from rank_steps(library, engine, scan)
    ranked = {name: [m for m in matches if m.example.organ.name == name] for name in organs}
    trials: list[Trial] = []
    for place in range(max(map(len, ranked.values()))):
        picks = {name: found[place : place + 1] for name, found in ranked.items()}
        for name, scores in (yield from asked.score_steps(picks)).items():
            (m,) = picks[name]
            trials.append(Trial(asked.name, name, "alone", place + 1, *scores, m.example.name, m.likeness))
    for k in ks:
        picks = {name: found[: k or None] for name, found in ranked.items()}
        for name, scores in (yield from asked.score_steps(picks)).items():
            trials.append(Trial(asked.name, name, "best", k, *scores))
    return trials
