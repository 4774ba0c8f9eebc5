"""The dock widget "Pretraining": methods in its list, a run from open scans, stop and go on, refusals."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget, QVBoxLayout, QWidget

from napari_medssl.errors import SettingsError
from napari_medssl.io import write
from napari_medssl.models.bundle import load_bundle
from napari_medssl.progress import finish
from napari_medssl.samples.phantom import phantom
from napari_medssl.train.curves import read_curves
from napari_medssl.train.method import find_method
from napari_medssl.train.trainer import TrainingProgress
from napari_medssl.widgets import pretrain
from napari_medssl.widgets._curve_plot import Curve, CurvePlot
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._scroll import FittingScroll
from napari_medssl.widgets._training import _now_and_then, training_request
from napari_medssl.widgets.pretrain import PretrainWidget, _about
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


def open_widget(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, method: Any, *, lasting: bool = True
) -> PretrainWidget:
    """lasting: it is still there when the test ends."""

    def load() -> Any:
        yield from ()
        return {"toy": method}

    monkeypatch.setattr(pretrain, "_load_methods", load)
    widget = PretrainWidget(viewer, EngineHandle(lambda device, weights: FakeEngine()))
    if lasting:
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
    for line, shown in (("A line", "A line. Source"), ("A line.", "A line. Source"), ("A line?", "A line? Source")):
        assert _about(dataclasses.replace(_toy(), line=line)).startswith(shown)
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


def test_a_dock_that_is_taken_away_stops_its_run(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_scan(viewer)
    toy = _toy(steps=100_000, log_every=2, save_every=10**6)
    widget = open_widget(viewer, qtbot, monkeypatch, toy, lasting=False)
    dock = QDockWidget()
    qtbot.addWidget(dock)
    dock.setWidget(widget)
    widget.out.setText(str(tmp_path))
    assert widget.train()
    qtbot.waitUntil(lambda: len(widget.loss_plot.curves) > 0, timeout=60_000)
    gone: list[bool] = []
    widget.destroyed.connect(lambda: gone.append(True))
    widget.setParent(None)  # as napari does when the dock's x is clicked
    qtbot.waitUntil(lambda: (tmp_path / "state.safetensors").is_file() and bool(gone), timeout=20_000)


def test_what_was_left_out_and_advice_are_told(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes: list[str] = []
    monkeypatch.setattr("napari_medssl.widgets._notify.show_warning", notes.append)
    add_scan(viewer)
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / "broken.nii.gz").write_bytes(b"no scan")
    write(folder / "p.nii.gz", phantom("MR", shape=(6, 32, 32))[0])
    widget = open_widget(viewer, qtbot, monkeypatch, _toy())
    assert widget.folder_list.isHidden()
    widget.add_folder(str(folder))
    widget.add_folder(str(folder))
    assert widget.folders == [folder]
    widget.out.setText(str(tmp_path / "run"))
    assert widget.train_button.text() == "Train"
    assert widget.train()
    qtbot.waitUntil(lambda: widget.weights is not None, timeout=60_000)
    assert ["broken.nii.gz" in note for note in notes] == [True]
    assert load_bundle(widget.weights).card["data"] == {"open scans": ["scan"], "scans": ["p.nii.gz"]}
    assert widget.train_button.text() == "Go on training"
    widget.folder_list.setCurrentRow(0)
    widget.remove_button.click()
    assert widget.folders == []
    assert widget.folder_list.isHidden()


def test_settings_that_are_ruled_out_are_refused(tmp_path: Path) -> None:
    method = find_method("mio-v3")
    bad = dataclasses.replace(method.small, temperature=0.07)
    with pytest.raises(SettingsError, match="makes MIOv3 collapse"):
        training_request(method, bad, [], [tmp_path], str(tmp_path), "cpu")
    assert training_request(method, method.small, [], [tmp_path], str(tmp_path), "cpu").advice == ()


def test_small_runs_ask_the_neighbours_a_few_times(
    viewer: ViewerModel, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = open_widget(viewer, qtbot, monkeypatch, _toy(steps=200, monitor_every=500))
    assert widget.form is not None
    assert widget.form.read().run.monitor_every == 50
    widget.method_box.setEditText("no such method")
    widget.method_box.lineEdit().editingFinished.emit()
    assert widget.method_box.currentText().startswith("toy ·")


def test_steps_of_a_moment_are_not_all_reported(tmp_path: Path) -> None:
    closed: list[bool] = []

    def steps() -> Any:
        try:
            for done in range(1, 1001):
                yield TrainingProgress(done, 1000, "training", values={} if done % 100 else {"loss": 1.0})
        finally:
            closed.append(True)
        return tmp_path

    seen: list[Any] = []
    assert finish(_now_and_then(steps()), seen.append) == tmp_path
    assert [step for p in seen for step, values in p.points] == list(range(100, 1001, 100))
    assert len(seen) < 50
    stopped = _now_and_then(steps())
    next(stopped)
    stopped.close()
    assert closed == [True, True]


def test_a_column_grows_with_what_is_unfolded(qtbot: QtBot) -> None:
    content, inner = QWidget(), QWidget()
    QVBoxLayout(content).addWidget(inner)
    area = FittingScroll(content)
    qtbot.addWidget(area)
    area.show()
    inner.setMinimumWidth(700)
    qtbot.waitUntil(lambda: area.minimumWidth() > 700, timeout=5_000)


def test_a_long_curve_is_drawn_quickly(qtbot: QtBot) -> None:
    plot = CurvePlot("step", empty="nothing yet")
    qtbot.addWidget(plot)
    plot.resize(300, 130)
    many = np.arange(200_000)
    plot.show_curves(Curve("loss", many.tolist(), np.sin(many / 9000).tolist()))
    start = time.monotonic()
    plot.grab()
    assert time.monotonic() - start < 1.0
