"""Pretraining methods side by side: the same scans, the same time, the same questions afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_medssl.bench.accuracy import accuracy_steps
from napari_medssl.engine import Engine
from napari_medssl.engine.device import policy_for
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.candidate import Candidate, load_candidate
from napari_medssl.evaluate.compare import FIRST, CompareSettings, Row, compare_steps
from napari_medssl.evaluate.data import load_for
from napari_medssl.evaluate.examples import Examples
from napari_medssl.evaluate.exams import exams
from napari_medssl.evaluate.fit import FitSettings
from napari_medssl.evaluate.presence import presence
from napari_medssl.io.atomic import replacing
from napari_medssl.models.bundle import load_bundle, module_bundle, save_bundle
from napari_medssl.oneshot import SegmentSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Steps
from napari_medssl.settings import from_dict, setting, to_dict
from napari_medssl.train.dataset import Case, cases_in, collect_cases
from napari_medssl.train.method import Method, find_method
from napari_medssl.train.trainer import pretrain


@dataclass(frozen=True)
class ContestSettings:
    """The budget, and how the results are judged."""

    minutes: float = setting(3.0, "Training time of each method in minutes.", ge=0.01, le=10_000)
    size: int = setting(96, "Side of the training slices of 2D methods; 0: each method's own.", ge=0, le=1024)
    spacing_mm: float = setting(3.0, "Voxels of 3D methods in mm.", ge=0.5, le=10.0)
    batch: int = setting(0, "Examples per step; 0: as in the method's small settings.", ge=0)
    encoder_options: str = setting('{"width": 16}', "Arguments of the slice encoder as JSON, the same for all.")
    seed: int = setting(0, "Seed of training.", ge=0)
    seeds: int = setting(3, "Repetitions of the judgement with other folds.", ge=1, le=100)
    share: float = setting(1.0, "Share of the downstream labels that are used.", ge=0.001, le=1.0)
    scratch_steps: int = setting(150, "Steps of training from scratch, the supervised baseline; 0: none.", ge=0)
    one_shot: bool = setting(True, "Also one-shot Dice by prototypes across scans (2D methods).")


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    name: method or baseline. steps: optimiser steps in the budget. presence: mean AUC of organs on slices by linear
    probe, with its 95 % interval over seeds; exams: balanced accuracy of exam groups; dice: mean one-shot Dice over
    organs in the organ's range. None where it does not apply.
    """

    name: str
    family: str
    dims: int
    steps: int
    knn: float | None
    presence: float | None
    interval: tuple[float, float] | None
    exams: float | None
    dice: float | None


def contest_steps(
    names: Sequence[str],
    data: Sequence[Path],
    judged_on: Path,
    out: Path,
    settings: ContestSettings,
    *,
    device: torch.device,
    exam_table: Path | None = None,
    exclude: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Steps[list[Entry]]:
    """Train every method for the same time on `data`, then judge all on `judged_on`.

    judged_on: folder with images/ and labels/; `only` takes the scans whose names begin so, `exclude` leaves scans out
    of training. exam_table: CSV with columns file, subject, group whose scans lie in `images/` beside it. Methods whose
    weights are already in `out` are not trained again.

    The baselines are the same encoder with first weights and trained from scratch on the downstream labels.
    """
    weights = {}
    for name in names:
        weights[name] = yield from _trained(name, data, out / name, settings, device, exclude, out / "scans")
    cases = [c for c in collect_cases([judged_on]) if c.labels is not None]
    cases = [c for c in cases if not only or c.image.name.startswith(tuple(only))]
    judge = _Judge(cases, exam_table, settings, device, out / "judged")
    entries: list[Entry] = []
    baselines: dict[str, Entry] = {}
    for name, path in weights.items():
        method, steps = find_method(name), int(load_bundle(path).card["run"]["steps"])
        entry, first = yield from judge.entry(name, method, path, steps)
        entries.append(entry)
        baselines |= {b.name: b for b in first if b.name not in baselines}
        _store(out / "contest.json", settings, [*entries, *baselines.values()])
    return [*entries, *baselines.values()]


def method_settings(method: Method, settings: ContestSettings) -> Any:
    """The method's small settings with the contest's budget, input and encoder."""
    small = method.small
    run: dict[str, Any] = {
        "steps": 10**6, "max_minutes": settings.minutes, "seed": settings.seed, "monitor_every": 0,
        "validation_share": 0.0, "log_every": 20, "save_every": 200,
    }  # fmt: skip
    if settings.batch:
        run["batch"] = settings.batch
    values: dict[str, Any] = {"run": run}
    if method.dims == 2 and settings.size and hasattr(small, "size"):
        values["size"] = settings.size
    if getattr(small, "encoder", "") == "slice-resnet":
        values["encoder_options"] = settings.encoder_options
    if hasattr(small, "spacing_mm"):
        values["spacing_mm"] = settings.spacing_mm
    return from_dict(method.settings, values, base=small)


def _trained(
    name: str,
    data: Sequence[Path],
    out: Path,
    settings: ContestSettings,
    device: torch.device,
    exclude: Sequence[str],
    cache: Path,
) -> Steps[Path]:
    done = [p for p in (out / "encoder.safetensors", out / "encoder3d.safetensors") if p.is_file()]
    if done:
        return done[0]
    method = find_method(name)
    if name == "propagation":
        raise SettingsError("propagation trains no encoder; leave it out of a comparison of encoders")
    chosen = method_settings(method, settings)
    return (yield from pretrain(cases_in(data, exclude=exclude), out, name, chosen, device=device, cache=cache))


class _Judge:
    """Asks every encoder the same questions; scans are loaded once per input size."""

    def __init__(
        self,
        cases: Sequence[Case],
        exam_table: Path | None,
        settings: ContestSettings,
        device: torch.device,
        cache: Path,
    ) -> None:
        self._cases, self._exam_table, self._settings = cases, exam_table, settings
        self._policy, self._cache = policy_for(device), cache
        self._exam_cases = collect_cases([exam_table.parent]) if exam_table is not None else []
        self._known: set[str] = set()  # architectures whose baselines are there

    def entry(self, name: str, method: Method, weights: Path, steps: int) -> Steps[tuple[Entry, list[Entry]]]:
        """The line of a method, and those of its architecture's baselines."""
        size = self._settings.size if method.dims == 2 else 0
        candidate = load_candidate(weights, self._policy, size=size)
        new = candidate.architecture not in self._known
        self._known.add(candidate.architecture)
        rows = yield from self._rows(candidate, self._cases, presence, baselines=new)
        exam_rows: list[Row] = []
        table = self._exam_table
        if table is not None:
            of_exams = partial(exams, table=table)
            exam_rows = yield from self._rows(candidate, self._exam_cases, of_exams, baselines=new, scratch=False)
        slices = method.dims == 2 and self._settings.one_shot
        dice = (yield from self._dice(weights)) if slices else None
        first_dice = (yield from self._dice(self._first_weights(candidate))) if slices and new else None
        own = _line(name, method.family, method.dims, steps, rows, exam_rows, candidate.name, dice)
        others = sorted({r.weights for r in rows} - {candidate.name})
        return own, [
            _line(w, "baseline", method.dims, 0, rows, exam_rows, w, first_dice if w.endswith(FIRST) else None)
            for w in others
        ]

    def _first_weights(self, candidate: Candidate) -> Path:
        path = self._cache / f"{candidate.kind}-first.safetensors"
        save_bundle(path, module_bundle("encoder", candidate.kind, candidate.fresh(self._settings.seed), {}))
        return path

    def _rows(
        self,
        candidate: Candidate,
        cases: Sequence[Case],
        ask: Callable[[Sequence[Scan]], Examples],
        *,
        baselines: bool,
        scratch: bool = True,
    ) -> Steps[list[Row]]:
        scans = yield from load_for(candidate, cases, cache=self._cache)
        steps = self._settings.scratch_steps
        settings = CompareSettings(
            seeds=self._settings.seeds,
            shares=(self._settings.share,),
            neighbours=(20,),
            resamples=0,
            first_weights=baselines,
            scratch=baselines and scratch and steps > 0,
            fit=FitSettings(steps=max(1, steps)),
        )
        asked = ask(scans)
        return (yield from compare_steps([candidate], scans, asked, ["knn", "probe"], settings, policy=self._policy))

    def _dice(self, weights: Path) -> Steps[float]:
        folder = self._cases[0].image.parent.parent
        only = [c.image.name for c in self._cases]
        with Engine(device=self._policy.device.type, weights=weights) as engine:
            steps = accuracy_steps(
                folder, "across", engine=engine, settings=SegmentSettings(method="prototypes"), only=only
            )
            scores = yield from steps
        return float(np.nanmean([s.in_range for s in scores])) if scores else math.nan


def _line(
    name: str,
    family: str,
    dims: int,
    steps: int,
    rows: Sequence[Row],
    exam_rows: Sequence[Row],
    weights: str,
    dice: float | None,
) -> Entry:
    probe = next((r for r in rows if r.weights == weights and r.protocol in ("probe", "supervised")), None)
    knn = next((r for r in rows if r.weights == weights and r.protocol.startswith("knn")), None)
    exam = next((r for r in exam_rows if r.weights == weights and r.protocol in ("probe", "supervised")), None)
    over = probe.over_seeds if probe is not None else None
    return Entry(
        name, family, dims, steps,
        None if knn is None else knn.value,
        None if probe is None else probe.value,
        None if over is None else (over.low, over.high),
        None if exam is None else exam.value,
        dice,
    )  # fmt: skip


def _store(path: Path, settings: ContestSettings, entries: Sequence[Entry]) -> None:
    facts = {"settings": to_dict(settings), "entries": [dataclasses.asdict(e) for e in entries]}
    with replacing(path) as (part,):
        part.write_text(json.dumps(facts, indent=2))
