"""Figures of a classification: ROC, precision and recall, and calibration, when matplotlib is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.cli.figure import new_figure, save_figure

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_medssl.cli.console import Console

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
_LIMIT = len(_COLOURS)  # lines of a panel that can be told apart


@dataclass(frozen=True, eq=False)
class Judged:
    """One line of each panel: a label, a model or a fold.

    name: for the legend. truth: (N,) 0 or 1. probability: (N,) in [0, 1].
    """

    name: str
    truth: npt.NDArray[Any]
    probability: npt.NDArray[Any]


def judged_labels(labels: Sequence[str], truth: npt.NDArray[Any], probability: npt.NDArray[Any]) -> list[Judged]:
    """A line per label of (N, L) truth and probabilities; examples whose truth is NaN, not known, are left out."""
    lines = []
    for c, name in enumerate(labels):
        known = ~np.isnan(np.asarray(truth[:, c], np.float64))
        if known.any():
            lines.append(Judged(name, truth[known, c], probability[known, c]))
    return lines


def draw_judged(
    lines: Sequence[Judged], path: Path, console: Console, *, before: Sequence[Judged] = (), title: str = ""
) -> None:
    """ROC, precision-recall and reliability side by side into a PNG; a remark when matplotlib is not there.

    lines: the first eight are drawn. before: the same without calibration, dashed in the third panel.
    """
    figure = new_figure(14.5, 4.9, console)
    if figure is None:
        return
    if len(lines) > _LIMIT:
        console.remark(f"the figure shows the first {_LIMIT} of {len(lines)} labels")
    panels = figure.subplots(1, 3)
    roc_panel(panels[0], lines)
    precision_recall_panel(panels[1], lines)
    reliability_panel(panels[2], lines, before=before)
    if title:
        figure.suptitle(title)
    save_figure(figure, path, console)


def roc_panel(axes: Any, lines: Sequence[Judged]) -> None:
    """ROC curves with their areas; the diagonal is chance."""
    from napari_medssl.metrics.curves import roc

    for line, colour in zip(lines, _COLOURS, strict=False):
        curve = roc(line.truth, line.probability)
        area = "no curve" if curve.area.value is None else f"AUC {curve.area.value:.3f}"
        axes.plot(curve.x, curve.y, color=colour, label=f"{line.name}, {area}")
    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls=":")
    _square(axes, "ROC", "1 - specificity", "sensitivity")


def precision_recall_panel(axes: Any, lines: Sequence[Judged]) -> None:
    """Precision over recall with the average precision; a short line at the right is chance, the prevalence."""
    from napari_medssl.metrics.curves import precision_recall

    for line, colour in zip(lines, _COLOURS, strict=False):
        curve = precision_recall(line.truth, line.probability)
        area = "no curve" if curve.area.value is None else f"AP {curve.area.value:.3f}"
        axes.step(curve.x, curve.y, where="pre", color=colour, label=f"{line.name}, {area}")
        axes.plot([0.97, 1.03], [curve.chance] * 2, color=colour, lw=2.5, solid_capstyle="butt", clip_on=False)
    _square(axes, "precision and recall", "recall", "precision")


def reliability_panel(axes: Any, lines: Sequence[Judged], *, before: Sequence[Judged] = ()) -> None:
    """How often it was so over what was said, with 95 % intervals; on the diagonal, both are the same."""
    from napari_medssl.metrics.classification import calibration_error
    from napari_medssl.metrics.curves import reliability

    axes.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls=":")
    for line, colour in zip(lines, _COLOURS, strict=False):
        bins = reliability(line.truth, line.probability)
        off = [np.maximum(bins.observed - bins.low, 0), np.maximum(bins.high - bins.observed, 0)]
        error = calibration_error(line.probability, line.truth)
        axes.errorbar(
            bins.stated, bins.observed, yerr=off, color=colour, marker="o", ms=3, lw=1.2, elinewidth=0.6,
            label=f"{line.name}, ECE {error:.3f}",
        )  # fmt: skip
    for line, colour in zip(before, _COLOURS, strict=False):
        bins = reliability(line.truth, line.probability)
        axes.plot(bins.stated, bins.observed, "--", color=colour, lw=0.8, alpha=0.7)
    _square(axes, "calibration" + ("; dashed: before" if before else ""), "probability", "share that was so")


def _square(axes: Any, title: str, across: str, up: str) -> None:
    axes.set(title=title, xlabel=across, ylabel=up, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
