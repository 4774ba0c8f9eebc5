"""How good encoders are on a downstream task, each number beside first weights and training from scratch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.embed import embed_examples
from napari_medssl.evaluate.examples import Examples, FloatArray, IntArray
from napari_medssl.evaluate.finetune import finetune_steps
from napari_medssl.evaluate.fit import FitSettings
from napari_medssl.evaluate.protocols import (
    Learner,
    NeighbourWeights,
    ProtocolName,
    learn_frozen,
    neighbours,
    prepare,
    probe,
)
from napari_medssl.evaluate.scoring import main_measure, patient_intervals, score
from napari_medssl.evaluate.splits import Fold, labelled_share, subject_folds
from napari_medssl.metrics.intervals import Interval, seed_interval
from napari_medssl.metrics.measure import Measure, mean_measure
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting

FIRST, SCRATCH = "first weights", "from scratch"


@dataclass(frozen=True)
class CompareSettings:
    """How encoders are compared."""

    seeds: int = setting(3, "Repetitions with other folds, other labels and other first weights.", ge=1, le=100)
    folds: int = setting(3, "Folds over people; each is tested once by models that did not see them.", ge=2, le=50)
    shares: tuple[float, ...] = setting((1.0,), "Shares of the training labels that are used.")
    neighbours: tuple[int, ...] = setting((200, 20, 10, 1), "Numbers of nearest neighbours that vote.")
    neighbour_weights: NeighbourWeights = setting(
        "exponential", "Weight of a neighbour: exp(cosine / 0.1), the cosine, or 1 / distance."
    )
    inverse_penalty: float = setting(1.0, "Strength of the linear probe: large fits the training labels closely.", ge=0)
    ratio: float = setting(0.0, "Make classes rare: examples for each one of the common class; 0: no.", ge=0, le=1)
    first_weights: bool = setting(True, "Also judge the same architecture with first weights.")
    scratch: bool = setting(True, "Also train the same architecture from scratch, with the budget of fine-tuning.")
    resamples: int = setting(200, "Bootstrap draws of patients for the intervals; 0: none.", ge=0, le=100_000)
    fit: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    data: name of the data set. weights, protocol: what was judged how. share: of the labels. labelled: examples with a
    label per fold, and people: of how many, means over folds and seeds.
    measures: name to the mean over seeds. by_label: the main measure of each label. main: name of the main measure.
    over_seeds: 95 % t interval of it. over_patients: 90 % and 95 % bootstrap intervals. seconds: of this line alone.
    """

    data: str
    weights: str
    protocol: str
    share: float
    labelled: float
    people: float
    main: str
    measures: dict[str, Measure]
    by_label: dict[str, Measure]
    over_seeds: Interval | None
    over_patients: list[Interval | None]
    seconds: float

    @property
    def value(self) -> float | None:
        """The main measure."""
        return self.measures[self.main].value


Predict = Callable[[Fold, IntArray, int, np.random.Generator], Steps[FloatArray]]
"""Fold, its labelled examples, seed and a generator to the answers for the fold's test examples."""


@dataclass(frozen=True, eq=False)
class _Contest:
    data: str
    scans: Sequence[Scan]
    examples: Examples
    policy: DevicePolicy
    settings: CompareSettings


def compare_steps(
    candidates: Sequence[Candidate],
    scans: Sequence[Scan],
    examples: Examples,
    protocols: Sequence[ProtocolName],
    settings: CompareSettings,
    *,
    policy: DevicePolicy,
    data: str = "",
) -> Steps[list[Row]]:
    """A row per candidate, protocol and share of labels, with the baselines of each architecture once.

    candidates: all of one slice size; their encoders on the policy's device. scans: as `load_for` gives them.
    examples: of these scans. data: name for the rows.

    Splits are by people and the same for all rows of a seed, so that rows differ by the encoder alone. A row's numbers
    are of the out-of-fold answers of a seed, all folds together; with other offsets in each fold that can only lower
    the AUC. Raises SettingsError when the settings do not fit the task.
    """
    _check(examples, protocols, settings)
    contest = _Contest(data, scans, examples, policy, settings)
    rows: list[Row] = []
    judged: set[str] = set()
    for candidate in candidates:
        rows += yield from _candidate_rows(contest, candidate, protocols)
        if candidate.learns and candidate.architecture not in judged:
            judged.add(candidate.architecture)
            if settings.first_weights and set(protocols) & {"knn", "probe"}:
                rows += yield from _first_rows(contest, candidate, protocols)
            if settings.scratch:
                rows += yield from _scratch_rows(contest, candidate)
    return rows


def _check(examples: Examples, protocols: Sequence[ProtocolName], settings: CompareSettings) -> None:
    rare = settings.ratio or settings.fit.balance != "none"
    if rare and examples.kind == "number":
        raise SettingsError("numbers have no rare classes; leave ratio and balance as they are for the task position")
    if settings.ratio and examples.kind == "several" and ("finetune" in protocols or settings.scratch):
        raise SettingsError(
            "classes cannot be made rare for several labels at once in fine-tuning; use knn or probe with scratch=false"
        )
    if settings.fit.balance == "weights" and "knn" in protocols:
        raise SettingsError("neighbours have no loss to weigh; use balance=resample, or another protocol")


def _candidate_rows(contest: _Contest, candidate: Candidate, protocols: Sequence[ProtocolName]) -> Steps[list[Row]]:
    rows: list[Row] = []
    if set(protocols) & {"knn", "probe"}:
        start = time.perf_counter()
        features = yield from embed_examples(candidate.encoder, contest.scans, contest.examples, contest.policy)
        encoding = time.perf_counter() - start
        for name, learner in _learners(contest, protocols):
            predict = _frozen(contest, learner, [features])
            rows += yield from _rows(contest, candidate.name, name, predict, encoding)
    if "finetune" in protocols and candidate.learns:
        name = f"finetune {contest.settings.fit.mode}"
        rows += yield from _rows(contest, candidate.name, name, _tuned(contest, candidate, scratch=False), 0.0)
    return rows


def _first_rows(contest: _Contest, candidate: Candidate, protocols: Sequence[ProtocolName]) -> Steps[list[Row]]:
    """Other first weights for every seed: one draw may be lucky."""
    start = time.perf_counter()
    features = []
    for seed in range(contest.settings.seeds):
        encoder = candidate.judged(seed, contest.policy)
        features.append((yield from embed_examples(encoder, contest.scans, contest.examples, contest.policy)))
    encoding = (time.perf_counter() - start) / contest.settings.seeds
    rows: list[Row] = []
    for name, learner in _learners(contest, protocols):
        predict = _frozen(contest, learner, features)
        rows += yield from _rows(contest, f"{candidate.kind}, {FIRST}", name, predict, encoding)
    return rows


def _scratch_rows(contest: _Contest, candidate: Candidate) -> Steps[list[Row]]:
    predict = _tuned(contest, candidate, scratch=True)
    return (yield from _rows(contest, f"{candidate.kind}, {SCRATCH}", "supervised", predict, 0.0))


def _learners(contest: _Contest, protocols: Sequence[ProtocolName]) -> Iterator[tuple[str, Learner]]:
    settings = contest.settings
    if "knn" in protocols:
        for k in settings.neighbours:
            yield f"knn {k}", neighbours(k, settings.neighbour_weights)
    if "probe" in protocols:
        balanced = settings.fit.balance == "weights"
        yield "probe", probe(contest.examples, balanced=balanced, inverse_penalty=settings.inverse_penalty)


def _frozen(contest: _Contest, learner: Learner, features: list[FloatArray]) -> Predict:
    """features: the same for all seeds, or one array per seed."""

    def predict(fold: Fold, labelled: IntArray, seed: int, rng: np.random.Generator) -> Steps[FloatArray]:
        yield Progress(0, 0, "learning from frozen features")
        return learn_frozen(
            learner,
            features[seed % len(features)],
            contest.examples,
            train=labelled,
            test=fold.test,
            ratio=contest.settings.ratio,
            resample=contest.settings.fit.balance == "resample",
            rng=rng,
        )

    return predict


def _tuned(contest: _Contest, candidate: Candidate, *, scratch: bool) -> Predict:
    settings, examples = contest.settings, contest.examples

    def predict(fold: Fold, labelled: IntArray, seed: int, rng: np.random.Generator) -> Steps[FloatArray]:
        train = prepare(labelled, examples.targets, ratio=settings.ratio, resample=False, rng=rng)
        return (
            yield from finetune_steps(
                candidate, contest.scans, examples, train=train, test=fold.test, settings=settings.fit,
                seed=seed, device=contest.policy.device, scratch=scratch,
            )
        )  # fmt: skip

    return predict


def _rows(contest: _Contest, weights: str, protocol: str, predict: Predict, encoding: float) -> Steps[list[Row]]:
    rows = []
    for share in contest.settings.shares:
        start = time.perf_counter()
        answers, counts = [], []
        for seed in range(contest.settings.seeds):
            told = np.zeros_like(contest.examples.targets)
            for number, fold, labelled in _labelled_folds(contest, seed, share):
                rng = np.random.default_rng([seed, number, 5])
                told[fold.test] = yield from predict(fold, labelled, seed, rng)
                counts.append((len(labelled), len(np.unique(contest.examples.subjects[labelled]))))
            answers.append(told)
        seconds = time.perf_counter() - start + encoding
        rows.append(_row(contest, weights, protocol, share, answers, counts, seconds))
    return rows


def _labelled_folds(contest: _Contest, seed: int, share: float) -> Iterator[tuple[int, Fold, IntArray]]:
    examples = contest.examples
    strata = examples.strata if len(np.unique(examples.strata)) > 1 else None
    folds = subject_folds(examples.subjects, contest.settings.folds, np.random.default_rng([seed, 1]), strata=strata)
    for number, fold in enumerate(folds):
        rng = np.random.default_rng([seed, number, 3])  # the same for every share: smaller sets lie in larger ones
        yield number, fold, labelled_share(fold.train, examples.subjects, share, rng=rng, strata=strata)


def _row(
    contest: _Contest,
    weights: str,
    protocol: str,
    share: float,
    answers: list[FloatArray],
    counts: list[tuple[int, int]],
    seconds: float,
) -> Row:
    examples, settings = contest.examples, contest.settings
    main = main_measure(examples)
    scored = [score(examples, told) for told in answers]
    values = [s.measures[main].value for s in scored]
    known: list[float] = [v for v in values if v is not None]
    rng = np.random.default_rng(17)
    intervals: Any = patient_intervals(examples, answers, resamples=settings.resamples, rng=rng)
    labelled, people = np.mean(counts, axis=0)
    return Row(
        contest.data,
        weights,
        protocol,
        share,
        float(labelled),
        float(people),
        main,
        {name: mean_measure(s.measures[name] for s in scored) for name in scored[0].measures},
        {label: mean_measure(s.by_label[label][main] for s in scored) for label in scored[0].by_label},
        seed_interval(known),
        intervals,
        seconds,
    )
