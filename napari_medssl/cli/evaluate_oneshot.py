"""`medssl evaluate --task oneshot`: Dice across patients by prototypes of an encoder's features."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from napari_medssl.bench.accuracy import Score, accuracy_steps
from napari_medssl.cli.console import Console
from napari_medssl.cli.evaluate_report import weights_facts, write_out
from napari_medssl.engine import Engine
from napari_medssl.engine.device import choose_device, policy_for
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.candidate import Candidate, load_candidates
from napari_medssl.metrics.intervals import bootstrap_intervals
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.oneshot import SegmentSettings


def one_shot(args: argparse.Namespace, names: list[str], console: Console) -> None:
    """Print mean Dice over organs per encoder, its first weights beside it.

    Three labelled slices of the folder's last scan, nothing else is learned, so there is no training from scratch to
    compare with; the method is the prototype matching of the thesis, without a propagator that could hide the encoder.

    Raises SettingsError for a volume encoder: one-shot segmentation works on slices.
    """
    policy = policy_for(choose_device(args.device))
    candidates = load_candidates(names, policy)
    for candidate in candidates:
        if candidate.dims == 3:
            raise SettingsError(f"{candidate.name} is a volume encoder; the task oneshot needs one for slices")
    rows, scores = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, weights in _contestants(candidates, Path(folder)):
            for data in args.data:
                with Engine(device=args.device, weights=weights) as engine:
                    chosen = SegmentSettings(method="prototypes")
                    found = console.follow(
                        accuracy_steps(data, "across", engine=engine, settings=chosen, only=args.only)
                    )
                rows.append((data.name, name, *_cells(found)))
                scores[f"{data.name}: {name}"] = [dataclasses.asdict(s) for s in found]
    console.table(("data", "weights", "scans", "whole", "in range", "90 % patients", "seconds"), rows, left=2)
    if args.out is not None:
        write_out(args, {"task": "oneshot", "weights": weights_facts(candidates), "scores": scores})


def _contestants(candidates: list[Candidate], folder: Path) -> Iterator[tuple[str, str | Path]]:
    """Names and weights files with the encoder alone; first weights of every architecture once."""
    seen: set[str] = set()
    for n, candidate in enumerate(candidates):
        if not candidate.learns:
            yield candidate.name, "none"
            continue
        yield candidate.name, _file(folder / f"{n}.safetensors", candidate.kind, copy.deepcopy(candidate.encoder).cpu())
        if candidate.architecture not in seen:
            seen.add(candidate.architecture)
            first = _file(folder / f"{n}-first.safetensors", candidate.kind, candidate.fresh(0))
            yield f"{candidate.kind}, first weights", first


def _file(path: Path, kind: str, encoder: nn.Module) -> Path:
    save_bundle(path, module_bundle("encoder", kind, encoder, {}))
    return path


def _cells(scores: list[Score]) -> tuple[str, ...]:
    in_range = _table(scores, "in_range")
    patients = np.array(sorted({s.scan for s in scores}))
    (interval,) = bootstrap_intervals(
        lambda n: _mean(in_range[n]), patients, resamples=500, levels=(0.9,), rng=np.random.default_rng(17)
    )
    ends = "-" if interval is None else f"{interval.low:.3f}-{interval.high:.3f}"
    whole, seconds = _mean(_table(scores, "whole")), float(np.median([s.seconds for s in scores]))
    return (str(len(patients)), f"{whole or 0:.3f}", f"{_mean(in_range) or 0:.3f}", ends, f"{seconds:.2f}")


def _table(scores: list[Score], what: str) -> np.ndarray[Any, Any]:
    """(scans, organs) Dice, NaN where a scan lacks an organ."""
    scans, organs = sorted({s.scan for s in scores}), sorted({s.organ for s in scores})
    table = np.full((len(scans), len(organs)), np.nan)
    for s in scores:
        table[scans.index(s.scan), organs.index(s.organ)] = getattr(s, what)
    return table


def _mean(table: np.ndarray[Any, Any]) -> float | None:
    organs = [float(c[~np.isnan(c)].mean()) for c in table.T if not np.isnan(c).all()]
    return float(np.mean(organs)) if organs else None
