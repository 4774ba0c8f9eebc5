"""The parts of the widget by themselves: form, clock, engine handle, history, table, export."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QWidget

from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.io import read
from napari_medssl.labels import Label, default_label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.progress import Progress, finish
from napari_medssl.settings import setting
from napari_medssl.volume import Volume
from napari_medssl.widgets._engine import EngineHandle, engine_for
from napari_medssl.widgets._export import export_steps, with_ending
from napari_medssl.widgets._form import SettingsForm
from napari_medssl.widgets._history import History
from napari_medssl.widgets._notify import unexpected
from napari_medssl.widgets._results import organ_rows
from napari_medssl.widgets._work import Clock
from tests.widgets.conftest import FakeEngine


@dataclass(frozen=True)
class Inner:
    depth: int = setting(3, "how deep", ge=1, le=9)


@dataclass(frozen=True)
class Outer:
    size: int = setting(40, "how large", ge=10, le=99)
    share: float = setting(0.05, "how much", ge=0.0, le=1.0)
    tiny: float = setting(1e-4, "how little", ge=0.0, le=1.0)
    mode: Literal["fast", "good"] = setting("good", "how")
    window: Literal[2, 4] = setting(4, "a number to choose")
    on: bool = setting(True, "whether", advanced=True)
    words: str = setting("a b", "which")
    kept: tuple[int, ...] = setting((1, 2), "no entry for this")
    inner: Inner = field(default_factory=Inner)


def test_form_reads_back_what_it_was_made_from(qtbot: QtBot) -> None:
    for settings in (Outer(), Outer(size=77, share=0.123, tiny=0.0003, mode="fast", window=2), SegmentSettings()):
        form = SettingsForm(settings)
        qtbot.addWidget(form)
        assert form.read() == settings


def test_form_edits_reach_the_settings(qtbot: QtBot) -> None:
    form = SettingsForm(Outer())
    qtbot.addWidget(form)
    entries = dict(form.entries())
    assert set(entries) == {"size", "share", "tiny", "mode", "window", "on", "words", "inner.depth"}
    with qtbot.waitSignal(form.changed):
        entries["inner.depth"].value = 7
    entries["mode"].value = "fast"
    assert form.read() == Outer(mode="fast", inner=Inner(7))
    assert (entries["size"].min, entries["size"].max, entries["size"].tooltip) == (10, 99, "how large")
    form.write(Outer(size=11))
    assert form.read() == Outer(size=11)


def test_form_refuses_what_the_settings_refuse(qtbot: QtBot) -> None:
    @dataclass(frozen=True)
    class Odd:
        share: float = setting(2.0, "above its limit already", ge=0.0, le=3.0)

    form = SettingsForm(Odd())
    qtbot.addWidget(form)
    dict(form.entries())["share"].max = 50
    dict(form.entries())["share"].value = 40
    with pytest.raises(SettingsError, match="share is 40"):
        form.read()


def test_clock_tells_the_time_left_of_a_stage() -> None:
    now = [0.0]
    clock = Clock(lambda: now[0])
    assert clock.left(Progress(0, 100, "encoding")) == ""
    now[0] = 0.5
    assert clock.left(Progress(10, 100, "encoding")) == ""  # too early
    now[0] = 5.0
    assert clock.left(Progress(20, 100, "encoding")) == "about 20 s left"
    now[0] = 100.0
    assert clock.left(Progress(50, 200, "refining")) == ""  # a new stage, whatever came before
    now[0] = 200.0
    assert clock.left(Progress(75, 200, "refining")) == "about 8 min left"
    assert clock.left(Progress(0, 0, "loading")) == ""


def test_engine_is_made_late_once_per_viewer_device_and_weights() -> None:
    made: list[tuple[str, str]] = []

    def factory(device: str, weights: str) -> FakeEngine:
        made.append((device, weights))
        return FakeEngine()

    handle = EngineHandle(factory)
    assert made == []
    first = handle.get()
    assert handle.get() is first
    handle.device = "cpu"
    second = handle.get()
    assert second is not first
    assert first.closed
    handle.weights = "mine.safetensors"
    third = handle.get()
    assert second.closed
    handle.close()
    assert third.closed
    assert made == [("auto", "default"), ("cpu", "default"), ("cpu", "mine.safetensors")]


def test_two_threads_get_one_engine() -> None:
    handle = EngineHandle(lambda device, weights: FakeEngine())
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(handle.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, got))) == 1


def test_viewers_have_their_own_engine_which_dies_with_the_last_widget(qtbot: QtBot) -> None:
    one, other = ViewerModel(), ViewerModel()
    assert engine_for(one) is engine_for(one)
    assert engine_for(one) is not engine_for(other)
    handle = EngineHandle(lambda device, weights: FakeEngine())
    widgets = QWidget(), QWidget()
    for widget in widgets:
        handle.follow(widget)
    engine = handle.get()
    widgets[0].deleteLater()
    qtbot.wait(20)
    assert not engine.closed
    widgets[1].deleteLater()
    qtbot.waitUntil(lambda: engine.closed)


def result(value: int, shape: tuple[int, int, int] = (2, 3, 4)) -> Segmentation:
    """A result full of one label."""
    labels = Volume(np.full(shape, value, np.uint8), np.eye(4), labels=(default_label(value),))
    return Segmentation(labels, {}, {"run": value})


def test_history_walks_and_forgets() -> None:
    history = History(budget_bytes=3 * 24)
    assert history.present is None
    for value in (1, 2, 3):
        history.push(result(value))
    assert history.undo().report["run"] == 2
    assert history.undo().report["run"] == 1
    with pytest.raises(IndexError, match="no earlier"):
        history.undo()
    assert history.redo().report["run"] == 2
    history.push(result(4))  # 3 is gone
    assert not history.can_redo
    history.push(result(5))  # over the budget: 1 is gone
    assert history.undo().report["run"] == 4
    assert history.undo().report["run"] == 2
    assert not history.can_undo


def test_history_keeps_two_results_of_any_size() -> None:
    history = History(budget_bytes=1)
    for value in (1, 2, 3):
        history.push(result(value))
    assert history.undo().report["run"] == 2
    assert not history.can_undo


def test_history_amends_with_a_copy() -> None:
    history = History()
    history.push(result(1))
    edited = np.full((2, 3, 4), 1, np.uint8)
    history.amend(edited, (Label(1, "liver", (1, 2, 3)),))
    assert history.present is not None
    assert history.present.labels.labels[0].name == "liver"
    assert "edited_by_hand" not in history.present.report
    edited[0, 0, 0] = 0
    history.amend(edited, (Label(1, "liver", (1, 2, 3)),))
    edited[:] = 9
    assert history.present.labels.data.sum() == 23
    assert history.present.report["edited_by_hand"] is True


def test_a_cube_of_ten_millimetres_is_one_millilitre() -> None:
    data = np.zeros((20, 20, 20), np.uint8)
    data[3:13, 5:15, 5:15] = 2
    truth = np.zeros_like(data)
    truth[3:13, 5:15, 10:20] = 2
    rows = organ_rows(data, (Label(2, "cube", (0, 0, 0)), Label(7, "empty", (0, 0, 0))), 0.001, truth)
    assert (rows[0].voxels, rows[0].volume_ml, rows[0].first, rows[0].last) == (1000, pytest.approx(1.0), 3, 12)
    assert rows[0].dice == pytest.approx(0.5)
    assert (rows[1].voxels, rows[1].first, rows[1].last, rows[1].dice) == (0, None, None, 1.0)
    assert organ_rows(data, (Label(2, "cube", (0, 0, 0)),), 0.001)[0].dice is None


def test_table_of_labels_without_organs_or_voxels() -> None:
    assert organ_rows(np.zeros((2, 3, 4), np.uint8), (), 1.0) == ()
    assert organ_rows(np.zeros((0, 3, 4), np.uint8), (default_label(1),), 1.0)[0].voxels == 0


def test_export_writes_labels_table_and_report(tmp_path: Path) -> None:
    volume = Volume(np.eye(4, dtype=np.uint8)[None], np.diag([2.0, 1, 1, 1]), labels=(Label(1, "line", (9, 9, 9)),))
    path = finish(export_steps(tmp_path / "out.nii.gz", volume, {"seed": 3, "where": Path("a")}))
    np.testing.assert_array_equal(read(path, labels=True).data, volume.data)
    assert json.loads((tmp_path / "out.report.json").read_text())["seed"] == 3
    assert json.loads((tmp_path / "out.labels.json").read_text())["labels"][0]["name"] == "line"


def test_failed_export_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.nii.gz"
    path.write_bytes(b"the old mask")
    broken = Volume(np.full((1, 2, 3), 0.5, np.float32), np.eye(4))
    with pytest.raises(FormatError):
        finish(export_steps(path, broken, {}))
    assert path.read_bytes() == b"the old mask"
    assert [p.name for p in tmp_path.iterdir()] == ["out.nii.gz"]


def test_endings_are_added_once() -> None:
    assert with_ending(Path("a/b"), ".nii.gz").name == "b.nii.gz"
    assert with_ending(Path("a/b.seg.nrrd"), ".nii.gz").name == "b.seg.nrrd"
    assert with_ending(Path("a/dr.who"), ".npz").name == "dr.who.npz"


def test_unexpected_errors_say_what_to_do() -> None:
    assert "choose the device 'cpu'" in unexpected(RuntimeError("CUDA error: lost\nmore"), "The run")
    assert "more" not in unexpected(RuntimeError("CUDA error: lost\nmore"), "The run")
    assert unexpected(ValueError(), "The run").startswith("The run stopped unexpectedly (ValueError")
