"""Drive the real widget in a real viewer window with mouse events, as a user would, and print what came of it as JSON.

    python tests/widgets/drive_viewer.py SCAN OUT [--truth LABELS] [--organs 1 2 ...]

SCAN is a file, or "phantom MR" / "phantom CT". Screenshots and the saved mask go to OUT. It needs a display: start it
under `xvfb-run -a -s "-screen 0 1400x900x24"` on a machine without one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from scipy.ndimage import distance_transform_edt, label

from napari_medssl.widgets.segment import OneShotWidget

_MOST_CLICKS = 12
_PATIENCE_S = 400


class Driver:
    """A viewer window with the widget, and hands to use both."""

    def __init__(self, out: Path) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1400, 900)
        self.out = out
        self.pictures: list[str] = []

    def open(self, scan: str, truth: Path | None) -> tuple[OneShotWidget, Labels]:
        """Open scan, truth and widget."""
        if scan.startswith("phantom"):
            self.viewer.open_sample("napari-medssl", scan.replace(" ", "_").lower())
        else:
            self.viewer.open(scan, plugin="napari-medssl")
            if truth is not None:
                self.viewer.open(truth, plugin="napari-medssl")
        image, labels = self.viewer.layers
        labels.visible = False
        self.viewer.layers.selection.active = image
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-medssl", "One-shot segmentation")
        self.viewer.window.resize(1400, 900)
        self.settle()
        self.viewer.reset_view()
        return widget, labels

    def end(self, facts: dict[str, Any], engine: Any = None) -> int:
        """Close the window and print what was found, with whether an engine was closed as well; the exit code."""
        facts["pictures"] = self.pictures
        self.viewer.close()
        self.settle(0.5)
        if engine is not None:
            facts["engine_closed"] = engine.closed
        sys.stdout.write(json.dumps(facts) + "\n")
        return 0

    def canvas_point(self, world: tuple[float, ...]) -> QPoint:
        """Where a world position lies on the canvas, in Qt pixels."""
        canvas = self.viewer.window._qt_viewer.canvas
        transform = canvas.view.transform * canvas.view.scene.transform
        x, y = transform.map([world[-1], world[-2]])[:2]
        return QPoint(round(x), round(y))

    def click(self, world: tuple[float, ...], modifier: Qt.KeyboardModifier | None = None) -> None:
        """Click the canvas at a world position."""
        native = self.viewer.window._qt_viewer.canvas.native
        keys = modifier or Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(native, self.canvas_point(world))
        QTest.mouseClick(native, Qt.MouseButton.LeftButton, keys, self.canvas_point(world))
        self.settle()

    def stroke(self, points: list[tuple[float, ...]]) -> None:
        """Draw with the tool in hand along world positions."""
        native = self.viewer.window._qt_viewer.canvas.native
        where = [self.canvas_point(p) for p in points]
        QTest.mouseMove(native, where[0])
        QTest.mousePress(native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where[0])
        for point in where[1:]:
            QTest.mouseMove(native, point)
            self.settle(0.02)
        QTest.mouseRelease(native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, where[-1])
        self.settle()

    def press(self, button: Any) -> None:
        """Press a button of the widget with the mouse."""
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.settle()

    def wait(self, ready: Callable[[], bool], what: str) -> float:
        """Let the window live until `ready`; returns the longest time in s that it did not answer."""
        end, worst = time.monotonic() + _PATIENCE_S, 0.0
        while not ready():
            before = time.monotonic()
            QApplication.processEvents()
            worst = max(worst, time.monotonic() - before)
            time.sleep(0.01)
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come")
        return worst

    def settle(self, seconds: float = 0.2) -> None:
        """Let the window draw."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.005)

    def picture(self, name: str) -> None:
        """A screenshot of the whole window."""
        for note in self.viewer.window._qt_window.findChildren(NapariQtNotification):
            note.close()  # it would cover a letter of the orientation
        self.settle(0.4)
        path = self.out / f"{name}.png"
        self.viewer.window.screenshot(str(path), canvas_only=False, flash=False)
        self.pictures.append(str(path))


def middle(mask: np.ndarray) -> tuple[int, int]:
    """The pixel of a (Y, X) mask farthest from its border."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(y), int(x)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def label_by_clicks(driver: Driver, widget: OneShotWidget, true: np.ndarray, z: int) -> int:
    """Click what is missing of an organ on slice `z`, largest gap first, until little is; take away what is wrong."""
    widget.go_to_slice(z)
    driver.press(widget.panel.tools.buttons["click"])
    assert widget.image is not None
    for count in range(1, _MOST_CLICKS + 1):
        have = widget.support.data[z] == widget.support.selected_label if widget.support else np.zeros_like(true[z])
        missing = true[z] & ~have
        if missing.sum() <= 0.1 * true[z].sum():
            return count - 1
        y, x = middle(missing)
        done: list[int] = []
        widget.panel.tools.click.applied.connect(done.append)
        driver.click(tuple(widget.image.data_to_world((z, y, x))))
        driver.wait(lambda done=done: bool(done), "the region under the click")
        widget.panel.tools.click.applied.disconnect(done.append)
        if not done[0]:
            return count
    return _MOST_CLICKS


def segment(driver: Driver, widget: OneShotWidget, picture: str) -> dict[str, Any]:
    """Press Segment, wait for layer and table; a picture is taken meanwhile."""
    counted: list[Any] = []
    widget.panel.table.counted.connect(counted.append)
    start = time.monotonic()
    driver.press(widget.panel.segment_button)
    driver.picture(picture)
    frozen = driver.wait(lambda: bool(counted) and not widget.panel.work.running, "the result")
    widget.panel.table.counted.disconnect(counted.append)
    row = widget.panel.table.rows[0]
    return {"seconds": time.monotonic() - start, "dice": row.dice, "ml": row.volume_ml, "longest_freeze_s": frozen}


def correct(driver: Driver, widget: OneShotWidget, true: np.ndarray, z: int) -> None:
    """Take over the result of another slice, paint the organ's middle and wipe away what lies outside it."""
    widget.go_to_slice(z)
    driver.press(widget.panel.take_button)
    widget.panel.organs.select(1)
    image = widget.image
    assert image is not None

    def along(mask: np.ndarray) -> list[tuple[float, ...]]:
        return [tuple(image.data_to_world((z, y, x))) for y, x in np.argwhere(mask)[::3]]

    y, x = middle(true[z])
    core = np.zeros_like(true[z])
    core[y, max(0, x - 4) : x + 5] = True
    driver.stroke(along(core))
    driver.wait(lambda: bool(widget.support.data[z].any()), "the brush stroke")
    driver.press(widget.panel.tools.buttons["erase"])
    widget.support.brush_size = 3
    wrong = (widget.support.data[z] == 1) & ~true[z]
    parts, n = label(wrong)
    for part in range(1, n + 1):
        if (parts == part).sum() > 8:
            driver.stroke(along(parts == part))


def options_of(arguments: list[str], told: str | None) -> argparse.Namespace:
    """Scan, folder for the pictures (made here), truth and organs."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("out", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--organs", type=int, nargs="+", default=[1], help="labels of the organs in the truth")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def main(arguments: list[str]) -> int:
    options = options_of(arguments, __doc__)
    driver = Driver(options.out)
    widget, labels = driver.open(options.scan, options.truth)
    names = {label.value: label.name for label in labels.metadata["medssl"]["labels"]}
    renumbered = sum((labels.data == organ) * np.uint8(at) for at, organ in enumerate(options.organs, 1))
    true = renumbered == 1
    area = true.sum(axis=(1, 2))
    areas = np.array([(renumbered == at).sum(axis=(1, 2)) for at in range(1, len(options.organs) + 1)])
    z = int(np.where(area > 0, np.log1p(areas).sum(axis=0), 0).argmax())  # as many organs as can be had, and large
    facts: dict[str, Any] = {"scan": options.scan, "organ": names[options.organs[0]], "slice": z}

    widget.go_to_slice(z)
    driver.picture("1-open")
    for at, organ in enumerate(options.organs, 1):
        value = 1 if at == 1 else widget.panel.organs.add().value
        widget.panel.organs.rename(value, names[organ])
        clicks = label_by_clicks(driver, widget, renumbered == value, z)
        facts.setdefault("clicks", clicks)
    facts["click_iou"] = overlap(widget.support.data[z] == 1, true[z])
    driver.picture("2-click")

    truth = driver.viewer.add_labels(renumbered, name="truth of these organs", visible=False,
                                     scale=labels.scale, translate=labels.translate, units=labels.units)  # fmt: skip
    widget.panel.truth.choose(truth)
    driver.viewer.layers.selection.active = widget.support
    driver.press(widget.panel.tools.buttons["move"])
    facts["first"] = segment(driver, widget, "3-running")
    other = int(np.flatnonzero(area > 0.3 * area.max())[0])
    widget.go_to_slice(other)
    driver.picture("4-result")

    before = widget.result.data.copy()
    correct(driver, widget, true, other)
    driver.picture("5-correct")
    facts["second"] = segment(driver, widget, "6-running-again")
    facts["changed_voxels"] = int((before != widget.result.data).sum())
    facts["support_slices"] = [int(s) for s in np.flatnonzero(widget.support.data.any(axis=(1, 2)))]
    driver.picture("7-corrected")

    driver.press(widget.panel.undo_button)
    facts["undo_restores"] = bool((widget.result.data == before).all())
    driver.press(widget.panel.redo_button)
    saved = options.out / "organs.nii.gz"
    facts["saved"] = widget.result.save(str(saved), plugin="napari-medssl")
    facts["result_shape"] = list(widget.result.data.shape)
    facts["result_voxels"] = int((widget.result.data > 0).sum())
    facts["orientation"] = {
        key.removeprefix("medssl_"): overlay.text
        for key, overlay in driver.viewer.canvas.overlays.items()
        if key.startswith("medssl_") and overlay.visible
    }
    return driver.end(facts, widget.engine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
