"""Pretraining methods side by side: the same scans, the same time, the same questions afterwards."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

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
from napari_medssl.evaluate.run import cases_of
from napari_medssl.io.atomic import replacing
from napari_medssl.models.bundle import file_sha256, load_bundle, module_bundle, save_bundle
from napari_medssl.oneshot import SegmentSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Steps
from napari_medssl.settings import from_dict, setting, to_dict
from napari_medssl.train.dataset import Case, cases_in, collect_cases
from napari_medssl.train.method import Method, find_method
from napari_medssl.train.run_settings import OptimSettings
from napari_medssl.train.trainer import build_recipe, pretrain

BASELINE = "baseline"


@dataclass(frozen=True)
class ContestSettings:
    """The budget, and how the results are judged."""

    minutes: float = setting(3.0, "Training time of each method in minutes.", ge=0.01, le=10_000)
    examples: int = setting(0, "Examples each method sees, instead of a time (fair on a busy machine); 0: time.", ge=0)
    optimiser: Literal["own", "adamw"] = setting("own", "The method's own optimiser, or AdamW at 1e-3 for all.")
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

    name: method or baseline. weights: SHA-256 of what was judged; empty for baselines. steps: of the optimiser.
    knn, presence: mean AUC of organs on slices by 20 neighbours and by linear probe, with the 95 % interval of the
    probe over seeds. exams: measure of the exam groups by linear probe. dice: mean one-shot Dice over organs, in the
    organ's range. None where it does not apply.
    """

    name: str
    weights: str
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
    chosen = {name: method_settings(find_method(name), settings) for name in names}
    for name in names:  # what cannot be built is refused before hours are spent on the others
        if build_recipe(find_method(name), chosen[name]).role not in ("encoder", "encoder3d"):
            raise SettingsError(f"{name} trains no encoder; leave it out of a comparison of encoders")
    cases = cases_of(judged_on, only=only, labelled=True)
    judge = _Judge(cases, exam_table, settings, device, out / "judged")
    trained_on = cases_in(data, exclude=exclude)
    weights = {}
    for name in names:
        weights[name] = _weights_in(out / name) or (
            yield from pretrain(trained_on, out / name, name, chosen[name], device=device, cache=out / "scans")
        )
    asked = {"settings": to_dict(settings), "scans": [c.image.name for c in cases], "exams": str(exam_table)}
    known = _stored(out / "contest.json", asked)
    for name, path in weights.items():
        if name in known and known[name].weights == file_sha256(path):
            continue
        method, steps = find_method(name), int(load_bundle(path).card["run"]["steps"])
        entry, baselines = yield from judge.entry(name, method, path, steps)
        known |= {e.name: e for e in (entry, *baselines)}
        _store(out / "contest.json", asked, known.values())
    return [known[name] for name in names] + [e for e in known.values() if e.family == BASELINE]


def method_settings(method: Method, settings: ContestSettings) -> Any:
    """The method's small settings with the contest's budget, input and encoder."""
    small = method.small
    batch = settings.batch or small.run.batch
    run: dict[str, Any] = {
        "steps": -(-settings.examples // batch) or 10**6,
        "max_minutes": 0.0 if settings.examples else settings.minutes,
        "batch": batch, "seed": settings.seed, "monitor_every": 0, "validation_share": 0.0, "save_every": 200,
    }  # fmt: skip
    if settings.optimiser == "adamw":
        run["optim"] = to_dict(OptimSettings())
    values: dict[str, Any] = {"run": run}
    if method.dims == 2 and settings.size and hasattr(small, "size"):
        values["size"] = settings.size
        if hasattr(small, "patch"):  # of jigsaws: a third of the slice at most, in whole cells of any of the trunks
            values["patch"] = min(small.patch, max(16, settings.size // 3 // 16 * 16))
    if getattr(small, "encoder", "") == "slice-resnet":
        values["encoder_options"] = settings.encoder_options
    if hasattr(small, "spacing_mm"):
        values["spacing_mm"] = settings.spacing_mm
    return from_dict(method.settings, values, base=small)


def _weights_in(folder: Path) -> Path | None:
    """The encoder of a finished run."""
    files = (folder / "encoder.safetensors", folder / "encoder3d.safetensors")
    return next((file for file in files if file.is_file()), None)


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
        sha = candidate.sha256
        own = _line(name, sha, method.family, method.dims, steps, rows, exam_rows, candidate.name, dice)
        others = sorted({r.weights for r in rows} - {candidate.name})
        return own, [
            _line(w, "", BASELINE, method.dims, 0, rows, exam_rows, w, first_dice if w.endswith(FIRST) else None)
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
    sha256: str,
    family: str,
    dims: int,
    steps: int,
    rows: Sequence[Row],
    exam_rows: Sequence[Row],
    judged: str,
    dice: float | None,
) -> Entry:
    probe = next((r for r in rows if r.weights == judged and r.protocol in ("probe", "supervised")), None)
    knn = next((r for r in rows if r.weights == judged and r.protocol.startswith("knn")), None)
    exam = next((r for r in exam_rows if r.weights == judged and r.protocol in ("probe", "supervised")), None)
    over = probe.over_seeds if probe is not None else None
    return Entry(
        name, sha256, family, dims, steps,
        None if knn is None else knn.value,
        None if probe is None else probe.value,
        None if over is None else (over.low, over.high),
        None if exam is None else exam.value,
        dice,
    )  # fmt: skip


def _stored(path: Path, asked: dict[str, Any]) -> dict[str, Entry]:
    """Entries by name, when they answer the same questions."""
    if not path.is_file():
        return {}
    facts = json.loads(path.read_text())
    if facts["asked"] != json.loads(json.dumps(asked)):
        return {}
    return {e["name"]: Entry(**e) for e in facts["entries"]}


def _store(path: Path, asked: dict[str, Any], entries: Iterable[Entry]) -> None:
    facts = {"asked": asked, "entries": [dataclasses.asdict(e) for e in entries]}
    with replacing(path) as (part,):
        part.write_text(json.dumps(facts, indent=2))
