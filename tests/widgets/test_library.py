"""Adding to a library and applying one in the widget, with a real engine and a small scan."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFileDialog

from napari_medssl.engine import Engine
from napari_medssl.library import Library
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._layers import image_layer
from napari_medssl.widgets._library import AddDialog, Wanted, ask_addition
from napari_medssl.widgets.segment import OneShotWidget
from tests.library.conftest import LIVER, SPLEEN, labels
from tests.library.conftest import scan as make_scan
from tests.library.conftest import support as make_support


@pytest.fixture
def scan(viewer: ViewerModel) -> Image:
    """A scan with two bright balls."""
    return viewer.add_layer(Layer.create(*image_layer(make_scan(0), "scan")))


@pytest.fixture
def real(qtbot: QtBot, viewer: ViewerModel, scan: Image) -> Iterator[OneShotWidget]:
    """The widget with a training-free engine."""
    made = OneShotWidget(viewer, EngineHandle(lambda device, weights: Engine("cpu", "none")))
    qtbot.addWidget(made)
    yield made
    made.engine.close()


@pytest.fixture
def said(told: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("napari_medssl.widgets.segment.tell", told.append)
    return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A library made from another scan."""
    library = Library().add(make_support(make_scan(1), 5, 6, 7), licence="CC0-1.0")
    library.save(tmp_path / "organs.medssl")
    return tmp_path / "organs.medssl"


def label(widget: OneShotWidget, *slices: int) -> Labels:
    """Paint liver and spleen on some slices."""
    widget.panel.organs.rename(1, LIVER.name)
    widget.panel.organs.rename(widget.panel.organs.add().value, SPLEEN.name)
    layer = widget.labelling.make_support()
    assert layer is not None
    for z in slices:
        y, x = np.nonzero(labels()[z])
        layer.data_setitem((np.full_like(y, z), y, x), labels()[z][y, x])
    return layer


def ended(widget: OneShotWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not widget.panel.work.running, timeout=30_000)


def test_labelled_slices_become_examples_of_a_new_file_and_of_one_that_is_there(
    real: OneShotWidget, qtbot: QtBot, said: list[str], tmp_path: Path, path: Path
) -> None:
    label(real, 5, 7)
    assert real.add_to_library(Wanted(tmp_path / "new.medssl", licence="CC-BY-4.0", scanner="3 T", keep="whole"))
    ended(real, qtbot)
    assert said[-1] == "Added liver 1, spleen 1 to new.medssl, which now has 2"
    made = Library.load(tmp_path / "new.medssl")
    assert made.example("liver 1").slices == (5, 7)
    assert made.example("liver 1").licence == "CC-BY-4.0"
    assert made.scans[0].scanner == "3 T"
    assert made.scans[0].volume().content_hash == make_scan(0).content_hash
    np.testing.assert_array_equal(made.example("spleen 1").planes(), labels()[[5, 7]] == 2)
    assert real.add_to_library(Wanted(path, name="mine"))
    ended(real, qtbot)
    assert [e.name for e in Library.load(path).examples] == ["liver 1", "spleen 1", "mine liver", "mine spleen"]


def test_a_library_segments_the_scan_outside_the_gui_thread(
    real: OneShotWidget, qtbot: QtBot, said: list[str], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    load = Library.load
    monkeypatch.setattr(Library, "load", lambda p: (threads.append(threading.get_ident()), load(p))[1])
    with qtbot.waitSignal(real.outcome.shown, timeout=30_000):
        assert real.apply_library(path)
    ended(real, qtbot)
    assert threads
    assert threading.get_ident() not in threads
    assert real.result is not None
    assert [o.name for o in real.result.metadata["medssl"]["labels"]] == ["liver", "spleen"]
    told = real.result.metadata["medssl"]["report"]["library"]
    assert [e["name"] for e in told["examples"] if e["used"]] == ["liver 1", "spleen 1"]
    assert said[-1] == "Segmented with the examples liver 1, spleen 1"
    assert real.support is None  # what a library finds is a result, not the user's own labels


def test_the_scans_own_examples_are_carried_on(real: OneShotWidget, qtbot: QtBot, tmp_path: Path) -> None:
    Library().add(make_support(make_scan(0), 6)).save(tmp_path / "own.medssl")
    with qtbot.waitSignal(real.outcome.shown, timeout=30_000):
        assert real.apply_library(tmp_path / "own.medssl")
    ended(real, qtbot)
    np.testing.assert_array_equal(real.result.data[6], labels()[6])


def test_what_is_missing_is_a_sentence(
    real: OneShotWidget, qtbot: QtBot, said: list[str], tmp_path: Path, path: Path
) -> None:
    assert not real.add_to_library(Wanted(path))
    assert "no organ is labelled yet" in said[-1]
    real.labelling.make_support()
    assert not real.add_to_library(Wanted(path))
    assert "no organ is labelled in 'scan support'" in said[-1]
    path.write_bytes(b"broken")
    for file, words in ((tmp_path / "absent.medssl", "there is no library at"), (path, "is no library")):
        assert real.apply_library(file)
        ended(real, qtbot)
        assert words in said[-1]
        assert real.result is None
    label(real, 6)
    assert real.add_to_library(Wanted(path))
    ended(real, qtbot)
    assert "is no library" in said[-1]
    assert path.read_bytes() == b"broken"


def test_only_one_run_at_a_time(real: OneShotWidget, qtbot: QtBot, said: list[str], path: Path) -> None:
    assert real.apply_library(path)
    assert not real.apply_library(path)
    assert "A run is under way" in said[-1]
    ended(real, qtbot)


def test_the_dialog_asks_for_file_and_words(
    qtbot: QtBot, real: OneShotWidget, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dialog = AddDialog((LIVER, SPLEEN), Path("organs.medssl"))
    qtbot.addWidget(dialog)
    save = dialog.buttons.button(QDialogButtonBox.StandardButton.Save)
    dialog.path.setText("  ")
    assert not save.isEnabled()
    chosen = str(tmp_path / "abdomen")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (chosen, ""))
    dialog.browse.click()
    assert save.isEnabled()
    dialog.name.setText(" young ")
    dialog.licence.setText("CC0-1.0")
    dialog.keep.setCurrentIndex(1)
    assert dialog.wanted == Wanted(tmp_path / "abdomen.medssl", "young", "", "CC0-1.0", "", "crop")
    monkeypatch.setattr(QDialog, "exec", lambda _: QDialog.DialogCode.Rejected)
    assert ask_addition((LIVER,), Path("organs.medssl"), real) is None
    monkeypatch.setattr(QDialog, "exec", lambda _: QDialog.DialogCode.Accepted)
    assert ask_addition((LIVER,), Path("organs.medssl"), real) == Wanted(Path("organs.medssl"))


def test_the_buttons_ask(real: OneShotWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    asked: list[str] = []
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (asked.append("apply"), ("", ""))[1])
    monkeypatch.setattr("napari_medssl.widgets.segment.ask_addition", lambda *_: asked.append("add"))
    label(real, 6)
    real.panel.library.apply_button.click()
    real.panel.library.add_button.click()
    assert asked == ["apply", "add"]
    assert not real.panel.work.running
