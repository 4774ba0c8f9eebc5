"""How good a kind of classifier is: every exam judged by models that saw nobody's other exam, baselines beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.classify.exams.exam import ExamSet
from napari_medssl.classify.exams.features import FeatureStore
from napari_medssl.classify.exams.judging import Judgement, judge
from napari_medssl.classify.exams.learning import learn_steps
from napari_medssl.classify.exams.model import score_all
from napari_medssl.classify.exams.network import EncoderSource
from napari_medssl.classify.exams.scans import PlaneScans
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.classify.exams.split import divide_exams, person_groups
from napari_medssl.classify.exams.volumes import volume_features, volume_probabilities
from napari_medssl.evaluate.splits import Fold, subject_folds
from napari_medssl.progress import Progress, Steps, reporting

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Row:
    """One way of answering. probability: (N, L) of the exams that were judged. seconds: of all folds together."""

    name: str
    judgement: Judgement
    probability: FloatArray
    spread: FloatArray
    seconds: float


def cross_validate_steps(
    exams: ExamSet,
    scans: Mapping[str, PlaneScans],
    settings: ExamSettings,
    *,
    source: EncoderSource,
    folds: int = 5,
    scratch: bool = True,
    first: bool = True,
    masks: Path | None = None,
    device: torch.device,
    resamples: int = 1000,
) -> Steps[list[Row]]:
    """A row for the classifier, and one each for the same with first weights in its encoder (`first`), trained from
    scratch (`scratch`), organ volumes (`masks`), and guessing by how common labels are.

    All rows share their folds, which are over people and keep label combinations in proportion. Of the people learned
    from, `settings.tuning_share` serve for thresholds, votes and calibration; those that are tested never do.

    Raises SettingsError for fewer than two folds, more folds than people, or labels that a fold cannot be taught.
    """
    groups = person_groups(exams)
    parts = subject_folds(exams.people, folds, np.random.default_rng([settings.seed, 51]), strata=groups)
    contenders = [(source.name, source, settings, False)]
    if first and source.module is not None and settings.mode == "frozen":  # else training from scratch says it better
        contenders.append((f"{source.kind}, first weights", replace(source, module=None), settings, False))
    if scratch:
        contenders.append((f"{source.kind}, from scratch", source, settings, True))
    rows = []
    for name, encoder, chosen, from_scratch in contenders:
        began = time.monotonic()
        found = yield from _contender(exams, scans, chosen, encoder, parts, name, device, scratch=from_scratch)
        rows.append(_row(name, exams, *found, time.monotonic() - began, resamples))
    if masks is not None:
        rows.append((yield from _volumes(exams, masks, parts, resamples)))
    rows.append(_guessing(exams, resamples))
    return rows


def _contender(
    exams: ExamSet,
    scans: Mapping[str, PlaneScans],
    settings: ExamSettings,
    source: EncoderSource,
    folds: list[Fold],
    name: str,
    device: torch.device,
    *,
    scratch: bool,
) -> Steps[tuple[FloatArray, FloatArray, FloatArray]]:
    """(N, L) probabilities, spreads and answers."""
    shape = (len(exams.exams), len(exams.labels))
    probability, spread, answers = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    # A frozen encoder is the same in all folds: its slices are encoded once.
    stores = {plane: FeatureStore() for plane in scans} if settings.mode == "frozen" and not scratch else None
    for number, fold in enumerate(folds):

        def label(p: Progress, number: int = number) -> Progress:
            return replace(p, label=f"{name}, fold {number + 1} of {len(folds)}")

        inner = divide_exams(
            exams.only(fold.train), tuning=settings.tuning_share, test=0.0, seed=settings.seed + number
        )
        model = yield from reporting(
            learn_steps(
                exams, scans, settings, source=source, train=fold.train[inner.train], tuning=fold.train[inner.tuning],
                device=device, scratch=scratch, stores=stores,
            ),
            label,
        )  # fmt: skip
        scores = yield from reporting(score_all(model, scans, fold.test, device=device, stores=stores), label)
        probability[fold.test] = [s.probability for s in scores]
        spread[fold.test] = [s.spread for s in scores]
        answers[fold.test] = [s.answer for s in scores]
    return probability, spread, answers


def _volumes(exams: ExamSet, masks: Path, folds: list[Fold], resamples: int) -> Steps[Row]:
    began = time.monotonic()
    features, names = yield from volume_features(exams, masks)
    probability = np.zeros((len(exams.exams), len(exams.labels)))
    for fold in folds:
        probability[fold.test] = volume_probabilities(features, exams, fold.train, fold.test)
    title = f"volumes of the masks ({len(names)} numbers)"
    return _row(title, exams, probability, np.zeros_like(probability), _plain_answers(exams, probability),
                time.monotonic() - began, resamples)  # fmt: skip


def _guessing(exams: ExamSet, resamples: int) -> Row:
    """How common labels are, whatever the exam: what answering without looking gives."""
    probability = np.tile(exams.targets.mean(0), (len(exams.exams), 1)).astype(float)
    answers = _plain_answers(exams, probability)
    return _row("guessing", exams, probability, np.zeros_like(probability), answers, 0.0, resamples)


def _plain_answers(exams: ExamSet, probability: FloatArray) -> FloatArray:
    if exams.kind == "one":
        return np.asarray(np.eye(probability.shape[1])[probability.argmax(1)])
    return (probability >= 0.5).astype(float)


def _row(
    name: str, exams: ExamSet, probability: FloatArray, spread: FloatArray, answers: FloatArray, seconds: float,
    resamples: int,
) -> Row:  # fmt: skip
    judgement = judge(
        exams.targets, probability, answers, kind=exams.kind, labels=exams.labels, people=exams.people,
        resamples=resamples,
    )  # fmt: skip
    return Row(name, judgement, probability, spread, seconds)
