"""`medssl weights`: the trained weights that are installed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("name", nargs="?", help="an installed set, or a .safetensors file: print its model card")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")


def run(args: argparse.Namespace, console: Console) -> None:
    """List the sets, or print one card."""
    import json

    from napari_medssl.report import plain

    if args.name is None:
        sets = _installed()
        if args.json:
            console.say(json.dumps(plain(sets), indent=2, ensure_ascii=False))
            return
        rows = [
            (s["name"], ", ".join(s["modules"].values()), f"{s['nbytes'] / 2**20:.1f}", s["sha256"][:12]) for s in sets
        ]
        console.table(("name", "modules", "MiB", "SHA-256"), rows, left=2)
        console.say("\nmedssl weights NAME prints the model card")
        return
    card = _card(args.name)
    if args.json:
        console.say(json.dumps(plain(card), indent=2, ensure_ascii=False))
        return
    for line in card_lines(card):
        console.say(line)


def card_lines(facts: Any, indent: int = 0) -> list[str]:
    """Nested facts as indented `name: value` lines."""
    lines: list[str] = []
    for name, value in facts.items():
        label = f"{'  ' * indent}{name}:"
        if isinstance(value, dict):
            lines += [label, *card_lines(value, indent + 1)]
        elif isinstance(value, (list, tuple)) and any(isinstance(v, (dict, list)) for v in value):
            lines.append(label)
            for v in value:
                lines += card_lines(v, indent + 1) if isinstance(v, dict) else [f"{'  ' * (indent + 1)}{v}"]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            lines.append(f"{label} {text}")
    return lines


def _installed() -> list[dict[str, Any]]:
    import dataclasses

    from napari_medssl.engine.weights import list_weights

    return [dataclasses.asdict(facts) for facts in list_weights()]


def _card(name: str) -> dict[str, Any]:
    """Facts of an installed set or of a file. Raises WeightsError when there is none of that name."""
    from napari_medssl.engine.weights import resolve_weights
    from napari_medssl.models.bundle import load_bundle

    for facts in _installed():
        if facts["name"] == name:
            return facts
    path = resolve_weights(Path(name) if Path(name).is_file() else name).path
    if path is None:
        return next(facts for facts in _installed() if facts["path"] is None)
    bundle = load_bundle(path)
    modules = {role: str(entry["name"]) for role, entry in bundle.modules.items()}
    size = path.stat().st_size
    return {
        "name": path.name,
        "path": path,
        "nbytes": size,
        "sha256": bundle.sha256,
        "modules": modules,
        "card": bundle.card,
    }
