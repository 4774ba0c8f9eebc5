"""`medssl evaluate voxels` and `medssl evaluate landmarks`: what the dense features of volume encoders know."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.landmarks import LandmarkRow
    from napari_medssl.evaluate.voxels import VoxelRow
    from napari_medssl.metrics.intervals import Interval

VOXELS, LANDMARKS = "voxels", "landmarks"
QUESTIONS = (VOXELS, LANDMARKS)


def evaluate_dense(args: argparse.Namespace, console: Console) -> int | None:
    """Ask every weights file on every folder, print a table, write the report into --out."""
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.engine.device import choose_device, policy_for
    from napari_medssl.evaluate.volume_encoders import load_volumes

    question, *names = args.weights
    kind = _settings_of(question)
    if args.list_settings:
        return list_settings(console, kind)
    if not names or not args.data:
        console.problem(f"evaluate {question} also needs WEIGHTS and --data DIR; see medssl evaluate --help")
        return 2
    _refuse_others(args, question)
    if args.out is not None:
        check_outputs([args.out / "evaluate.json"] if args.out.is_dir() else [args.out], force=args.force)
    policy = policy_for(choose_device(args.device))
    encoders = [load_volumes(name, policy) for name in names]
    rows = _voxels(args, encoders, console) if question == VOXELS else _landmarks(args, encoders, console)
    if args.out is not None:
        _write(args, question, encoders, rows)
    return None


def _settings_of(question: str) -> type[Any]:
    from napari_medssl.evaluate.landmarks import LandmarkSettings
    from napari_medssl.evaluate.voxels import VoxelSettings

    return VoxelSettings if question == VOXELS else LandmarkSettings


def _refuse_others(args: argparse.Namespace, question: str) -> None:
    """Options of the other evaluations would be ignored in silence."""
    given = {"--protocol": args.protocol, "--shares": args.shares, "--seeds": args.seeds, "--table": args.table}
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise SettingsError(f"evaluate {question} has no {' and no '.join(wrong)}; --list-settings names what it has")


def _settings(args: argparse.Namespace) -> Any:
    from napari_medssl.cli.options import settings_from

    return settings_from(_settings_of(args.weights[0]), file=args.settings, assignments=args.set)


def _voxels(args: argparse.Namespace, encoders: list[Any], console: Console) -> list[VoxelRow]:
    from napari_medssl.evaluate.run import cases_of
    from napari_medssl.evaluate.voxels import voxels_steps

    settings = _settings(args)
    rows: list[VoxelRow] = []
    for folder in args.data:
        cases = cases_of(folder, only=args.only, labelled=True)
        rows += console.follow(voxels_steps(encoders, cases, settings, data=folder.name))
    head = ("data", "features", "channels", "balanced accuracy", "95 % people", "Dice", "95 % people", "people", "s")
    cells = [
        (r.data, r.features, str(r.channels), f"{r.accuracy:.3f}", _ends(r.accuracy_interval, 3), f"{r.dice:.3f}",
         _ends(r.dice_interval, 3), str(r.tested), f"{r.seconds:.0f}")
        for r in rows
    ]  # fmt: skip
    console.table(head, cells, left=2)
    return rows


def _landmarks(args: argparse.Namespace, encoders: list[Any], console: Console) -> list[LandmarkRow]:
    from napari_medssl.evaluate.landmarks import landmarks_steps
    from napari_medssl.evaluate.run import cases_of

    settings = _settings(args)
    rows: list[LandmarkRow] = []
    for folder in args.data:
        cases = cases_of(folder, only=args.only, labelled=True)
        rows += console.follow(landmarks_steps(encoders, cases, settings, data=folder.name))
    near = f"within {settings.near_mm:g} mm"
    head = ("data", "features", "how", "mean mm", "95 % people", "median mm", near, "kidneys mm", "points")
    cells = [
        (r.data, r.features, r.how, f"{r.mean:.1f}", _ends(r.interval, 1), f"{r.median:.1f}", f"{100 * r.found:.0f} %",
         _kidneys(r), str(r.count))
        for r in rows
    ]  # fmt: skip
    console.table(head, cells, left=3)
    return rows


def _kidneys(row: LandmarkRow) -> str:
    mm = [value for name, value in row.by_organ.items() if name.endswith("kidney")]
    return f"{sum(mm) / len(mm):.1f}" if mm else "-"


def _ends(interval: Interval | None, digits: int) -> str:
    return "-" if interval is None else f"{interval.low:.{digits}f}-{interval.high:.{digits}f}"


def _write(args: argparse.Namespace, question: str, encoders: list[Any], rows: list[Any]) -> None:
    import dataclasses

    from napari_medssl.cli.evaluate_report import write_out
    from napari_medssl.settings import to_dict

    weights = {e.name: {"encoder": e.kind, "spacing_mm": e.spacing_mm, "sha256": e.sha256} for e in encoders}
    found = [dataclasses.asdict(r) for r in rows]
    write_out(args, {"task": question, "settings": to_dict(_settings(args)), "weights": weights, "rows": found})
