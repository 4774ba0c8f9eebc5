"""Figures of an evaluation, when matplotlib is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.cli.figure import new_figure, save_figure

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.analyse import Analysis
    from napari_medssl.evaluate.compare import Row

_LIMIT = 40  # bars that can still be read


def draw_rows(rows: Sequence[Row], path: Path, console: Console) -> None:
    """Curves over the share of labels, or bars when there is one share only; a panel per data set."""
    sets = list(dict.fromkeys(r.data for r in rows))
    curves = len({r.share for r in rows}) > 1
    lines = max(sum(r.data == d for r in rows) for d in sets)
    figure = new_figure(6.5 * len(sets), 4.5 if curves else 1.5 + 0.28 * min(lines, _LIMIT), console)
    if figure is None:
        return
    for axes, data in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        mine = [r for r in rows if r.data == data and r.value is not None]
        (_curves if curves else _bars)(axes, mine)
        axes.set_title(data)
    save_figure(figure, path, console)


def draw_analyses(
    found: Sequence[Analysis], similarity: list[list[float]] | None, path: Path, console: Console
) -> None:
    """Principal components of every encoder's features, the similarity of layers, and the density of eigenvalues."""
    curved = [a for a in found if a.spectrum is not None]
    panels = len(found) + (similarity is not None) + bool(curved)
    figure = new_figure(4.5 * panels, 4.2, console)
    if figure is None:
        return
    places = iter(figure.subplots(1, panels, squeeze=False)[0])
    for analysis in found:
        axes = next(places)
        axes.scatter(*analysis.picture.T, s=8, c=np.arange(len(analysis.picture)), cmap="viridis")
        first, second = (100 * s for s in analysis.shares)
        axes.set(title=analysis.name, xlabel=f"first component, {first:.0f} %", ylabel=f"second, {second:.0f} %")
    if similarity is not None:
        _similarity(next(places), found, similarity)
    if curved:
        _densities(next(places), curved)
    save_figure(figure, path, console)


def _curves(axes: Any, rows: Sequence[Row]) -> None:
    for weights, protocol in dict.fromkeys((r.weights, r.protocol) for r in rows):
        mine = sorted((r for r in rows if (r.weights, r.protocol) == (weights, protocol)), key=lambda r: r.share)
        style = "--" if "first weights" in weights else ":" if "from scratch" in weights else "-"
        axes.plot(
            [100 * r.share for r in mine], [r.value for r in mine], style, marker="o", label=f"{weights}, {protocol}"
        )
    axes.set(xscale="log", xlabel="labels, %", ylabel=rows[0].main)
    axes.legend(fontsize=7)


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    shown = list(rows)[:_LIMIT][::-1]
    axes.barh([f"{r.weights}, {r.protocol}" for r in shown], [r.value for r in shown], color="0.75")
    for n, row in enumerate(shown):
        interval = row.over_patients[0]
        if interval is not None:
            axes.plot([interval.low, interval.high], [n, n], color="black")
    axes.set_xlabel(f"{rows[0].main}; line: 90 % over patients")


def _similarity(axes: Any, found: Sequence[Analysis], table: list[list[float]]) -> None:
    first, second = found[0], found[-1]
    axes.imshow(table, vmin=0, vmax=1, cmap="magma")
    axes.set_xticks(range(len(second.stages)), list(second.stages), rotation=60)
    axes.set_yticks(range(len(first.stages)), list(first.stages))
    axes.set(title="linear CKA", xlabel=second.name, ylabel=first.name)


def _densities(axes: Any, curved: Sequence[Analysis]) -> None:
    import torch

    for analysis in curved:
        assert analysis.spectrum is not None  # only these are handed in
        low, high = float(analysis.spectrum.values.min()), float(analysis.spectrum.values.max())
        margin = 0.05 * max(high - low, 1e-12)
        grid = torch.linspace(low - margin, high + margin, 400, dtype=torch.float64)
        axes.semilogy(grid, analysis.spectrum.density(grid, sigma=margin / 5).clamp(min=1e-8), label=analysis.name)
    axes.set(title="eigenvalues of the loss", xlabel="eigenvalue", ylabel="density")
    axes.legend(fontsize=7)
