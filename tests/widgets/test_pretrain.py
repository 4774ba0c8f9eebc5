"""The dock widget "Pretraining": methods in its list, a run from open scans, stop and go on, refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_medssl.models.bundle import load_bundle
from napari_medssl.train.curves import read_curves
from napari_medssl.widgets import pretrain
from napari_medssl.widgets._curve_plot import Curve, CurvePlot
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets.pretrain import PretrainWidget
from tests.train.toy import ToySettings, toy_method
from tests.widgets.conftest import FakeEngine


def _toy(**run: Any) -> Any:
    method = toy_method()
    base = ToySettings()
    return dataclasses.replace(method, small=dataclasses.replace(base, run=dataclasses.replace(base.run, **run)))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Error sentences shown."""
    sentences: list[str] = []
    monkeypatch.setattr("napari_medssl.widgets._notify.show_error", sentences.append)
    return sentences


def open_widget(viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, method: Any) -> PretrainWidget:
    def load() -> Any:
        yield from ()
        return {"toy": method}

    monkeypatch.setattr(pretrain, "_load_methods", load)
    widget = PretrainWidget(viewer, EngineHandle(lambda device, weights: FakeEngine()))
    qtbot.addWidget(widget)
    qtbot.waitUntil(lambda: widget.method is not None, timeout=10_000)
    return widget


def add_scan(viewer: ViewerModel, name: str = "scan") -> Image:
    rng = np.random.default_rng(0)
    return viewer.add_layer(Image(rng.normal(100, 20, (6, 20, 24)).astype(np.float32), name=name))


def test_a_run_on_open_scans(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_scan(viewer)
    widget = open_widget(viewer, qtbot, monkeypatch, _toy())
    assert widget.scan_text.text() == "scan"
    assert "tells brightness" in widget.method_text.text()
    widget.out.setText(str(tmp_path / "run"))
    assert widget.train()
    qtbot.waitUntil(lambda: widget.weights is not None, timeout=60_000)
    assert widget.weights == tmp_path / "run" / "encoder.safetensors"
    card = load_bundle(widget.weights).card
    assert card["data"] == {"open scans": ["scan"]}
    logged = read_curves(tmp_path / "run" / "log.csv")
    assert [int(x) for x in widget.loss_plot.curves[0].x] == list(logged)
    assert widget.loss_plot.curves[0].y[-1] == pytest.approx(logged[12]["loss"], rel=1e-4)
    assert not widget.use_button.isHidden()
    widget.use_weights()
    assert widget.engine.weights == str(widget.weights)


def test_stop_and_go_on(viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add_scan(viewer)
    widget = open_widget(viewer, qtbot, monkeypatch, _toy(steps=1500, log_every=5, save_every=10_000))
    widget.out.setText(str(tmp_path))
    assert widget.train()
    qtbot.waitUntil(lambda: len(widget.loss_plot.curves) > 0, timeout=60_000)
    widget.work.cancel()
    qtbot.waitUntil(lambda: not widget.work.running, timeout=60_000)
    assert widget.weights is None
    assert (tmp_path / "state.safetensors").is_file()
    stopped_at = max(read_curves(tmp_path / "log.csv"))
    assert stopped_at < 1500
    assert widget.train()
    assert [int(x) for x in widget.loss_plot.curves[0].x][-1] >= stopped_at  # the curve goes on where it was
    qtbot.waitUntil(lambda: widget.weights is not None, timeout=60_000)
    steps = list(read_curves(tmp_path / "log.csv"))
    assert steps == sorted(set(steps))
    assert steps[-1] == 1500


@pytest.mark.parametrize(
    ("scan", "folder", "out", "sentence"),
    [
        (False, "", "run", "nothing to learn from"),
        (True, "", "  ", "choose a folder for the run"),
        (False, "missing", "run", "missing is not a folder"),
    ],
)
def test_what_is_missing_is_said(
    scan: bool,
    folder: str,
    out: str,
    sentence: str,
    viewer: ViewerModel,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    told: list[str],
) -> None:
    if scan:
        add_scan(viewer)
    widget = open_widget(viewer, qtbot, monkeypatch, _toy())
    if folder:
        widget.add_folder(str(tmp_path / folder))
    widget.out.setText(str(tmp_path / out) if out.strip() else out)
    widget.train()
    qtbot.waitUntil(lambda: bool(told) and not widget.work.running, timeout=20_000)
    assert sentence in told[0]
    assert widget.train_button.isEnabled()


def test_labels_are_asked_for(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: list[str]
) -> None:
    add_scan(viewer)
    widget = open_widget(viewer, qtbot, monkeypatch, dataclasses.replace(_toy(), labels=True))
    widget.out.setText(str(tmp_path))
    assert not widget.train()
    assert "toy learns from labels: add a folder with images/ and labels/" in told[0]


def test_closing_while_it_trains_saves_the_state(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_scan(viewer)
    widget = open_widget(viewer, qtbot, monkeypatch, _toy(steps=100_000, log_every=2, save_every=10**6))
    widget.out.setText(str(tmp_path))
    assert widget.train()
    qtbot.waitUntil(lambda: len(widget.loss_plot.curves) > 0, timeout=60_000)
    widget.close()
    qtbot.waitUntil(lambda: (tmp_path / "state.safetensors").is_file(), timeout=20_000)
    qtbot.waitUntil(lambda: not widget.work.running, timeout=20_000)


def test_plot_draws_gaps_and_single_points(qtbot: QtBot) -> None:
    plot = CurvePlot("step")
    qtbot.addWidget(plot)
    plot.resize(300, 130)
    empty = plot.grab().toImage()
    plot.show_curves(Curve("loss", [0, 10, 20, 30], [3.0, 2.0, float("nan"), 1.0]), Curve("knn", [30], [0.5]))
    drawn = plot.grab().toImage()
    assert drawn != empty
    assert "loss: 1 at 30" in plot.toolTip()
    plot.show_curves(Curve("loss", [], []))
    assert plot.curves == ()
