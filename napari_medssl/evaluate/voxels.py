"""How well the features of single voxels tell organs apart: a linear probe that learns from one person."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError
from napari_medssl.evaluate.probe import linear_probe
from napari_medssl.evaluate.volume_encoders import JudgedVolumes
from napari_medssl.evaluate.voxel_features import body_position, encoded_steps, made_by_hand, prepare
from napari_medssl.evaluate.voxel_points import VoxelSet, classes_of, draw_voxels
from napari_medssl.metrics.intervals import Interval, bootstrap_intervals
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.folder import ORGAN_NAMES
from napari_medssl.settings import setting
from napari_medssl.train.dataset import Case

HAND = "intensity and gradient"
POSITION = "position"
_LEAST = 10  # voxels of an organ in a scan, for the scan to count for it
_HAND_MM = 2.0  # voxels on which features are made by hand

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class VoxelSettings:
    """What voxels are drawn and how the probe learns."""

    per_organ: int = setting(100, "Voxels of each organ, of each scan.", ge=10, le=100000)
    others: int = setting(400, "Voxels of everything else, of each scan.", ge=10, le=1000000)
    trainers: int = setting(3, "People a probe learns from, each by itself, tested on all others; 0: all.", ge=0)
    position: bool = setting(True, "Also ask all features together with the position in the body.")
    inverse_penalty: float = setting(0.1, "Inverse L2 penalty of the probe.", ge=1e-6, le=1e6, advanced=True)
    spacing_mm: float = setting(0.0, "Voxels encoders are shown; 0: what they were trained on.", ge=0, le=20)
    seed: int = setting(0, "Seed of the voxels and of first weights.", ge=0)
    resamples: int = setting(1000, "Bootstrap resamples of people.", ge=10, advanced=True)


@dataclass(frozen=True)
class VoxelRow:
    """One kind of features on one data set.

    channels: of a voxel. accuracy: class-balanced (mean share of voxels told rightly over organs and everything else);
    dice: mean over organs; each the mean over tested people. *_interval: 95 % over people, None for a single one.
    by_organ: Dice of each. trainers, tested: people learned from one by one, and tested. seconds: of features and
    probes.
    """

    data: str
    features: str
    channels: int
    accuracy: float
    accuracy_interval: Interval | None
    dice: float
    dice_interval: Interval | None
    by_organ: dict[str, float | None] = field(default_factory=dict)
    trainers: int = 0
    tested: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class _Contest:
    data: str
    sets: list[VoxelSet]
    organs: tuple[int, ...]
    settings: VoxelSettings
    trainers: list[int]

    def targets(self, n: int) -> npt.NDArray[np.intp]:
        """(N,) class of each voxel of the n-th scan: 0, or 1 + the place of its organ; small organs count as 0."""
        lookup = np.zeros(256, np.intp)
        lookup[list(self.organs)] = np.arange(1, len(self.organs) + 1)
        return np.asarray(lookup[self.sets[n].classes])


def voxels_steps(
    encoders: Sequence[JudgedVolumes],
    cases: Sequence[Case],
    settings: VoxelSettings = VoxelSettings(),
    *,
    data: str = "",
) -> Steps[list[VoxelRow]]:
    """Rows of the encoders, of their architectures with first weights, of features made by hand and of position.

    A probe (logistic regression, classes counted equally) learns from the voxels of one person and is asked about those
    of every other; this is repeated for each trainer. All rows see the same voxels. For Dice, voxels count as
    many as they stand for: it estimates the Dice of the whole box around the organs, told with classes counted equally,
    and so punishes organs that are seen where they are not. Rows "+ position" also know where in the body a voxel lies,
    so that position is not mistaken for content.

    data: name of the data set; organs are named after it. Raises FormatError without labels or with fewer than two
    people.
    """
    contest = yield from _contest(cases, settings, data)
    rows = []
    start = time.perf_counter()
    hand, where = yield from _without_learning(contest)
    seconds = time.perf_counter() - start
    for name, found in _combined(HAND, hand, where, settings.position):
        rows.append((yield from _row(contest, name, found, seconds)))
    rows.append((yield from _row(contest, POSITION, where, seconds)))
    for encoder in _with_first(encoders, settings.seed):
        start = time.perf_counter()
        features = yield from _encoded(contest, encoder)
        seconds = time.perf_counter() - start
        for name, found in _combined(encoder.name, features, where, settings.position):
            rows.append((yield from _row(contest, name, found, seconds)))
    return rows


def _contest(cases: Sequence[Case], settings: VoxelSettings, data: str) -> Steps[_Contest]:
    sets = []
    for n, case in enumerate(cases):
        yield Progress(n, len(cases), f"reading {case.image.name}")
        sets.append(draw_voxels(case, per_organ=settings.per_organ, others=settings.others, seed=settings.seed))
    people = len({s.subject for s in sets})
    if people < 2:
        raise FormatError(f"{people} labelled person in {data or 'the data'}; the probe learns from one, asks another")
    count = settings.trainers or len(sets)
    return _Contest(data, sets, classes_of(sets, least=_LEAST), settings, list(range(min(count, len(sets)))))


def _with_first(encoders: Sequence[JudgedVolumes], seed: int) -> list[JudgedVolumes]:
    """The encoders, and after the last of each architecture that architecture with first weights."""
    last = {e.architecture: n for n, e in enumerate(encoders)}
    found = []
    for n, encoder in enumerate(encoders):
        found.append(encoder)
        if last[encoder.architecture] == n:
            found.append(encoder.first(seed))
    return found


def _combined(name: str, features: list[Floats], where: list[Floats], both: bool) -> list[tuple[str, list[Floats]]]:
    rows = [(name, features)]
    if both:
        joined = [np.concatenate([f, w], 1) for f, w in zip(features, where, strict=True)]
        rows.append((f"{name} + {POSITION}", joined))
    return rows


def _without_learning(contest: _Contest) -> Steps[tuple[list[Floats], list[Floats]]]:
    hand, where = [], []
    for n, s in enumerate(contest.sets):
        yield Progress(n, len(contest.sets), "features made by hand")
        scan = prepare(s.case, s.points_mm, _HAND_MM)
        hand.append(made_by_hand(scan))
        where.append(body_position(scan))
    return hand, where


def _encoded(contest: _Contest, judged: JudgedVolumes) -> Steps[list[Floats]]:
    found = []
    for s in contest.sets:
        scan = prepare(s.case, s.points_mm, contest.settings.spacing_mm or judged.spacing_mm)
        found.append((yield from encoded_steps(judged.encoder, scan)))
    return found


def _row(contest: _Contest, name: str, features: list[Floats], encoding: float) -> Steps[VoxelRow]:
    start = time.perf_counter()
    count, scans = len(contest.organs) + 1, len(contest.sets)
    recall = np.full((len(contest.trainers), scans, count), np.nan)
    dice = np.full((len(contest.trainers), scans, count - 1), np.nan)
    for t, trainer in enumerate(contest.trainers):
        yield Progress(t, len(contest.trainers), f"probing {name}")
        tests = [n for n in range(scans) if contest.sets[n].subject != contest.sets[trainer].subject]
        told = _told(contest, features, trainer, tests)
        for n, answers in zip(tests, told, strict=True):
            recall[t, n], dice[t, n] = _scores(answers, contest.targets(n), contest.sets[n].weights, count)
    seconds = time.perf_counter() - start + encoding
    return _summary(contest, name, features[0].shape[1], recall, dice, seconds)


def _told(contest: _Contest, features: list[Floats], trainer: int, tests: list[int]) -> list[npt.NDArray[np.intp]]:
    targets = np.eye(len(contest.organs) + 1, dtype=np.float32)[contest.targets(trainer)]
    asked = np.concatenate([features[n] for n in tests])
    penalty = contest.settings.inverse_penalty
    told = linear_probe(features[trainer], targets, asked, kind="one", inverse_penalty=penalty, balanced=True)
    ends = np.cumsum([len(features[n]) for n in tests])[:-1]
    return np.split(told.argmax(1), ends)


def _scores(answers: Any, truth: Any, weights: Scores, count: int) -> tuple[Scores, Scores]:
    """(count,) share of each class told rightly, and (count - 1,) Dice of each organ; NaN for organs not there."""
    table = np.zeros((count, count))
    np.add.at(table, (truth, answers), weights)
    voxels, called, right = table.sum(1), table.sum(0), np.diag(table)
    there = np.bincount(truth, minlength=count) >= _LEAST
    with np.errstate(invalid="ignore"):
        recall = np.where(there, right / voxels, np.nan)
        dice = np.where(there, 2 * right / (voxels + called), np.nan)
    return recall, dice[1:]


def _summary(contest: _Contest, name: str, channels: int, recall: Scores, dice: Scores, seconds: float) -> VoxelRow:
    subjects = np.array([s.subject for s in contest.sets])
    accuracy, accuracy_interval = _mean(contest, recall, subjects)
    value, interval = _mean(contest, dice, subjects)
    names = ORGAN_NAMES.get(contest.data, ())
    organs = {names[v - 1] if v <= len(names) else str(v): _over(dice[:, :, c]) for c, v in enumerate(contest.organs)}
    tested = int((~np.isnan(recall).all((0, 2))).sum())
    return VoxelRow(
        contest.data, name, channels, accuracy, accuracy_interval, value, interval, organs, len(contest.trainers),
        tested, seconds,
    )  # fmt: skip


def _mean(contest: _Contest, table: Scores, subjects: npt.NDArray[Any]) -> tuple[float, Interval | None]:
    """Mean over people of their means over classes and trainers, with its interval over people."""
    per_scan = np.array([np.nan if v is None else v for v in (_over(table[:, n]) for n in range(table.shape[1]))])

    def mean(numbers: npt.NDArray[np.intp]) -> float | None:
        values = per_scan[numbers]
        return None if np.isnan(values).all() else float(np.nanmean(values))

    rng = np.random.default_rng(17)
    resamples = contest.settings.resamples
    (interval,) = bootstrap_intervals(mean, subjects, resamples=resamples, levels=(0.95,), rng=rng)
    return mean(np.arange(len(per_scan))) or 0.0, interval


def _over(values: Scores) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))
