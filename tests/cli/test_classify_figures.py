"""The figure of a classification is written, whatever the data allow."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from napari_medssl.cli.classify_figures import Judged, draw_judged, judged_labels, reliability_panel, roc_panel
from napari_medssl.cli.console import Console


@pytest.fixture
def lines():
    rng = np.random.default_rng(0)
    probability = rng.random((80, 3))
    truth = (rng.random((80, 3)) < probability).astype(float)
    truth[:, 2] = 0
    truth[:40, 1] = np.nan
    return judged_labels(("tear", "oedema", "never"), truth, probability)


def test_labels_that_are_not_known_are_left_out(lines):
    assert [(line.name, len(line.truth)) for line in lines] == [("tear", 80), ("oedema", 40), ("never", 80)]
    assert judged_labels(("x",), np.full((3, 1), np.nan), np.zeros((3, 1))) == []


def test_the_figure_is_written(lines, tmp_path, capsys):
    many = [*lines, *[Judged(f"more {n}", lines[0].truth, lines[0].probability) for n in range(7)]]
    draw_judged(many, tmp_path / "scores.png", Console(), before=lines, title="knees")
    with Image.open(tmp_path / "scores.png") as picture:
        assert picture.width > 1000
    assert "first 8 of 10" in capsys.readouterr().err


def test_panels_say_what_there_is(lines):
    axes = Figure().subplots(1, 2)
    roc_panel(axes[0], lines)
    texts = [t.get_text() for t in axes[0].get_legend().get_texts()]
    assert texts[0].startswith("tear, AUC 0.")
    assert texts[2] == "never, no curve"
    reliability_panel(axes[1], lines[:1])
    drawn = axes[1].get_lines()[-1] if axes[1].get_lines() else None
    assert drawn is not None
    low, high = axes[1].get_ylim()
    assert low < 0 < 1 < high
