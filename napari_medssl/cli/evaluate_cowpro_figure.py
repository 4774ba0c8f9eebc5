"""The figure of `medssl evaluate cowpro`: methods, differences and shares of prototypes beside the thesis' numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.cli.figure import new_figure, save_figure
from napari_medssl.evaluate.cowpro.published import PERCENTS

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.cowpro.tables import Effect, Table

_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7")


def draw(tables: Sequence[Table], effects: Sequence[Effect], path: Path, console: Console) -> None:
    """Three panels into a PNG; a remark when matplotlib is not there."""
    figure = new_figure(19, 7, console)
    if figure is None:
        return
    methods, changes, shares = figure.subplots(1, 3)
    _methods(methods, tables[0])
    _effects(changes, [e for e in effects if "prototypes" not in e.name])
    _shares(shares, tables[3])
    save_figure(figure, path, console)


def _methods(axes: Any, table: Table) -> None:
    """Bars of our rows; a line where the thesis has a number for the same row."""
    rows = [row for row in table.rows if any(row.ours)]
    width = 0.8 / len(rows)
    for n, (row, colour) in enumerate(zip(rows, _COLOURS, strict=False)):
        at = np.arange(len(table.columns)) + (n - len(rows) / 2 + 0.5) * width
        values = [np.nan if m is None else m.value for m in row.ours]
        spread = [0.0 if m is None else m.over_folds or 0.0 for m in row.ours]
        axes.bar(at, values, width, yerr=spread, color=colour, label=row.name, error_kw={"lw": 0.8})
        for x, number in zip(at, row.thesis, strict=True):
            if number is not None:
                axes.plot([x - width / 2, x + width / 2], [number, number], color="black", lw=1.5)
    axes.set_xticks(range(len(table.columns)), table.columns)
    axes.set(title="Table 7.1; line: thesis; bar: sd over folds", ylabel="Dice, %", ylim=(0, 118))
    axes.legend(fontsize=7, loc="upper left", ncols=2)


def _effects(axes: Any, effects: Sequence[Effect]) -> None:
    """Points with intervals, the thesis' numbers as crosses, from top to bottom."""
    for n, effect in enumerate(reversed(effects)):
        interval = effect.ours.interval
        if interval is not None:
            axes.plot([interval.low, interval.high], [n, n], color="0.5", lw=1.2)
        axes.plot(effect.ours.value, n, "o", color=_COLOURS[3], ms=4)
        if effect.thesis is not None:
            axes.plot(effect.thesis, n, "x", color=_COLOURS[4], ms=5)
    axes.axvline(0, color="black", lw=0.6)
    axes.set_yticks(range(len(effects)), [f"{e.name}, {e.organ}" for e in reversed(effects)], fontsize=7)
    axes.set(title="o: ours with 95 % over people; x: thesis", xlabel="points of Dice")


def _shares(axes: Any, table: Table) -> None:
    """Dice by the share of prototypes, for the organs the thesis shows; solid ours (fixed threshold), dashed thesis."""
    shown = [i for i, organ in enumerate(table.columns[:-1]) if any(row.thesis[i] is not None for row in table.rows)]
    for i, colour in zip(shown or range(len(table.columns) - 1), _COLOURS, strict=False):
        for window, marker in ((2, "s"), (4, "o")):
            rows = [
                row for row in table.rows if row.name in [f"window {window}, {percent:g} %" for percent in PERCENTS]
            ]
            ours = [np.nan if (m := row.ours[i]) is None else m.value for row in rows]
            thesis = [np.nan if (v := row.thesis[i]) is None else v for row in rows]
            name = f"{table.columns[i]}, window {window}"
            axes.plot(PERCENTS, ours, "-", marker=marker, color=colour, label=name)
            axes.plot(PERCENTS, thesis, "--", marker=marker, color=colour, ms=3, alpha=0.6)
    axes.set(title="Table 7.4; dashed: thesis", xscale="log", xlabel="prototypes kept, %", ylabel="Dice, %")
    axes.set_xticks(PERCENTS, [f"{p:g}" for p in PERCENTS])
    axes.minorticks_off()
    axes.legend(fontsize=7)
