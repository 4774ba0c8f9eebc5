"""The refinement toolbox: what it applies, and that there is one history, one press per step."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot

from napari_medssl.edit import Operation, Scope, edit, operations
from napari_medssl.edit.grow import Grow
from napari_medssl.edit.keep_range import KeepRange
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets import _tape
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._layers import volume_to_save
from napari_medssl.widgets._tape import Tape
from napari_medssl.widgets.segment import OneShotWidget
from tests.widgets.conftest import FakeEngine
from tests.widgets.test_segment import Run, paint

Apply = Callable[..., None]


@pytest.fixture
def done(widget: OneShotWidget, run: Run) -> OneShotWidget:
    """The widget with a result: a 3 x 3 column of organ 1 in a scan of 6 x 10 x 12, labelled on slice 2."""
    paint(widget, 2)
    run(widget)
    return widget


@pytest.fixture
def apply(done: OneShotWidget, qtbot: QtBot) -> Apply:
    """Choose tool and settings, press Apply, wait until it has ended."""

    def press(name: str, **settings: object) -> None:
        toolbox = done.panel.toolbox
        toolbox.choose(name)
        for field, value in settings.items():
            dict(toolbox.forms[name].entries())[field].value = value
        toolbox.apply_button.click()
        qtbot.waitUntil(lambda: not toolbox.work.running)

    return press


def labels_of(widget: OneShotWidget) -> np.ndarray:
    """A copy of the result."""
    assert widget.result is not None
    return np.array(widget.result.data)


def stroke(layer: Labels, z: int, value: int = 1) -> None:
    """A brush stroke as napari makes it."""
    layer.selected_label = value
    layer.paint((z, 8, 9), value)


def expected(widget: OneShotWidget, operation: Operation, *organs: int, **scope: object) -> np.ndarray:
    """The result as the core edits it."""
    assert widget.result is not None
    labels = volume_to_save(widget.result)
    return edit(labels, operation, scope=Scope(organs=organs or (1,), **scope)).applied(labels.data)  # type: ignore[arg-type]


def test_there_is_nothing_to_refine_before_a_run(widget: OneShotWidget, told: list[str]) -> None:
    assert not widget.panel.toolbox.apply_button.isEnabled()
    assert not widget.editing.apply()
    assert told == ["There is no result to refine yet: label one slice and press Segment."]


def test_apply_undo_redo_are_one_exact_step_each(done: OneShotWidget, apply: Apply) -> None:
    first = labels_of(done)
    painted = np.asarray(done.support.data) if done.support else None
    second = expected(done, Grow(1.6), painted=painted)
    apply("grow", mm=1.6)
    np.testing.assert_array_equal(labels_of(done), second)
    np.testing.assert_array_equal(second[2], first[2], err_msg="the painted slice stays")
    apply("shrink", mm=1.6)
    third = labels_of(done)
    assert (third != second).any()
    toolbox = done.panel.toolbox
    for button, states in ((toolbox.undo_button, (second, first)), (toolbox.redo_button, (second, third))):
        for state in states:
            button.click()
            np.testing.assert_array_equal(labels_of(done), state)
        assert not button.isEnabled()


def test_ctrl_z_brush_and_buttons_share_one_history(done: OneShotWidget, apply: Apply, qtbot: QtBot) -> None:
    layer, toolbox = done.result, done.panel.toolbox
    assert layer is not None
    states = [labels_of(done)]
    apply("grow", mm=1.6)
    states.append(labels_of(done))
    stroke(layer, 5)
    states.append(labels_of(done))
    apply("shrink", mm=1.6)
    states.append(labels_of(done))
    layer.undo()  # what Ctrl-Z calls
    np.testing.assert_array_equal(labels_of(done), states[2])
    toolbox.undo_button.click()
    np.testing.assert_array_equal(labels_of(done), states[1])
    layer.undo()
    np.testing.assert_array_equal(labels_of(done), states[0])
    qtbot.waitUntil(lambda: not toolbox.undo_button.isEnabled())
    assert toolbox.redo_button.isEnabled()
    for state in states[1:]:
        toolbox.redo_button.click()
        np.testing.assert_array_equal(labels_of(done), state)
    layer.undo()
    stroke(layer, 0)
    qtbot.waitUntil(lambda: not toolbox.redo_button.isEnabled())


def test_edits_go_and_come_with_their_run(done: OneShotWidget, apply: Apply, run: Run) -> None:
    panel, layer = done.panel, done.result
    assert layer is not None
    plain = labels_of(done)
    apply("grow", mm=1.6)
    stroke(layer, 5)
    first = labels_of(done)
    paint(done, 4, corner=6)
    run(done)
    second = labels_of(done)
    assert not panel.toolbox.undo_button.isEnabled(), "the new run has no edits yet"
    layer.undo()
    np.testing.assert_array_equal(labels_of(done), second, err_msg="Ctrl-Z never mixes runs")
    apply("grow", mm=3.1)
    edited = labels_of(done)
    panel.undo_button.click()
    np.testing.assert_array_equal(labels_of(done), first)
    panel.toolbox.undo_button.click()
    panel.toolbox.undo_button.click()
    np.testing.assert_array_equal(labels_of(done), plain)
    panel.toolbox.redo_button.click()
    panel.redo_button.click()
    np.testing.assert_array_equal(labels_of(done), edited)
    layer.undo()
    np.testing.assert_array_equal(labels_of(done), second)
    panel.undo_button.click()
    panel.toolbox.redo_button.click()
    np.testing.assert_array_equal(labels_of(done), first)


def test_table_follows_every_step(done: OneShotWidget, apply: Apply, qtbot: QtBot) -> None:
    layer, table = done.result, done.panel.table
    assert layer is not None

    def shows_the_labels() -> bool:
        return bool(table.rows) and table.rows[0].voxels == int((layer.data == 1).sum())

    apply("grow", mm=1.6)
    qtbot.waitUntil(shows_the_labels)
    for step in (layer.undo, layer.redo, done.panel.toolbox.undo_button.click, lambda: stroke(layer, 0)):
        step()
        qtbot.waitUntil(shows_the_labels)


def test_the_report_lists_what_is_in_effect(done: OneShotWidget, apply: Apply, qtbot: QtBot, tmp_path: Path) -> None:
    layer = done.result
    assert layer is not None

    def exported(name: str) -> dict[str, object]:
        path = tmp_path / f"{name}.nii.gz"
        assert done.export(path)
        qtbot.waitUntil(lambda: not done.panel.work.running)
        facts: dict[str, object] = json.loads(path.with_name(f"{name}.report.json").read_text())
        return facts

    assert "edits" not in exported("plain")
    apply("grow", mm=1.6)
    apply("shrink", mm=1.6)
    layer.undo()
    facts = exported("one")
    assert "edited_by_hand" not in facts
    (entry,) = facts["edits"]  # type: ignore[misc]
    assert entry["do"] == "grow mm=1.6 slice_by_slice=false"
    assert entry["voxels_changed"] == int((layer.data == 1).sum()) - 6 * 9
    stroke(layer, 0)  # the shrinking can never come back
    facts = exported("two")
    assert [e["do"].split()[0] for e in facts["edits"]] == ["grow"]  # type: ignore[attr-defined]
    assert facts["edited_by_hand"] is True
    layer.undo()
    assert "edited_by_hand" not in exported("three")


def test_probability_stays_what_the_run_found(done: OneShotWidget, apply: Apply, run: Run) -> None:
    done.panel.probability.setChecked(True)
    before = [np.array(layer.data) for layer in done.viewer.layers if "probability" in layer.name]
    assert before
    apply("grow", mm=3.1)
    after = [np.array(layer.data) for layer in done.viewer.layers if "probability" in layer.name]
    np.testing.assert_array_equal(before, after)


def test_only_this_slice_and_painted_slices(done: OneShotWidget, apply: Apply, told: list[str]) -> None:
    before, toolbox = labels_of(done), done.panel.toolbox
    toolbox.where.setCurrentIndex(1)
    done.go_to_slice(4)
    apply("grow", mm=3.1)
    changed = (labels_of(done) != before).any(axis=(1, 2))
    assert np.flatnonzero(changed).tolist() == [4]
    done.go_to_slice(2)
    apply("grow", mm=3.1)
    assert "Slices you painted are kept" in told[-1]
    toolbox.change_painted.setChecked(True)
    apply("grow", mm=3.1)
    assert (labels_of(done)[2] != before[2]).any()


@pytest.fixture
def two_organs(widget: OneShotWidget, run: Run) -> OneShotWidget:
    """A result with a second organ beside the first."""
    paint(widget, 2)
    widget.panel.organs.add()
    paint(widget, 3, value=2, corner=5)
    run(widget)
    return widget


def test_one_organ_or_all_and_others_are_spared(two_organs: OneShotWidget, qtbot: QtBot) -> None:
    toolbox, before = two_organs.panel.toolbox, labels_of(two_organs)
    assert [toolbox.organ.itemText(i) for i in range(toolbox.organ.count())] == ["All organs", "organ 1", "organ 2"]
    assert toolbox.organs == (1, 2)
    toolbox.organ.setCurrentIndex(1)
    assert toolbox.organs == (1,)
    toolbox.choose("grow")
    for overwrite in (False, True):
        toolbox.overwrite.setChecked(overwrite)
        toolbox.apply_button.click()
        qtbot.waitUntil(lambda: not toolbox.work.running)
        lost = ((before == 2) & (labels_of(two_organs) != 2)).any()
        assert lost == overwrite
        toolbox.undo_button.click()


def test_combining_with_another_layer(two_organs: OneShotWidget, qtbot: QtBot, told: list[str]) -> None:
    toolbox, before = two_organs.panel.toolbox, labels_of(two_organs)
    other = np.zeros_like(before)
    other[0, :3] = 5
    layer = two_organs.viewer.add_labels(other, name="other")
    toolbox.choose("combine")
    toolbox.apply_button.click()
    qtbot.waitUntil(lambda: not toolbox.work.running)
    assert "combine works on one organ; choose it" in told[-1]
    toolbox.organ.setCurrentIndex(1)
    assert [toolbox.partner.itemText(i) for i in range(toolbox.partner.count())] == ["organ 2"]
    toolbox.other.choose(layer)
    assert [toolbox.partner.itemText(i) for i in range(toolbox.partner.count())] == ["All of its organs", "organ 5"]
    toolbox.apply_button.click()
    qtbot.waitUntil(lambda: not toolbox.work.running)
    np.testing.assert_array_equal(labels_of(two_organs) == 1, (before == 1) | ((other == 5) & (before == 0)))
    small = two_organs.viewer.add_labels(np.zeros((2, 2, 2), int), name="small")
    toolbox.other.choose(small)
    assert not two_organs.editing.apply()
    assert "'small' has shape (2, 2, 2), the result (6, 10, 12)" in told[-1]


def test_joining_two_organs_of_the_result(two_organs: OneShotWidget, qtbot: QtBot) -> None:
    toolbox, before = two_organs.panel.toolbox, labels_of(two_organs)
    toolbox.choose("combine")
    toolbox.organ.setCurrentIndex(1)
    toolbox.change_painted.setChecked(True)
    toolbox.apply_button.click()
    qtbot.waitUntil(lambda: not toolbox.work.running)
    np.testing.assert_array_equal(labels_of(two_organs) == 1, before > 0)


def test_the_window_is_proposed_from_the_organ(done: OneShotWidget, apply: Apply, scan: Image) -> None:
    toolbox = done.panel.toolbox
    toolbox.choose("keep-range")
    values = scan.data[labels_of(done) == 1]
    low, high = (float(v) for v in np.percentile(values, (5, 95)))
    made = toolbox.read()
    assert isinstance(made, KeepRange)
    assert (made.low, made.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    entries = dict(toolbox.forms["keep-range"].entries())
    entries["low"].value = 90.0
    toolbox.choose("smooth")
    toolbox.choose("keep-range")
    assert toolbox.read() == KeepRange(90.0, made.high), "what was typed stays"
    toolbox.window_button.click()
    assert toolbox.read() == made
    before = labels_of(done)
    apply("keep-range", low=100.0, high=500.0)
    lost = (before == 1) & (labels_of(done) != 1)
    np.testing.assert_array_equal(lost[[0, 1, 3, 4, 5]], ((before == 1) & (scan.data < 100))[[0, 1, 3, 4, 5]])


def test_a_bad_window_is_told_and_nothing_changes(done: OneShotWidget, apply: Apply, told: list[str]) -> None:
    before = labels_of(done)
    apply("keep-range", low=50.0, high=10.0)
    assert "low=50 high=10 is empty; give low below high; the middle 90 %" in told[-1]
    np.testing.assert_array_equal(labels_of(done), before)
    assert done.panel.toolbox.apply_button.isEnabled()
    assert not done.panel.toolbox.undo_button.isEnabled()


class Held:
    """Makes the core wait in its thread until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.at_work = threading.Event(), threading.Event()
        from napari_medssl.widgets import _editing

        inner = _editing.edit_steps

        def slow(*args: object, **kwargs: object) -> Steps[object]:
            self.at_work.set()
            yield Progress(0, 2, "waiting")
            assert self.go.wait(10)
            yield Progress(1, 2, "waiting")
            return (yield from inner(*args, **kwargs))  # type: ignore[arg-type]

        monkeypatch.setattr(_editing, "edit_steps", slow)

    def begin(self, widget: OneShotWidget, qtbot: QtBot) -> None:
        """Start growing and wait for the thread."""
        widget.panel.toolbox.choose("grow")
        assert widget.editing.apply()
        qtbot.waitUntil(self.at_work.is_set)

    def end(self, widget: OneShotWidget, qtbot: QtBot) -> None:
        """Let it go and wait for its end."""
        self.go.set()
        qtbot.waitUntil(lambda: not widget.panel.toolbox.work.running)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def test_cancel_leaves_the_layer_as_it_was(done: OneShotWidget, qtbot: QtBot, held: Held) -> None:
    before, toolbox = labels_of(done), done.panel.toolbox
    held.begin(done, qtbot)
    assert not toolbox.apply_button.isEnabled()
    assert not done.editing.apply(), "one at a time"
    toolbox.work.cancel_button.click()
    held.end(done, qtbot)
    np.testing.assert_array_equal(labels_of(done), before)
    assert toolbox.apply_button.isEnabled()
    assert not toolbox.undo_button.isEnabled()


def test_what_is_painted_meanwhile_stays(done: OneShotWidget, qtbot: QtBot, held: Held) -> None:
    layer = done.result
    assert layer is not None
    wanted = expected(done, Grow(3.0), painted=np.asarray(done.support.data) if done.support else None)
    held.begin(done, qtbot)
    layer.data_setitem((np.array([4]), np.array([2]), np.array([1])), 7)  # where growing would go
    held.end(done, qtbot)
    assert wanted[4, 2, 1] == 1
    wanted[4, 2, 1] = 7
    np.testing.assert_array_equal(labels_of(done), wanted)
    layer.undo()
    assert layer.data[4, 2, 1] == 7


@pytest.mark.parametrize("how", ["another run", "removed"])
def test_a_result_replaced_meanwhile_is_left_alone(
    done: OneShotWidget, qtbot: QtBot, held: Held, run: Run, told: list[str], how: str
) -> None:
    held.begin(done, qtbot)
    if how == "removed":
        done.viewer.layers.remove(done.result)
    else:
        run(done)
    before = None if done.result is None else labels_of(done)
    held.end(done, qtbot)
    assert "The result was replaced while the tool worked on it" in told[-1]
    if before is not None:
        np.testing.assert_array_equal(labels_of(done), before)


def test_a_removed_layer_comes_back_with_its_edits(done: OneShotWidget, apply: Apply, run: Run) -> None:
    run(done)
    apply("grow", mm=1.6)
    edited = labels_of(done)
    done.viewer.layers.remove(done.result)
    assert not done.panel.toolbox.apply_button.isEnabled()
    done.panel.undo_button.click()
    done.panel.redo_button.click()
    np.testing.assert_array_equal(labels_of(done), edited)
    done.panel.toolbox.undo_button.click()
    assert (labels_of(done) != edited).any()


def test_a_new_dock_takes_the_result_over(done: OneShotWidget, apply: Apply, qtbot: QtBot, engine: FakeEngine) -> None:
    apply("grow", mm=1.6)
    again = OneShotWidget(done.viewer, EngineHandle(lambda device, weights: engine))
    qtbot.addWidget(again)
    toolbox = again.panel.toolbox
    assert toolbox.apply_button.isEnabled()
    assert not toolbox.undo_button.isEnabled()
    toolbox.choose("shrink")
    toolbox.apply_button.click()
    qtbot.waitUntil(lambda: not toolbox.work.running)
    assert again.result is not None
    report = again.result.metadata["medssl"]["report"]
    assert [e["do"].split()[0] for e in report["edits"]] == ["grow", "shrink"]
    assert "edited_by_hand" not in report


def test_every_tool_has_its_form(done: OneShotWidget) -> None:
    toolbox = done.panel.toolbox
    for name in operations:
        toolbox.choose(name)
        assert toolbox.hint.text() == operations[name].hint
        assert [n for n, form in toolbox.forms.items() if not form.isHidden()] == [name]
        assert type(toolbox.read()) is operations[name]
        assert toolbox.window_button.isHidden() != operations[name].needs_image


def layer_with_tape(budget: int = 1 << 20) -> tuple[Labels, Tape]:
    layer, tape = Labels(np.zeros((4, 20, 20), np.uint8)), Tape(budget)
    tape.attach(layer)
    return layer, tape


def fill(layer: Labels, tape: Tape | None, z: int, value: int) -> None:
    """Set a slice, as an edit when a tape is given."""
    index = tuple(axis.ravel().astype(np.uint8) for axis in np.mgrid[z : z + 1, 0:20, 0:20])
    layer.data_setitem(index, value)
    if tape is not None:
        tape.note({"do": value})


def test_memory_is_bounded_and_settled_edits_are_still_told() -> None:
    layer, tape = layer_with_tape(budget=4000)  # a slice of 400 voxels: 3 + 1 bytes each
    for value in range(1, 6):
        fill(layer, tape, 0, value)
    assert tape.nbytes <= 4000
    assert [record["do"] for record in tape.edits()] == [1, 2, 3, 4, 5]
    assert not tape.strokes()
    layer.undo()
    layer.undo()
    assert layer.data[0, 0, 0] == 3
    layer.undo()
    assert layer.data[0, 0, 0] == 3, "the older ones can no longer be undone"
    assert [record["do"] for record in tape.edits()] == [1, 2, 3]
    fill(layer, None, 1, 9)
    assert tape.strokes()
    layer.redo()
    assert [record["do"] for record in tape.edits()] == [1, 2, 3], "what was undone is gone"


def test_the_newest_edit_can_always_be_undone() -> None:
    layer, tape = layer_with_tape(budget=1)
    fill(layer, None, 0, 1)
    fill(layer, tape, 0, 2)
    layer.undo()
    assert layer.data[0, 0, 0] == 1
    assert not tape.edits()
    assert tape.strokes()


def test_it_is_always_the_tape_that_lets_go() -> None:
    layer, tape = layer_with_tape()
    index = (np.array([0]), np.array([0]), np.array([0]))
    for step in range(150):
        layer.data_setitem(index, step % 7 + 1)
        tape.note({"do": step})
    assert len(tape.edits()) == 150
    assert len(layer._undo_history) == _tape._MOST_ITEMS < layer._history_limit


def test_a_tape_is_put_aside_and_taken_up() -> None:
    layer, tape = layer_with_tape()
    fill(layer, tape, 0, 1)
    fill(layer, tape, 0, 2)
    layer.undo()
    tape.detach()
    assert not layer._undo_history
    assert [record["do"] for record in tape.edits()] == [1]
    other = Labels(layer.data.copy())
    fill(other, None, 3, 8)
    tape.attach(other)
    other.redo()
    assert other.data[0, 0, 0] == 2
    other.undo()
    other.undo()
    assert not other.data[0].any()
    assert other.data[3].all(), "its own history was dropped"
    assert not tape.can_undo
