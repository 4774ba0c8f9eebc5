"""The whole reproduction: train by folds, or take given weights, and score every variant on every pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.evaluate.cowpro.protocol import Fold, make_folds, pairs_of, parse_groups, parse_organs, person_of
from napari_medssl.evaluate.cowpro.scoring import Encoded, Score, pair_scores
from napari_medssl.evaluate.cowpro.settings import ReproductionSettings
from napari_medssl.evaluate.cowpro.training import check_plan, train_steps, trainings_of, untrained_weights
from napari_medssl.evaluate.cowpro.variants import Variant, all_variants, reference_variants
from napari_medssl.io import read
from napari_medssl.io.folders import make_folder
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class Contestant:
    """Weights to score.

    encoder: "trained", "given" or "untrained". name: of the weights in the report. organs: what they are asked for,
    value to name.
    """

    fold: Fold
    encoder: str
    name: str
    weights: str | Path
    organs: dict[int, str]
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Measured:
    """scores: of every organ, pair and variant. weights: name to SHA-256 of what was scored. folds: who was tested."""

    scores: tuple[Score, ...]
    weights: dict[str, str]
    folds: tuple[Fold, ...]


def reproduce_steps(
    cases: Sequence[Case],
    settings: ReproductionSettings,
    *,
    out: Path | None = None,
    weights: str | Path | None = None,
    device: torch.device,
) -> Steps[Measured]:
    """Dice of every variant on `cases`, which have label maps.

    weights: scored as they are; nothing is trained, and `out` is not touched. Otherwise an encoder is trained for each
    fold and group of organs into `out`, and scored beside its first weights. What is finished there is not trained
    again.

    Raises SettingsError for folds, organs or groups that do not fit, when `out` holds trainings of other settings,
    FormatError when a label map does not fit its scan or no organ is there.
    """
    organs = parse_organs(settings.organs)
    groups = parse_groups(settings.groups, list(organs))
    folds = make_folds(cases, settings.folds)
    if weights is not None:
        contestants = [Contestant(fold, "given", str(weights), weights, organs, all_variants()) for fold in folds]
        return (yield from _scored(contestants, folds, settings, device))
    if out is None or len(folds) < 2:
        raise SettingsError("training needs a folder for its weights and two folds or more")
    make_folder(out)
    check_plan(out, cases, settings)
    contestants = []
    for fold in folds:
        for training in trainings_of(fold, groups, settings):
            trained = yield from train_steps(training, out, device=device)
            mine = {value: organs[value] for value in training.organs}
            variants = tuple(v for v in all_variants() if v.method in training.heads)
            contestants.append(Contestant(fold, "trained", training.name, trained, mine, variants))
    first = untrained_weights(trainings_of(folds[0], groups, settings)[0], out)
    contestants += [Contestant(fold, "untrained", "untrained", first, organs, reference_variants()) for fold in folds]
    return (yield from _scored(contestants, folds, settings, device))


def _scored(
    contestants: Sequence[Contestant], folds: Sequence[Fold], settings: ReproductionSettings, device: torch.device
) -> Steps[Measured]:
    scores: list[Score] = []
    hashes: dict[str, str] = {}
    for n, contestant in enumerate(contestants):
        label = f"{contestant.encoder} weights {n + 1} of {len(contestants)}"
        with Engine(str(device), contestant.weights) as engine:
            hashes[contestant.name] = engine.weights_hash
            scans = yield from _encoded(contestant.fold, engine)
            jobs = list(_jobs(contestant, settings))
            for i, (support, query, organ) in enumerate(jobs):
                yield Progress(i, len(jobs), f"scoring {label}", f"{organ[1]} of {query.image.name}")
                scores += pair_scores(
                    scans[query], scans[support], organ, contestant.variants,
                    fold=contestant.fold.number, encoder=contestant.encoder, base=settings.prototypes,
                )  # fmt: skip
    if not scores:
        raise FormatError("no scan shows one of the organs and has another person's beside it; see the setting organs")
    return Measured(tuple(scores), hashes, tuple(folds))


def _jobs(contestant: Contestant, settings: ReproductionSettings) -> Iterator[tuple[Case, Case, tuple[int, str]]]:
    for support, query in pairs_of(contestant.fold, settings.supports):
        for organ in contestant.organs.items():
            yield support, query, organ


def _encoded(fold: Fold, engine: Engine) -> Steps[dict[Case, Encoded]]:
    scans = {}
    for case in fold.test:
        volume, labels = _read(case)
        stack = yield from engine.features_steps(volume)
        scans[case] = Encoded(case.image.name, person_of(case), volume, labels.data, stack)
    return scans


def _read(case: Case) -> tuple[Volume, Volume]:
    if case.labels is None:
        raise FormatError(f"{case.image} has no label map; put it under the same name into labels/ beside images/")
    volume, labels = read(case.image, series=case.series), read(case.labels, labels=True)
    if labels.shape != volume.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its scan has {volume.shape}")
    return volume, labels
