"""`medssl pretrain`: train an encoder on your own scans."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_settings
from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


@dataclass(frozen=True)
class Recipe:
    """One way to train: where its function and settings class are.

    own_scans: it takes paths of scans and a device; the others take cases with labels and train on the CPU.
    """

    text: str
    module: str
    function: str
    settings: str
    own_scans: bool

    def load(self) -> tuple[Callable[..., Any], type]:
        """The function `(data, out, settings) -> Steps[Path]` and its settings class."""
        module = import_module(self.module)
        return getattr(module, self.function), getattr(module, self.settings)


RECIPES = {
    "cowpro": Recipe(
        "self-supervised episodes on superpixels, as published (no labels needed)",
        "napari_medssl.train.cowpro",
        "train_cowpro",
        "CowproTrainSettings",
        own_scans=True,
    ),
    "incontext": Recipe(
        "episodes on labels and superpixels: the encoder of the default weights",
        "napari_medssl.train.incontext",
        "train_incontext",
        "InContextSettings",
        own_scans=False,
    ),
    "propagation": Recipe(
        "masks carried from slice to slice: the propagator of the default weights",
        "napari_medssl.train.propagation",
        "train_propagation",
        "PropagationSettings",
        own_scans=False,
    ),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    recipes = "\n".join(f"  {name:<12} {recipe.text}" for name, recipe in RECIPES.items())
    parser.epilog = (
        f"recipes:\n{recipes}\n\nA run found in --out is continued. Ctrl-C loses at most the last few steps."
    )
    parser.add_argument("recipe", choices=RECIPES, help="how to train")
    parser.add_argument(
        "data",
        type=Path,
        nargs="*",
        help="folders with images/ (and labels/) or with scans; for cowpro also single scans and DICOM folders",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for weights, log and state")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="NAME", help="leave out scans named like this"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps; cowpro only")
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Train, then write the report beside the weights."""
    import hashlib
    import time

    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.report import environment, report_path, write_report
    from napari_medssl.settings import to_dict

    train, kind = RECIPES[args.recipe].load()
    if args.list_settings:
        return list_settings(console, kind)
    if not args.data or args.out is None:
        console.problem(f"pretrain {args.recipe} also needs DATA and --out DIR; see medssl pretrain --help")
        return 2
    settings: Any = settings_from(kind, file=args.settings, assignments=args.set)
    data, facts = _data(args)
    args.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    steps = train(data, args.out, settings, **_device(args))
    weights = console.follow(steps)
    report = {**environment(), "command": ["medssl", *args.argv], "recipe": args.recipe, "settings": to_dict(settings)}
    report |= {"seed": getattr(settings, "seed", None), "data": facts, "seconds": round(time.perf_counter() - start, 1)}
    report["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    write_report(report_path(weights), report)
    console.say(f"written: {weights}\nuse it: medssl segment ... --weights {weights}")
    return None


def _device(args: argparse.Namespace) -> dict[str, Any]:
    """The keyword for the device, for a recipe that takes one."""
    from napari_medssl.engine.device import choose_device

    if RECIPES[args.recipe].own_scans:
        return {"device": choose_device(args.device)}
    if args.device not in ("auto", "cpu"):
        raise SettingsError(f"the recipe {args.recipe!r} trains on the CPU only; leave --device {args.device} out")
    return {}


def _data(args: argparse.Namespace) -> tuple[Any, dict[str, list[str]]]:
    """What the recipe's function takes, and the scans by data set for the report."""
    from napari_medssl.train.dataset import collect_cases, data_facts

    folders, single = [p for p in args.data if _holds_scans(p)], [p for p in args.data if not _holds_scans(p)]
    if single and not RECIPES[args.recipe].own_scans:
        folders, single = args.data, []  # its reader says what is wrong with them
    cases = collect_cases(folders, exclude=tuple(args.exclude))
    facts = data_facts(cases) | ({"single scans": [p.name for p in single]} if single else {})
    return ([case.image for case in cases] + single if RECIPES[args.recipe].own_scans else cases), facts


def _holds_scans(path: Path) -> bool:
    """Whether a path is a folder of scans, and not itself a scan: a file, or a folder with a DICOM series."""
    from napari_medssl.train.dataset import SUFFIXES

    if not path.is_dir():
        return not path.is_file()  # a path that is not there is reported by the reader of folders
    return (path / "images").is_dir() or any(p.name.endswith(SUFFIXES) for p in path.iterdir())
