"""`medssl inspect statistics`: batch statistics of an encoder collected anew on one's own scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_settings
from napari_medssl.cli.inspecting import add_report, add_scans, check_folder, load_groups, save_facts

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.batch_statistics import Recollected
    from napari_medssl.evaluate.crops import CropSettings
    from napari_medssl.evaluate.volume_weights import VolumeWeights

LINE = "how far the batch statistics of an encoder are from those of your scans, and weights with the latter"
_JSON, _WEIGHTS = "statistics.json", "encoder3d.safetensors"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "The distance is the sum over layers of the squared differences of means and of variances (paper 002). A\n"
        "large one says that your scans look different from those the encoder was trained on; collecting anew is then\n"
        f"advised (R-56). --out keeps {_WEIGHTS} with the statistics of your scans, for any command that takes weights."
    )
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS", help="weights file, or folder of a run of a 3D method")
    add_scans(parser)
    add_report(parser, f"{_JSON} and {_WEIGHTS}")
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Collect, print, write."""
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.evaluate.crops import CropSettings

    if args.list_settings:
        return list_settings(console, CropSettings)
    if args.weights is None or not args.data:
        console.problem("statistics needs WEIGHTS and --data DIR; see medssl inspect statistics --help")
        return 2
    check_folder(args, (_JSON, _WEIGHTS))
    _collect(args, console)
    return None


def _collect(args: argparse.Namespace, console: Console) -> None:
    from napari_medssl.cli.options import settings_from
    from napari_medssl.engine.device import choose_device, policy_for
    from napari_medssl.evaluate.batch_statistics import group_distances_steps, recollect_on_steps
    from napari_medssl.evaluate.crops import CropSettings, as_trained, draw_crops
    from napari_medssl.evaluate.volume_weights import load_volume_weights
    from napari_medssl.settings import to_dict
    from napari_medssl.train.grid import Grid

    policy = policy_for(choose_device(args.device))
    weights = load_volume_weights(args.weights, policy)
    settings = as_trained(settings_from(CropSettings, file=args.settings, assignments=args.set), weights.card)
    groups = load_groups(args, Grid(spacing_mm=settings.spacing_mm), console)
    every = [scan for scans in groups.values() for scan in scans]
    options = {"batch": settings.batch, "seed": settings.seed}
    found = console.follow(recollect_on_steps(weights.encoder, draw_crops(every, settings), policy, **options))
    apart: dict[str, float] = {}
    if len(groups) > 1:
        crops = {name: draw_crops(scans, settings) for name, scans in groups.items()}
        apart = console.follow(group_distances_steps(weights.encoder, crops, policy, **options))
    for note in weights.notes:
        console.remark(note)
    _print(found, apart, console)
    facts: dict[str, Any] = {
        "weights": {"name": weights.name, "encoder": weights.kind, "sha256": weights.sha256},
        "settings": to_dict(settings), "scans": {name: len(scans) for name, scans in groups.items()},
        "crops": found.crops, "distance": found.distance, "layers": found.layers, "distance_of_data": apart,
    }  # fmt: skip
    if args.out is not None:
        facts["written_sha256"] = _save(args.out / _WEIGHTS, weights, found, settings, groups, console)
    save_facts(args, _JSON, facts, console)


def _print(found: Recollected, apart: dict[str, float], console: Console) -> None:
    rows = [(name, f"{value:.4g}") for name, value in found.layers.items()]
    console.table(("batch normalisation", "distance"), [*rows, ("all", f"{found.distance:.4g}")])
    if apart:
        console.say("\nstatistics of each data set alone, distance from those of all together")
        console.table(("data", "distance"), [(name, f"{value:.4g}") for name, value in apart.items()])


def _save(
    path: Path, weights: VolumeWeights, found: Recollected, settings: CropSettings, groups: dict[str, Any],
    console: Console,
) -> str:  # fmt: skip
    from napari_medssl.evaluate.volume_weights import ROLE
    from napari_medssl.models.bundle import module_bundle, save_bundle

    told = {"crops": found.crops, "spacing_mm": settings.spacing_mm, "distance": found.distance, "data": list(groups)}
    card = {**weights.card, "batch_statistics": {**told, "of_sha256": weights.sha256}}
    digest = save_bundle(path, module_bundle(ROLE, weights.kind, found.encoder, card))
    console.say(f"written: {path}")
    return digest
