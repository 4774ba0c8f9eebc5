"""Strokes over a result in the widget: certain from then on, spread at once, kept by later runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from napari_medssl.errors import SupportError
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._absence import absences_of, describe_absences, toggle_absence
from napari_medssl.widgets.segment import OneShotWidget

Run = Callable[[OneShotWidget], None]


@pytest.fixture
def found(widget: OneShotWidget, run: Run, qtbot: QtBot) -> OneShotWidget:
    """The widget with a result: organ 1 on rows 3 to 6 of all slices."""
    support = widget.labelling.make_support()
    assert support is not None
    with qtbot.waitSignal(widget.labelling.edited):
        support.data_setitem((np.full(16, 2), np.repeat([3, 4, 5, 6], 4), np.tile([4, 5, 6, 7], 4)), 1)
    run(widget)
    return widget


def _paint(widget: OneShotWidget, z: int, y: int, x: int, value: int) -> None:
    """As the brush does: napari's own paint, in the slice on show."""
    widget.go_to_slice(z)
    layer = widget.result
    assert layer is not None
    layer.brush_size = 1
    layer.paint((z, y, x), value)


def _spread(widget: OneShotWidget, qtbot: QtBot) -> None:
    with qtbot.waitSignal(widget.outcome.shown, timeout=10_000):
        assert widget.corrections.apply()
    qtbot.waitUntil(lambda: not widget.panel.work.running)


def test_a_stroke_spreads_without_the_engine_and_holds(found: OneShotWidget, engine: Any, qtbot: QtBot) -> None:
    calls = len(engine.calls)
    _paint(found, 4, 4, 5, 0)
    pending = found.corrections.pending()
    assert pending is not None
    assert pending.at.tolist() == [[4, 4, 5]]
    _spread(found, qtbot)
    assert len(engine.calls) == calls
    result = found.result
    assert result is not None
    assert result.data[4, 4, 5] == 0
    assert found.outcome.present is not None
    assert found.outcome.present.probability[1][4, 3:7, 4:8].min() == 0
    assert found.outcome.present.probability[1][4, 3:7, 4:8].sum() < 14.9  # its neighbourhood follows
    assert (result.data[2, 3:7, 4:8] == 1).all()  # the labelled slice did not
    assert found.corrections.pending() is None
    assert len(found.corrections.strokes()) == 1


def test_a_run_is_given_the_strokes_and_undo_run_takes_them_back(
    found: OneShotWidget, engine: Any, run: Run, qtbot: QtBot
) -> None:
    _paint(found, 4, 0, 0, 1)
    _spread(found, qtbot)
    _paint(found, 3, 0, 1, 1)
    run(found)
    supports = engine.calls[-1][1]
    strokes = [s for support in supports for s in support.strokes]
    assert [s.at.tolist() for s in strokes] == [[[4, 0, 0]], [[3, 0, 1]]]
    found.outcome.undo()
    found.outcome.undo()
    assert found.corrections.pending() is not None  # the first stroke, not yet spread
    found.outcome.undo_edit()
    assert found.corrections.strokes() == ()


def test_edits_of_the_toolbox_are_no_strokes(found: OneShotWidget) -> None:
    layer, tape = found.result, found.outcome.tape
    assert layer is not None
    assert tape is not None
    layer.data_setitem((np.array([1, 1]), np.array([0, 1]), np.array([0, 0])), 1)
    tape.note({"operation": "grow"})
    assert found.corrections.pending() is None
    _paint(found, 4, 9, 9, 1)
    pending = found.corrections.pending()
    assert pending is not None
    assert pending.at.tolist() == [[4, 9, 9]]


def test_with_updates_on_a_pause_spreads_the_stroke(found: OneShotWidget, qtbot: QtBot) -> None:
    found.panel.live.setChecked(True)
    with qtbot.waitSignal(found.outcome.shown, timeout=10_000):
        _paint(found, 4, 4, 5, 0)
    assert found.corrections.pending() is None
    assert len(found.corrections.strokes()) == 1
    qtbot.waitUntil(lambda: not found.panel.work.running)
    found.outcome.undo()
    qtbot.wait(800)  # longer than the pause
    assert found.corrections.pending() is not None  # undoing is no painting: nothing was spread again


def test_without_a_result_or_a_stroke_a_sentence_says_what_to_do(
    widget: OneShotWidget, run: Run, told: list[str]
) -> None:
    assert not widget.panel.spread_button.isEnabled()
    assert not widget.corrections.apply()
    support = widget.labelling.make_support()
    assert support is not None
    support.data_setitem((np.array([2]), np.array([3]), np.array([3])), 1)
    run(widget)
    assert widget.panel.spread_button.isEnabled()
    assert not widget.corrections.apply()
    assert "label one slice" in told[0]
    assert "Paint or wipe" in told[1]


def test_an_organ_said_to_be_absent_reaches_the_engine_and_is_taken_back(
    found: OneShotWidget, engine: Any, run: Run
) -> None:
    found.go_to_slice(5)
    assert found.not_here()
    assert "organ 1 not on 5" in found.panel.support_text.text()
    run(found)
    assert [dict(s.absent) for s in engine.calls[-1][1]] == [{}, {1: (5,)}]
    assert found.not_here()
    assert found.support is not None
    assert absences_of(found.support) == {}


def test_what_is_painted_counts_more_than_what_was_said(found: OneShotWidget, told: list[str]) -> None:
    support = found.support
    assert support is not None
    with pytest.raises(SupportError, match="is labelled on slice 2"):
        toggle_absence(support, 1, 2)
    assert toggle_absence(support, 1, 4)
    assert describe_absences(support) == "organ 1 not on 4"
    support.data_setitem((np.array([4]), np.array([3]), np.array([3])), 1)
    assert absences_of(support) == {}
    found.go_to_slice(2)
    assert not found.not_here()
    assert "wipe it away" in told[-1]


def test_a_library_run_keeps_the_strokes_too(
    found: OneShotWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a library finds is not asked here, only what becomes of the strokes afterwards."""
    _paint(found, 4, 0, 0, 1)
    _spread(found, qtbot)
    present = found.outcome.present
    assert present is not None

    class _Library:
        @staticmethod
        def load(path: Path) -> Any:
            return _Library()

        def apply_steps(self, engine: Any, query: Any, **_: Any) -> Steps[Segmentation]:
            yield Progress(0, 1, "applying")
            nothing = present.labels.like(np.zeros_like(present.labels.data), present.labels.labels)
            maps = {1: np.zeros(nothing.shape, np.float16)}
            return Segmentation(nothing, maps, {"library": {"used": [], "examples": []}})

    monkeypatch.setattr("napari_medssl.library.Library", _Library)
    monkeypatch.setattr("napari_medssl.widgets.segment.examples_used", lambda result: "")
    with qtbot.waitSignal(found.outcome.shown, timeout=10_000):
        assert found.apply_library(tmp_path / "organs.medssl")
    qtbot.waitUntil(lambda: not found.panel.work.running)
    assert found.result is not None
    assert np.argwhere(found.result.data == 1).tolist()[0] == [4, 0, 0]
    assert len(found.corrections.strokes()) == 1
