"""From labelled exams to a classifier: train on one part of the people, tune on another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.classify.calibrate import Calibrator, fit_calibrator
from napari_medssl.classify.exams.exam import ExamSet, check_labels
from napari_medssl.classify.exams.features import FeatureStore
from napari_medssl.classify.exams.model import ExamModel, score_all
from napari_medssl.classify.exams.network import EncoderSource, build_network
from napari_medssl.classify.exams.people import digests
from napari_medssl.classify.exams.scans import PlaneScans
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.classify.exams.training import Training, train_steps
from napari_medssl.classify.exams.voting import vote, vote_weights
from napari_medssl.classify.slices.thresholds import choose_threshold
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.models.parameters import count_parameters
from napari_medssl.progress import Steps, reporting
from napari_medssl.settings import check, to_dict

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float64]


def learn_steps(
    exams: ExamSet,
    scans: Mapping[str, PlaneScans],
    settings: ExamSettings,
    *,
    source: EncoderSource,
    train: IntArray,
    tuning: IntArray,
    device: torch.device,
    state: Path | None = None,
    scratch: bool = False,
    stores: Mapping[str, FeatureStore] | None = None,
) -> Steps[ExamModel]:
    """A classifier with a network for each plane, trained on the exams `train` and tuned on `tuning`.

    scans: of all exams by plane, framed to `source.size`. state: folder for the states of runs, which are gone on with.
    scratch: first weights, everything trained at the head's rate, with the same steps, batches and changes: the
    supervised baseline. stores: for each plane, features that classifiers with the same frozen encoder share.

    Thresholds, votes and calibration come from the tuning exams alone (B3-39). Without any, planes vote alike,
    thresholds are one half, and the card says so.

    Raises SettingsError when a label or class cannot be learned from these exams, or a plane has too few.
    """
    check(settings)
    if scratch:
        settings = replace(settings, mode="full", encoder_rate=settings.head_rate)
    check_labels(exams.only(train), "the exams to learn from")
    networks = {}
    for number, plane in enumerate(sorted(scans)):
        path = None if state is None else state / f"plane-{number}.safetensors"
        mine = replace(settings, seed=settings.seed + number)
        networks[plane] = yield from _learn_plane(
            exams, plane, scans[plane], mine, encoder_seed=settings.seed, source=source, train=train, device=device,
            state=path, scratch=scratch, store=None if stores is None else stores[plane],
        )  # fmt: skip
    planes, labels = len(networks), len(exams.labels)
    card = _card(exams, settings, source, networks, train)
    unknown, even = np.full((planes, labels), np.nan), np.full((planes, labels), 1 / planes)
    model = ExamModel(
        settings, exams.kind, exams.labels, source, networks, unknown, even, np.full(labels, 0.5),
        Calibrator("none", exams.kind, exams.labels), card,
    )  # fmt: skip
    if len(tuning):
        return (yield from _tuned(model, exams, scans, tuning, device, stores))
    note = "no exam was kept for tuning: planes vote alike and the threshold is 0.5"
    return replace(model, card=card | {"notes": [*exams.notes, note]})


def _learn_plane(
    exams: ExamSet,
    plane: str,
    scans: PlaneScans,
    settings: ExamSettings,
    *,
    encoder_seed: int,
    source: EncoderSource,
    train: IntArray,
    device: torch.device,
    state: Path | None,
    scratch: bool,
    store: FeatureStore | None,
) -> Steps[ExamNetwork]:
    """The network of one plane, trained on those exams that have it."""
    mine = np.array([n for n in train if scans[n] is not None], np.intp)
    check_labels(exams.only(mine), f"the {plane} exams to learn from" if plane else "the exams to learn from")
    network = build_network(
        source, settings, len(exams.labels), seed=settings.seed, encoder_seed=encoder_seed, scratch=scratch
    )
    there = [scan for n in mine if (scan := scans[n]) is not None]
    training = Training(there, exams.targets[mine], exams.kind, source.in_slices, plane, store)
    yield from train_steps(network, training, settings, device=device, state=state)
    return network


def _tuned(
    model: ExamModel, exams: ExamSet, scans: Mapping[str, PlaneScans], tuning: IntArray, device: torch.device,
    stores: Mapping[str, FeatureStore] | None,
) -> Steps[ExamModel]:  # fmt: skip
    """The same networks with votes, calibration and thresholds."""
    scores = yield from reporting(
        score_all(model, scans, tuning, device=device, stores=stores), lambda p: replace(p, label="tuning")
    )
    targets = exams.targets[tuning]
    empty = np.full(len(exams.labels), np.nan)
    means = np.array([[s.planes[p][0] if p in s.planes else empty for s in scores] for p in model.planes])  # (P, N, L)
    accuracy = np.array([_accuracy(row, targets, model.kind) for row in means])
    classes = len(exams.labels) if model.kind == "one" else 2
    votes = vote_weights(accuracy, classes=classes)
    voted = vote(means, votes)
    people = exams.people[tuning]
    calibration = fit_calibrator(
        voted, targets, method=model.settings.calibration, kind=model.kind, labels=model.labels, people=people
    )
    sure = calibration(voted)
    thresholds = np.array([choose_threshold(t, p) for t, p in zip(targets.T, sure.T, strict=True)])
    if model.kind == "one":
        thresholds = np.full(len(exams.labels), np.nan)  # the most likely class is the answer
    facts = {"exams": len(tuning), "people": digests(people)}
    notes = [*model.card["notes"], *calibration.notes]
    return replace(
        model, accuracy=accuracy, votes=votes, calibration=calibration, thresholds=thresholds,
        card=model.card | {"tuning": facts, "notes": notes},
    )  # fmt: skip


def _accuracy(probability: FloatArray, targets: npt.NDArray[Any], kind: str) -> FloatArray:
    """(L,) accuracy of one plane on the exams that have it; of guessing where none has."""
    there = ~np.isnan(probability[:, 0])
    found, truth = probability[there], targets[there]
    if kind == "one":
        right = float((found.argmax(1) == truth.argmax(1)).mean()) if len(found) else 0.0
        return np.full(targets.shape[1], right)
    return np.asarray(((found >= 0.5) == (truth == 1)).mean(0)) if len(found) else np.full(targets.shape[1], 0.5)


def _card(
    exams: ExamSet, settings: ExamSettings, source: EncoderSource, networks: Mapping[str, Any], train: IntArray
) -> dict[str, Any]:
    count = count_parameters(next(iter(networks.values())))
    head = count_parameters(next(iter(networks.values())).head)
    return {
        "encoder": {"name": source.name, "kind": source.kind, "config": source.config, "sha256": source.sha256},
        "settings": to_dict(settings),
        "parameters": {"head": head.total, "network": count.total, "planes": len(networks)},
        "train": {"exams": len(train), "people": digests(exams.people[train])},
        "positives": dict(zip(exams.labels, exams.targets[train].sum(0).astype(int).tolist(), strict=True)),
        "notes": list(exams.notes),
        "use": "research only, not for diagnosis",
    }
