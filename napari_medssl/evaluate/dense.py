"""How well dense features tell organs apart, cell by cell: what a segmentation head has to work with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.compare import FIRST, SCRATCH, CompareSettings, Row
from napari_medssl.evaluate.dense_cells import Cells, cell_features, draw_cells, organ_cells, organ_dice
from napari_medssl.evaluate.embed import stack
from napari_medssl.evaluate.fit import fit_steps
from napari_medssl.evaluate.probe import linear_probe
from napari_medssl.evaluate.protocols import Learner, ProtocolName, neighbours
from napari_medssl.evaluate.splits import labelled_share, subject_folds
from napari_medssl.metrics.intervals import bootstrap_intervals, seed_interval
from napari_medssl.metrics.measure import Measure
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Progress, Steps

PER_CLASS = 60  # cells of an organ drawn from a scan for learning: 13 organs of 15 scans fit in seconds then

Tell = Callable[[list[int], list[int], int, np.random.Generator], Steps[list[npt.NDArray[np.uint8]]]]
"""Scans to learn from, scans to be told, seed and generator to the classes of the cells of each told scan."""


@dataclass(frozen=True, eq=False)
class _Contest:
    data: str
    scans: Sequence[Scan]
    cells: Cells
    policy: DevicePolicy
    settings: CompareSettings


def dense_steps(
    candidates: Sequence[Candidate],
    scans: Sequence[Scan],
    protocols: Sequence[ProtocolName],
    settings: CompareSettings,
    *,
    policy: DevicePolicy,
    data: str = "",
    slices_per_scan: int = 8,
) -> Steps[list[Row]]:
    """A row per candidate, protocol and share of scans with labels; Dice of organs over the cells of the feature grid.

    Dice is of cells, not of voxels on the scan's own grid: it says what the features hold, whatever comes after. It is
    the mean over organs and scans in which the organ has five cells or more. Encoders of other strides have other
    cells; compare those of one stride.

    Neighbours and probe learn from `PER_CLASS` cells of each organ and four times as many others of each scan; their
    answers are corrected for that draw. Fine-tuning and the baseline from scratch see all cells of the slices, through
    one 1 x 1 convolution. Shares are of scans (people). Raises FormatError without labels.
    """
    rows: list[Row] = []
    judged: set[str] = set()
    for candidate in candidates:
        cells = organ_cells(scans, candidate.encoder.stride, slices_per_scan=slices_per_scan)
        contest = _Contest(data, scans, cells, policy, settings)
        frozen = [p for p in protocols if p != "finetune"]
        if frozen:
            rows += yield from _frozen_rows(contest, candidate.name, [candidate.encoder], frozen)
        if "finetune" in protocols and candidate.learns:
            tell = _tuned(contest, candidate, scratch=False)
            rows += yield from _rows(contest, candidate.name, f"finetune {settings.fit.mode}", tell, 0.0)
        if candidate.learns and candidate.architecture not in judged:
            judged.add(candidate.architecture)
            if frozen and settings.first_weights:
                first = [candidate.judged(seed, policy) for seed in range(settings.seeds)]
                rows += yield from _frozen_rows(contest, f"{candidate.kind}, {FIRST}", first, frozen)
            if settings.scratch:
                tell = _tuned(contest, candidate, scratch=True)
                rows += yield from _rows(contest, f"{candidate.kind}, {SCRATCH}", "supervised", tell, 0.0)
    return rows


def _frozen_rows(
    contest: _Contest, weights: str, encoders: Sequence[Any], protocols: Sequence[ProtocolName]
) -> Steps[list[Row]]:
    start = time.perf_counter()
    features = []
    for encoder in encoders:
        features.append((yield from cell_features(encoder, contest.scans, contest.cells, contest.policy)))
    encoding = (time.perf_counter() - start) / len(encoders)
    rows: list[Row] = []
    for name, learner in _learners(contest.settings, protocols):
        rows += yield from _rows(contest, weights, name, _frozen(contest, learner, features), encoding)
    return rows


def _learners(settings: CompareSettings, protocols: Sequence[ProtocolName]) -> list[tuple[str, Learner]]:
    found: list[tuple[str, Learner]] = []
    if "knn" in protocols:
        found += [(f"knn {k}", neighbours(k, settings.neighbour_weights)) for k in settings.neighbours]
    if "probe" in protocols:
        found.append(
            ("probe", lambda x, y, t: linear_probe(x, y, t, kind="one", inverse_penalty=settings.inverse_penalty))
        )
    return found


def _frozen(contest: _Contest, learner: Learner, features: list[list[npt.NDArray[np.float16]]]) -> Tell:
    cells = contest.cells
    count = len(cells.organs)

    def tell(
        train: list[int], tests: list[int], seed: int, rng: np.random.Generator
    ) -> Steps[list[npt.NDArray[np.uint8]]]:
        yield Progress(0, 0, "learning from frozen features")
        mine = features[seed % len(features)]
        drawn = {n: draw_cells(cells.classes[n], count, rng, per_class=PER_CLASS) for n in train}
        x = np.concatenate([mine[n][chosen] for n, chosen in drawn.items()]).astype(np.float32)
        y = np.concatenate([cells.targets(n, chosen) for n, chosen in drawn.items()])
        told = learner(x, y, np.concatenate([mine[n] for n in tests]).astype(np.float32))
        whole = np.bincount(np.concatenate([cells.classes[n].reshape(-1) for n in train]), minlength=count + 1)
        classes = (told * (whole / np.maximum(y.sum(0), 1e-9))).argmax(1).astype(np.uint8)
        return np.split(classes, np.cumsum([len(mine[n]) for n in tests])[:-1])

    return tell


def _tuned(contest: _Contest, candidate: Candidate, *, scratch: bool) -> Tell:
    cells, device, settings = contest.cells, contest.policy.device, contest.settings.fit
    if scratch:
        settings = replace(settings, mode="full", encoder_rate=settings.head_rate)

    def tell(
        train: list[int], tests: list[int], seed: int, rng: np.random.Generator
    ) -> Steps[list[npt.NDArray[np.uint8]]]:
        encoder, head = yield from _trained(train, seed, rng)
        return [_segment(encoder, head, contest, n) for n in tests]

    def _trained(train: list[int], seed: int, rng: np.random.Generator) -> Steps[tuple[Any, nn.Module]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = (candidate.fresh(seed) if scratch else candidate.trainable()).to(device)
            head = nn.Conv2d(encoder.channels, len(cells.organs) + 1, 1).to(device)
        places = [(n, s) for n in train for s in range(len(cells.slices[n]))]

        def loss(numbers: npt.NDArray[np.intp], rng: np.random.Generator) -> Tensor:
            chosen = [places[k] for k in numbers]
            slices = [(cells.scan[n], int(cells.slices[n][s])) for n, s in chosen]
            truth = torch.from_numpy(np.stack([cells.classes[n][s] for n, s in chosen])).long().to(device)
            return F.cross_entropy(head(encoder(stack(contest.scans, slices, encoder.in_slices).to(device))), truth)

        yield from fit_steps(encoder, head, loss, None, len(places), settings, rng=rng)
        return encoder, head

    return tell


def _segment(encoder: Any, head: nn.Module, contest: _Contest, test: int) -> npt.NDArray[np.uint8]:
    places = [(contest.cells.scan[test], int(z)) for z in contest.cells.slices[test]]
    with torch.inference_mode():
        images = stack(contest.scans, places, encoder.in_slices).to(contest.policy.device)
        return np.asarray(head(encoder(images)).argmax(1).cpu().numpy(), np.uint8)


def _rows(contest: _Contest, weights: str, protocol: str, tell: Tell, encoding: float) -> Steps[list[Row]]:
    rows = []
    for share in contest.settings.shares:
        start = time.perf_counter()
        tables, counts = [], []
        for seed in range(contest.settings.seeds):
            table, labelled = yield from _table(contest, tell, seed, share)
            tables.append(table)
            counts += labelled
        rows.append(_row(contest, weights, protocol, share, tables, counts, time.perf_counter() - start + encoding))
    return rows


def _table(
    contest: _Contest, tell: Tell, seed: int, share: float
) -> Steps[tuple[npt.NDArray[np.float64], list[tuple[int, int]]]]:
    """(scans, organs) Dice of one seed, and for each fold how many slices of how many people were labelled."""
    cells, subjects = contest.cells, contest.cells.subjects
    table = np.full((len(cells.scan), len(cells.organs)), np.nan)
    counts = []
    folds = subject_folds(subjects, contest.settings.folds, np.random.default_rng([seed, 1]))
    for number, fold in enumerate(folds):
        chosen = labelled_share(fold.train, subjects, share, rng=np.random.default_rng([seed, number, 3]))
        train = [int(n) for n in chosen]
        counts.append((sum(len(cells.slices[n]) for n in train), len(set(subjects[train]))))
        tests = [int(n) for n in fold.test]
        told = yield from tell(train, tests, seed, np.random.default_rng([seed, number, 5]))
        for n, classes in zip(tests, told, strict=True):
            table[n] = organ_dice(classes, cells.classes[n], len(cells.organs))
    return table, counts


def _row(
    contest: _Contest,
    weights: str,
    protocol: str,
    share: float,
    tables: list[npt.NDArray[np.float64]],
    counts: list[tuple[int, int]],
    seconds: float,
) -> Row:
    cells, settings = contest.cells, contest.settings
    values = [v for table in tables if (v := _mean_dice(table)) is not None]
    over_runs = np.mean(tables, axis=0)
    intervals = bootstrap_intervals(
        lambda n: _mean_dice(over_runs[n]), cells.subjects, resamples=settings.resamples, rng=np.random.default_rng(17)
    )
    by_organ = {o: Measure(_mean_dice(over_runs[:, [c]])) for c, o in enumerate(cells.organs)}
    labelled, people = np.mean(counts, axis=0)
    return Row(
        contest.data, weights, protocol, share, float(labelled), float(people), "dice",
        {"dice": Measure(float(np.mean(values)))}, by_organ, seed_interval(values), intervals, seconds,
    )  # fmt: skip


def _mean_dice(table: npt.NDArray[np.float64]) -> float | None:
    """Mean over organs of their means over the scans that have them."""
    organs = [float(column[~np.isnan(column)].mean()) for column in table.T if not np.isnan(column).all()]
    return float(np.mean(organs)) if organs else None
