"""`medssl inspect transfer`: what of pretrained weights fits a segmentation network, and that network to train on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.inspecting import check_folder, save_facts

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.models.segmenter3d import Segmenter3d
    from napari_medssl.train.transfer import Pretrained, TransferReport

LINE = "carry an encoder (and decoder) into a 3D U-Net, and report which tensors fitted"
_JSON, _WEIGHTS = "transfer.json", "segmenter3d.safetensors"
_SHOWN = 8  # names of a kind that are printed; the report has all


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "The decoder is carried over only with the encoder (R-55) and lies in the folder of a run alone, not in its\n"
        "weights file. The network has the width and normalisation of the encoder unless --width or --norm says\n"
        f"otherwise. --out keeps it as {_WEIGHTS}, for load_segmenter in Python."
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="weights file, or folder of a run of a 3D method")
    parser.add_argument("--part", default="encoder", help="encoder (default) or encoder+decoder")
    parser.add_argument("--classes", type=int, default=2, metavar="N", help="classes, the background too (default: 2)")
    parser.add_argument("--no-skip", action="store_true", help="no skip connections from the encoder to the decoder")
    parser.add_argument("--width", type=float, metavar="W", help="factor of the channels; default: the encoder's")
    parser.add_argument("--norm", choices=("batch", "group"), help="default: the encoder's")
    parser.add_argument("--seed", type=int, default=0, help="of what is not carried over (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {_JSON} and {_WEIGHTS}")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Transfer, print, write."""
    from napari_medssl.train.transfer import load_pretrained, transfer

    check_folder(args, (_JSON, _WEIGHTS))
    pretrained = load_pretrained(args.weights)
    network = _network(args, pretrained)
    report = transfer(network, pretrained, args.part)
    _print(report, pretrained, console)
    source = {"name": pretrained.name, "method": pretrained.method, "sha256": pretrained.sha256}
    facts: dict[str, Any] = {"weights": source, "network": network.config, "transfer": report.facts()}
    if args.out is not None:
        facts["written_sha256"] = _save(args.out / _WEIGHTS, network, facts, console)
    save_facts(args, _JSON, facts, console)
    return None


def _network(args: argparse.Namespace, pretrained: Pretrained) -> Segmenter3d:
    import torch

    from napari_medssl.errors import SettingsError
    from napari_medssl.models.segmenter3d import NAME, Segmenter3d

    if pretrained.kind != NAME:
        raise SettingsError(
            f"{pretrained.name} is an encoder of kind {pretrained.kind!r}; only those of the 3D U-Net ({NAME}) have a "
            "segmentation network here"
        )
    config = {**pretrained.config, "classes": args.classes, "skip": not args.no_skip}
    config |= {} if args.width is None else {"width": args.width}
    config |= {} if args.norm is None else {"norm": args.norm}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        return Segmenter3d(**config)


def _print(report: TransferReport, pretrained: Pretrained, console: Console) -> None:
    head = ("part", "matched", "missing", "unused", "other shape")
    rows = [
        (name, *(str(len(k)) for k in (r.matched, r.missing, r.unused, r.misshaped))) for name, r in report.keys.items()
    ]
    console.table(head, rows)
    for name, r in report.keys.items():
        shapes = [f"{key} {list(own)}, given {list(given)}" for key, own, given in r.misshaped]
        for kind, keys in (("missing", r.missing), ("unused", r.unused), ("other shape", shapes)):
            _list(f"{name}, {kind}", list(keys), console)
    console.say(f"{report.share:.1%} of the network's numbers are those of {pretrained.name}")
    for note in report.notes:
        console.remark(note)


def _list(title: str, keys: list[str], console: Console) -> None:
    if keys:
        more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
        console.say(f"{title}: {'; '.join(keys[:_SHOWN])}{more}")


def _save(path: Path, network: Segmenter3d, facts: dict[str, Any], console: Console) -> str:
    from napari_medssl.models.bundle import module_bundle, save_bundle
    from napari_medssl.models.segmenter3d import NAME, ROLE

    card = {"description": "a network to be trained: its decoder or head has first weights", **facts}
    digest = save_bundle(path, module_bundle(ROLE, NAME, network, card))
    console.say(f"written: {path}")
    return digest
