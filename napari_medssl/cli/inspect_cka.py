"""`medssl inspect cka`: how alike the layers of two encoders of volumes are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_settings
from napari_medssl.cli.inspecting import add_report, add_scans, check_folder, load_groups, number, save_facts

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.layers import LayerSimilarity

LINE = "linear CKA of the four stages of two volume encoders, on the same crops"
_JSON, _PICTURE = "cka.json", "cka.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "1 on the diagonal: a stage gives the same features in both, whatever their rotation and scale. Without\n"
        "SECOND the first weights of FIRST stand there, which tells what training has changed. Crops and voxels are\n"
        "as FIRST was trained on them."
    )
    parser.add_argument("first", nargs="?", metavar="FIRST", help="weights file, or folder of a run of a 3D method")
    parser.add_argument("second", nargs="?", metavar="SECOND", help="the same, such as weights after fine-tuning")
    add_scans(parser)
    add_report(parser, f"{_JSON} and {_PICTURE}")
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Compare, print two tables, write report and picture."""
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.evaluate.crops import CropSettings

    if args.list_settings:
        return list_settings(console, CropSettings)
    if args.first is None or not args.data:
        console.problem("cka needs FIRST and --data DIR; see medssl inspect cka --help")
        return 2
    check_folder(args, (_JSON, _PICTURE))
    _compare(args, console)
    return None


def _compare(args: argparse.Namespace, console: Console) -> None:
    from napari_medssl.cli.options import settings_from
    from napari_medssl.engine.device import choose_device, policy_for
    from napari_medssl.evaluate.crops import CropSettings, as_trained, draw_crops
    from napari_medssl.evaluate.layers import layer_similarity, stage_means_steps
    from napari_medssl.evaluate.volume_weights import load_volume_weights
    from napari_medssl.settings import to_dict
    from napari_medssl.train.grid import Grid

    policy = policy_for(choose_device(args.device))
    first = load_volume_weights(args.first, policy)
    second = first.first_weights(0, policy) if args.second is None else load_volume_weights(args.second, policy)
    settings = as_trained(settings_from(CropSettings, file=args.settings, assignments=args.set), first.card)
    groups = load_groups(args, Grid(spacing_mm=settings.spacing_mm), console)
    crops = draw_crops([scan for scans in groups.values() for scan in scans], settings)
    found = [
        console.follow(stage_means_steps(w.encoder, crops, policy, batch=settings.batch, label=f"features of {w.name}"))
        for w in (first, second)
    ]
    for note in dict.fromkeys((*first.notes, *second.notes)):
        console.remark(note)
    names = (first.name, second.name if second.name != first.name else f"{second.name} (second)")
    similarity = layer_similarity(*found, names=names)
    _print(similarity, console)
    weights = [{"name": w.name, "encoder": w.kind, "sha256": w.sha256} for w in (first, second)]
    data = {name: len(scans) for name, scans in groups.items()}
    facts = {"weights": weights, "settings": to_dict(settings), "scans": data, "cka": similarity.facts()}
    save_facts(args, _JSON, facts, console)
    if args.out is not None:
        _draw(similarity, args.out / _PICTURE, console)


def _print(found: LayerSimilarity, console: Console) -> None:
    for title, table in (("linear CKA", found.linear), ("debiased", found.debiased)):
        console.say(f"{title}, {found.examples} crops: {found.first} (rows), {found.second} (columns)")
        rows = [(name, *map(number, row)) for name, row in zip(found.rows, table, strict=True)]
        console.table(("", *found.columns), rows)
        console.say()


def _draw(found: LayerSimilarity, path: Path, console: Console) -> None:
    from napari_medssl.cli.figure import new_figure, save_figure

    figure = new_figure(9, 4.2, console)
    if figure is None:
        return
    tables = (("linear CKA", found.linear), ("debiased", found.debiased))
    for axes, (title, table) in zip(figure.subplots(1, 2), tables, strict=True):
        _heat(axes, table)
        axes.set_xticks(range(len(found.columns)), found.columns)
        axes.set_yticks(range(len(found.rows)), found.rows)
        axes.set(title=f"{title}, {found.examples} crops", xlabel=found.second, ylabel=found.first)
    save_figure(figure, path, console)


def _heat(axes: Any, table: list[list[float | None]]) -> None:
    values = [[float("nan") if v is None else v for v in row] for row in table]
    axes.imshow(values, vmin=0, vmax=1, cmap="magma")
    for i, row in enumerate(table):
        for j, value in enumerate(row):
            dark = value is None or value < 0.6
            axes.text(j, i, number(value), ha="center", va="center", color="white" if dark else "black")
