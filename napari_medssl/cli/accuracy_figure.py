"""The figure of an accuracy measurement: Dice by organ with intervals, beside alternatives, and by number of slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.bench.averages import Average, Line, lines
from napari_medssl.cli.figure import new_figure, save_figure

if TYPE_CHECKING:
    from napari_medssl.bench.accuracy import Protocol, Score
    from napari_medssl.cli.console import Console

# As the palette of organs: apart for the common colour-vision deficiencies.
_COLORS = ("#0072b2", "#e69f00", "#009e73", "#999999", "#cc79a7")


def draw_accuracy(
    scores: Sequence[Score], path: Path, console: Console, protocol: Protocol, names: Mapping[int, str]
) -> None:
    """Bars of Dice over the whole scan from the fewest slices; lines when several numbers of slices were tried."""
    found = lines(scores, crossed=protocol.task == "across")
    counts = sorted({line.slices for line in found})
    organs = sorted({line.organ for line in found}, key=lambda organ: organ or 10**9)
    methods = list(dict.fromkeys(line.method for line in found))
    bars = min(12.0, max(4.0, 1.2 + 0.22 * len(organs) * (len(methods) + 1)))
    figure = new_figure(bars + (4.0 if len(counts) > 1 else 0.0), 4.2, console)
    if figure is None:
        return
    shares = [bars, 4.0] if len(counts) > 1 else [bars]
    axes = figure.subplots(1, len(shares), squeeze=False, width_ratios=shares)[0]
    _bars(axes[0], [line for line in found if line.slices == counts[0]], organs, methods, names)
    axes[0].set_title(_title(protocol, counts[0]))
    if len(counts) > 1:
        _curves(axes[1], [line for line in found if not line.organ], counts, methods)
    save_figure(figure, path, console)


def _title(protocol: Protocol, count: int) -> str:
    slices = f"{count} labelled slice" + ("" if count == 1 else "s")
    return f"{slices} of the same scan" if protocol.task == "within" else f"{slices} of another patient"


def _bars(
    axes: Any, found: Sequence[Line], organs: Sequence[int], methods: Sequence[str], names: Mapping[int, str]
) -> None:
    width = 0.8 / len(methods)
    by_place = {(line.method, line.organ): line.values["whole"] for line in found}
    for n, method in enumerate(methods):
        there = [(i, by_place[method, organ]) for i, organ in enumerate(organs) if (method, organ) in by_place]
        places = [i - 0.4 + (n + 0.5) * width for i, _ in there]
        axes.bar(
            places,
            [value.mean or 0.0 for _, value in there],
            width,
            color=_COLORS[n % len(_COLORS)],
            yerr=_errors([value for _, value in there]),
            error_kw={"lw": 0.8},
            label=method,
        )
    texts = [names.get(organ, f"organ {organ}") if organ else "mean" for organ in organs]
    axes.set_xticks(range(len(organs)), texts, rotation=30, ha="right")
    axes.set(ylim=(0, 1), ylabel=f"Dice, whole scan{_over([line.values['whole'] for line in found])}")
    axes.legend(fontsize=8, ncols=len(methods), loc="lower left")


def _curves(axes: Any, found: Sequence[Line], counts: Sequence[int], methods: Sequence[str]) -> None:
    for n, method in enumerate(methods):
        mine = sorted((line for line in found if line.method == method), key=lambda line: line.slices)
        values = [line.values["common"] for line in mine]
        axes.errorbar(
            [line.slices for line in mine],
            [value.mean for value in values],
            yerr=_errors(values),
            color=_COLORS[n % len(_COLORS)],
            marker="o",
            capsize=3,
            label=method,
        )
    axes.set_xticks(list(counts))
    axes.set(xlabel="labelled slices", ylabel="Dice, mean over organs", title="on slices that no number labels")


def _errors(values: Sequence[Average]) -> list[list[float]]:
    """Lengths below and above the means; 0 without an interval."""
    found: list[list[float]] = [[], []]
    for value in values:
        interval, mean = value.interval, value.mean or 0.0
        found[0].append(0.0 if interval is None else max(0.0, mean - interval.low))
        found[1].append(0.0 if interval is None else max(0.0, interval.high - mean))
    return found


def _over(values: Sequence[Average]) -> str:
    interval = next((v.interval for v in values if v.interval is not None), None)
    return "" if interval is None else f"\nline: {interval.label}"
