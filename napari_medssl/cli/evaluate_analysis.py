"""`medssl evaluate analyse`: what can be said of encoders without labels."""

from __future__ import annotations

import argparse
from typing import Any

from napari_medssl.cli.console import Console
from napari_medssl.cli.evaluate_figure import draw_analyses
from napari_medssl.cli.evaluate_report import weights_facts, write_out
from napari_medssl.cli.options import settings_from
from napari_medssl.engine.device import choose_device, policy_for
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.analyse import AnalyseSettings, Analysis, analyse_steps, group_shift, stage_similarity
from napari_medssl.evaluate.candidate import Candidate, load_candidates
from napari_medssl.evaluate.data import load_for
from napari_medssl.evaluate.run import cases_of
from napari_medssl.metrics.measure import Measure
from napari_medssl.pretext.scan import Scan
from napari_medssl.settings import to_dict


def analyse(args: argparse.Namespace, names: list[str], console: Console) -> None:
    """Print a table with a column per encoder; with one encoder its first weights are the other column.

    Raises SettingsError for more than two weights, or two that take different input.
    """
    if len(names) > 2:
        raise SettingsError(f"analyse takes one or two weights, not {len(names)}")
    settings = settings_from(AnalyseSettings, file=args.settings, assignments=args.set)
    policy = policy_for(choose_device(args.device))
    candidates = load_candidates(names, policy)
    if len({(c.dims, c.size) for c in candidates}) > 1:
        raise SettingsError(f"{names[0]} and {names[1]} take different input, so their layers cannot be compared")
    groups = {}
    for folder in args.data:
        groups[folder.name] = console.follow(load_for(candidates[0], cases_of(folder, only=args.only)))
    scans = [scan for found in groups.values() for scan in found]
    found = [console.follow(analyse_steps(c, scans, settings, policy=policy)) for c in candidates]
    if len(found) == 1 and candidates[0].learns:
        found.append(_first_weights(candidates[0], scans, settings, policy, console))
    similarity = stage_similarity(found[0], found[-1]) if len(found) > 1 else None
    shifts = group_shift(candidates[0], groups, policy) if len(groups) > 1 else {}
    _print(found, similarity, shifts, console)
    if args.out is not None:
        facts: dict[str, Any] = {"settings": to_dict(settings), "weights": weights_facts(candidates)}
        write_out(args, facts | _facts(found, similarity, shifts))
        draw_analyses(found, similarity, args.out / "evaluate.png", console)


def _first_weights(
    candidate: Candidate, scans: list[Scan], settings: AnalyseSettings, policy: Any, console: Console
) -> Analysis:
    import dataclasses

    encoder = candidate.judged(settings.seed, policy)
    found = console.follow(analyse_steps(candidate, scans, settings, policy=policy, encoder=encoder))
    return dataclasses.replace(found, name=f"{candidate.kind}, first weights")


def _print(
    found: list[Analysis], similarity: list[list[float]] | None, shifts: dict[str, Measure], console: Console
) -> None:
    rows = [(name, *(_number(a.scores[name]) for a in found)) for name in found[0].scores]
    console.table(("score", *(a.name for a in found)), rows)
    for name in {n for a in found for n, m in a.scores.items() if m.value is None}:
        console.remark(f"no {name}: {found[0].scores[name].reason or found[-1].scores[name].reason}")
    if similarity is not None:
        console.say(f"\nlinear CKA of layers: {found[0].name} (rows), {found[-1].name} (columns)")
        labels = list(found[0].stages)
        console.table(("", *found[-1].stages), [(n, *map(_three, r)) for n, r in zip(labels, similarity, strict=True)])
    if any(m.value is not None for m in shifts.values()):
        console.say("\nbatch statistics of each data set, distance from those of all together")
        console.table(("data", "distance"), [(n, _number(m)) for n, m in shifts.items()])


def _facts(found: list[Analysis], similarity: Any, shifts: dict[str, Measure]) -> dict[str, Any]:
    import dataclasses

    def plain(scores: dict[str, Measure]) -> dict[str, Any]:
        return {name: dataclasses.asdict(m) for name, m in scores.items()}

    analyses = {
        a.name: {
            "scores": plain(a.scores),
            "stages": list(a.stages),
            "ritz_values": None if a.spectrum is None else a.spectrum.values.tolist(),
            "ritz_weights": None if a.spectrum is None else a.spectrum.weights.tolist(),
        }
        for a in found
    }
    return {"analyses": analyses, "cka": similarity, "bn_distance_of_data": plain(shifts)}


def _number(measure: Measure) -> str:
    return "-" if measure.value is None else f"{measure.value:.4g}"


def _three(value: float) -> str:
    return f"{value:.3f}"
