"""Figures beside tables, when matplotlib is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def new_figure(width: float, height: float, console: Console) -> Any:
    """An empty figure, or None with a remark when matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        console.remark("no figure: matplotlib is not installed (pip install matplotlib)")
        return None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path, console: Console) -> None:
    """Write a PNG, whole or not at all."""
    from napari_medssl.io.atomic import replacing

    with replacing(path) as (part,):
        figure.savefig(part, format="png", dpi=120)
    console.say(f"written: {path}")
