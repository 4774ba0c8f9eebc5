"""How accurate segmentations are on a folder of labelled scans, from few labelled slices, beside alternatives."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.bench.alternatives import Prepared, check_alternatives, prepare, segment_by, thinned
from napari_medssl.bench.supports import choice_generator, even_slices, first_slices, mask_of, slices_with
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.io import read
from napari_medssl.metrics.measure import Measure
from napari_medssl.metrics.segmentation import TOLERANCE_MM, dice, segmentation_scores
from napari_medssl.oneshot import SegmentSettings, Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case, collect_cases
from napari_medssl.train.store import subject_of
from napari_medssl.volume import Volume

Task = Literal["within", "across"]
Mask = npt.NDArray[np.bool_]
OURS = "medssl"
_LEAST_VOXELS, _LEAST_SLICES = 300, 3  # smaller organs are left out


@dataclass(frozen=True)
class Protocol:
    """What is asked of every organ of every scan.

    task: "within": slices of the scan itself are labelled. "across": slices of another patient's scan are.
    supports: different choices of what is labelled. Within: the first slice is the organ's largest, then random ones of
        at least half of its area. Across: that many patients, from the last scan of the folder backwards.
    slices: numbers of labelled slices to try, each; empty for the task's usual one (1 within, 3 across).
    against: names of alternatives that get the very same labelled slices.
    tolerance_mm: of the surface Dice. seed: of the random slices.

    Raises SettingsError for numbers below 1, a tolerance that is no positive length, or an alternative that is none.
    """

    task: Task = "within"
    supports: int = 1
    slices: tuple[int, ...] = ()
    against: tuple[str, ...] = ()
    tolerance_mm: float = TOLERANCE_MM
    seed: int = 0

    def __post_init__(self) -> None:
        if self.supports < 1 or min(self.counts) < 1:
            raise SettingsError("numbers of supports and of labelled slices begin at 1")
        if not (math.isfinite(self.tolerance_mm) and self.tolerance_mm > 0):
            raise SettingsError(f"a tolerance of {self.tolerance_mm} mm is none; give a positive length, such as 3")
        if self.seed < 0:
            raise SettingsError(f"the seed {self.seed} is negative; give 0 or more")
        check_alternatives(self.against, across=self.task == "across")

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of labelled slices, ascending."""
        return tuple(sorted(set(self.slices))) or ((1,) if self.task == "within" else (3,))


@dataclass(frozen=True)
class Score:
    """One organ of one scan, by one method from one choice of labelled slices. NaN: not defined.

    whole: Dice over the whole scan, nothing known of the organ's range. in_range: Dice over the organ's own slices;
    across scans the range is given to the method ("oracle", as in published tables), within it is not. Labelled slices
    of the scan itself count in neither.
    seconds: of the run without a given range. cpu_seconds: of this process meanwhile, all threads together, which other
    work on the machine lengthens less.
    method: "medssl" or an alternative. person: whose scan. slices: how many were to be labelled, labelled: which.
    choice: 0, 1... support: what was labelled, a slice or another scan.
    common: Dice over the slices that no number of labelled slices labels, so that numbers can be compared.
    surface_dice, hd95_mm, volume_percent: as `metrics.segmentation`, of the run without a given range.
    """

    scan: str
    organ: int
    whole: float
    in_range: float
    seconds: float
    method: str = OURS
    person: str = ""
    slices: int = 1
    choice: int = 0
    support: str = ""
    labelled: tuple[int, ...] = ()
    common: float = math.nan
    surface_dice: float = math.nan
    hd95_mm: float = math.nan
    volume_percent: float = math.nan
    cpu_seconds: float = math.nan

    @property
    def absolute_volume_percent(self) -> float:
        """The volume error without its sign."""
        return abs(self.volume_percent)


def accuracy_steps(
    folder: Path,
    task: Task,
    *,
    engine: Engine,
    settings: SegmentSettings | None = None,
    only: Sequence[str] = (),
) -> Steps[list[Score]]:
    """Segment every organ of every scan of `folder` once by the task's usual protocol, and compare with its label maps.

    folder: `images/` and `labels/` with files of the same names.
    "within": one labelled slice, the organ's largest, of the scan itself; Dice over all other slices.
    "across": the last scan of the folder is the support, with three labelled slices, the middles of three equal
    parts of the organ (thesis section 7.4.2.2); Dice over the scans of other people.
    only: file-name beginnings of the scans to measure; all when empty.

    Raises FormatError when no scan of the folder has labels, or one cannot be read.
    """
    examination = Examination(folder, Protocol(task), engine=engine, settings=settings, only=only)
    scores: list[Score] = []
    for i, case in enumerate(examination.cases):
        yield Progress(i, len(examination.cases), f"measuring {case.image.name}")
        scores += yield from examination.scan_steps(case)
    return scores


class Examination:
    """A protocol on a folder of labelled scans; every scan is read once and then measured by `scan_steps`.

    only: file-name beginnings of the scans to measure; all when empty. donors: the same for scans that may be supports
    across patients.

    Raises FormatError when no scan can be measured or no support is left, or a support cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        *,
        engine: Engine,
        settings: SegmentSettings | None = None,
        only: Sequence[str] = (),
        donors: Sequence[str] = (),
    ) -> None:
        self.protocol, self._engine, self._settings = protocol, engine, settings
        cases = [c for c in collect_cases([folder]) if c.labels is not None]
        self.cases = [c for c in cases if not only or c.image.name.startswith(tuple(only))]
        if not self.cases:
            raise FormatError(
                f"no labelled scan to measure in {folder}; it needs images/ and labels/ with the same names"
            )
        self._donors: list[_Known] = []
        if protocol.task == "across":
            self._donors = [_Known(c) for c in _last_people(cases, protocol.supports, donors)]
            self.cases = [c for c in self.cases if any(d.person != person_of(c) for d in self._donors)]
            if not self._donors or not self.cases:
                raise FormatError(
                    f"{folder} has no two people to go from one to the other; it needs a labelled scan to learn from "
                    "and one of somebody else to measure"
                )

    def scan_steps(self, case: Case) -> Steps[list[Score]]:
        """Scores of every organ of one scan, by every method. Raises MedSSLError children when it cannot be used."""
        # A patient whose labels serve the others has been read already.
        known = next((d for d in self._donors if d.name == case.image.name), None) or _Known(case)
        organs = organs_of(known.truth)
        scores: list[Score] = []
        for i, organ in enumerate(organs):
            for trial in self._trials(known, organ):
                yield Progress(i, len(organs), f"measuring {case.image.name}", f"{OURS}, organ {organ}")
                scores.append(self._ours(trial))
                for name in self.protocol.against:
                    yield Progress(i, len(organs), f"measuring {case.image.name}", f"{name}, organ {organ}")
                    score = self._theirs(name, trial)
                    scores += [score] if score is not None else []
        return scores

    def _trials(self, query: _Known, organ: int) -> Iterator[_Trial]:
        here = self.protocol.task == "within"
        for choice, source, sets in self._choices(query, organ):
            union = sorted({z for slices in sets.values() for z in slices}) if here else []
            for count, slices in sets.items():
                yield _Trial(query, source, organ, count, choice, tuple(slices), tuple(union), here)

    def _choices(self, query: _Known, organ: int) -> Iterator[tuple[int, _Known, dict[int, list[int]]]]:
        """Number of the choice, the scan in which is labelled, and which slices for every number of them.

        Within a scan, slices must be left to measure.
        """
        protocol = self.protocol
        if protocol.task == "within":
            truth = query.truth == organ
            counts = [k for k in protocol.counts if k < _slices_of(truth)]
            rng = choice_generator(protocol.seed, query.name, organ)
            for choice, first in enumerate(first_slices(truth, protocol.supports, rng)):
                yield choice, query, {k: slices_with(truth, first, k) for k in counts}
            return
        for choice, donor in enumerate(self._donors):  # it keeps its number where an earlier one is left out
            truth = donor.truth == organ
            counts = [k for k in protocol.counts if k <= _slices_of(truth)]
            if donor.person != query.person and _slices_of(truth) >= _LEAST_SLICES:
                yield choice, donor, {k: even_slices(truth, k) for k in counts}

    def _ours(self, trial: _Trial) -> Score:
        query = trial.query
        support = Support(trial.source.scan, mask_of(trial.source.truth == trial.organ, list(trial.slices)))
        clock = _Clock()
        found = self._engine.segment(query.scan, [support], settings=self._settings).labels.data == 1
        spent = clock.read()
        truth = query.truth == trial.organ
        given = found
        if not trial.here:
            again = self._engine.segment(query.scan, [support], slice_range=_span(truth), settings=self._settings)
            given = again.labels.data == 1
        return self._score(OURS, trial, found, given, truth, spent, query.scan.spacing_mm)

    def _theirs(self, name: str, trial: _Trial) -> Score | None:
        query, source = (known.seen_at(thinned(name, known.truth.shape[1:])) for known in (trial.query, trial.source))
        organ = trial.source.truth == trial.organ
        for seen in (query, source):
            seen.get_ready(name)
        clock = _Clock()
        slices = {z: source.turned(organ[z]) for z in trial.slices}
        found = segment_by(name, query, slices, source=None if trial.here else source)
        spent = clock.read()
        if found is None:
            return None
        truth = query.turned(trial.query.truth == trial.organ)
        return self._score(name, trial, found, found, truth, spent, query.spacing_mm)

    def _score(
        self,
        method: str,
        trial: _Trial,
        found: Mask,
        given: Mask,
        truth: Mask,
        spent: tuple[float, float],
        spacing_mm: tuple[float, float, float],
    ) -> Score:
        """found, given: the masks without and with a given range, on the grid of `truth`."""
        out = trial.slices if trial.here else ()
        measures = segmentation_scores(
            found, truth, spacing_mm=spacing_mm, tolerance_mm=self.protocol.tolerance_mm, without=out
        )
        present = self._present(trial)
        common = np.ones(len(truth), bool)
        common[list(trial.union)] = False
        return Score(
            trial.query.name,
            trial.organ,
            _number(measures["dice"]),
            _number(dice(given[present], truth[present])),
            spent[0],
            method,
            trial.query.person,
            trial.count,
            trial.choice,
            f"slices {', '.join(map(str, trial.slices))}" if trial.here else trial.source.name,
            trial.slices,
            _number(dice(found[common], truth[common])),
            _number(measures["surface_dice"]),
            _number(measures["hd95_mm"]),
            _number(measures["volume_percent"]),
            spent[1],
        )

    @staticmethod
    def _present(trial: _Trial) -> Mask:
        """(Z,) slices on which the organ is in range: its own, or across patients the whole range that was given."""
        truth = trial.query.truth == trial.organ
        present = np.zeros(len(truth), bool)
        if trial.here:
            present[truth.any(axis=(1, 2))] = True
            present[list(trial.slices)] = False
        else:
            present[slice(*_span(truth))] = True
        return present


class _Clock:
    """Seconds since it was made, on the wall and of this process's threads."""

    def __init__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


class _Known:
    """A scan with its truth, as the file has it and as alternatives see it."""

    def __init__(self, case: Case) -> None:
        self.name, self.person = case.image.name, person_of(case)
        self._case = case
        self._seen: dict[int, Prepared] = {}
        self.scan, self.truth = _read(case)

    def seen_at(self, step: int) -> Prepared:
        """At every `step`-th pixel; made once."""
        if step not in self._seen:
            self._seen[step] = prepare(self.scan, step)
        return self._seen[step]


@dataclass(frozen=True, eq=False)
class _Trial:
    """One organ to segment: in which scan, from which slices of which scan; union: labelled by any number of slices."""

    query: _Known
    source: _Known
    organ: int
    count: int
    choice: int
    slices: tuple[int, ...]
    union: tuple[int, ...]
    here: bool


def organs_of(truth: npt.NDArray[Any]) -> list[int]:
    """Label values of at least 300 voxels on at least 3 slices."""
    values = (int(v) for v in np.unique(truth) if v)
    return [v for v in values if (truth == v).sum() >= _LEAST_VOXELS and _slices_of(truth == v) >= _LEAST_SLICES]


def person_of(case: Case) -> str:
    """Whose scan it is."""
    return case.person or subject_of(case.image.name)


def _last_people(cases: Sequence[Case], count: int, names: Sequence[str]) -> list[Case]:
    """The last scan of each of the last `count` people of the folder, the last one first."""
    found: dict[str, Case] = {}
    for case in reversed(cases):
        if not names or case.image.name.startswith(tuple(names)):
            found.setdefault(person_of(case), case)
    return list(found.values())[:count]


def _slices_of(organ: Mask) -> int:
    return int(organ.any(axis=(1, 2)).sum())


def _span(organ: Mask) -> tuple[int, int]:
    slices = np.flatnonzero(organ.any(axis=(1, 2)))
    return int(slices[0]), int(slices[-1]) + 1


def _number(measure: Measure) -> float:
    return math.nan if measure.value is None else measure.value


def _read(case: Case) -> tuple[Volume, npt.NDArray[Any]]:
    assert case.labels is not None  # only labelled cases are kept
    scan, labels = read(case.image), read(case.labels, labels=True)
    if labels.shape != scan.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its scan has {scan.shape}")
    return scan, labels.data
