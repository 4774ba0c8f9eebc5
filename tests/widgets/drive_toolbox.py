"""Drive the refinement toolbox in a real viewer window with mouse and keys, and print what came of it as JSON.

    python -m tests.widgets.drive_toolbox SCAN OUT [--truth LABELS] [--large]

SCAN is a file, or "phantom MR". Screenshots go to OUT. --large also refines a result of 512 x 512 x 400 voxels, and
tells how long the window did not answer. It needs a display, as `drive_viewer.py` does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_medssl.oneshot.result import Segmentation
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import image_layer
from napari_medssl.widgets.segment import OneShotWidget
from tests.widgets.drive_viewer import Driver, segment


def show(widget: OneShotWidget, part: Any) -> None:
    """Scroll the dock to a part of it."""
    area = widget.panel.findChild(QScrollArea)
    assert area is not None
    area.ensureWidgetVisible(part, 0, 0)


def apply(driver: Driver, widget: OneShotWidget, name: str, **settings: Any) -> dict[str, Any]:
    """Choose a tool, type its settings, press Apply and wait; what changed, and the longest time without answer."""
    toolbox = widget.panel.toolbox
    toolbox.choose(name)
    for field, value in settings.items():
        dict(toolbox.forms[name].entries())[field].value = value
    driver.settle()
    show(widget, toolbox.apply_button)
    assert widget.result is not None
    before, start = widget.result.data.copy(), time.monotonic()
    QTest.mouseClick(toolbox.apply_button, Qt.MouseButton.LeftButton)
    frozen = driver.wait(lambda: not toolbox.work.running, name)
    seconds = time.monotonic() - start
    return {"changed": int((widget.result.data != before).sum()), "seconds": seconds, "longest_freeze_s": frozen}


def steps(driver: Driver, widget: OneShotWidget) -> dict[str, Any]:
    """Several edits and a brush stroke, taken back by Ctrl-Z and by the button, and done again."""
    toolbox, layer = widget.panel.toolbox, widget.result
    assert layer is not None
    facts: dict[str, Any] = {}
    states = [layer.data.copy()]
    for name, settings in (("smooth", {"mm": 3.0}), ("fill-holes", {}), ("largest", {}), ("grow", {"mm": 4.0})):
        facts[name] = apply(driver, widget, name, **settings)
        if facts[name]["changed"]:
            states.append(layer.data.copy())
    driver.picture("2-edited")
    driver.viewer.layers.selection.active = layer
    native = driver.viewer.window._qt_viewer.canvas.native
    native.setFocus()
    exact = []
    for at, state in enumerate(reversed(states[:-1])):
        if at % 2:
            driver.press(toolbox.undo_button)
        else:
            QTest.keyClick(native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
            driver.settle(0.3)
        exact.append(bool((layer.data == state).all()))
    for state in states[1:]:
        driver.press(toolbox.redo_button)
        exact.append(bool((layer.data == state).all()))
    facts["every_step_exact"] = exact
    return facts


def large(driver: Driver, shape: tuple[int, int, int] = (400, 512, 512)) -> dict[str, Any]:
    """The same on a big CT with a liver-sized organ: seconds and freezes of each tool."""
    driver.viewer.layers.clear()
    z, y, x = (np.arange(n, dtype=np.float32) - n / 2 for n in shape)
    labels = np.zeros(shape, np.uint8)
    for at in range(shape[0]):
        labels[at] = (z[at] / 110) ** 2 + (y[:, None] / 120) ** 2 + (x / 150) ** 2 <= 1
    scan = Volume(labels.astype(np.int16) * 100, np.diag([1.0, 0.8, 0.8, 1.0]), "CT")
    image = driver.viewer.add_layer(_layer(scan))
    _, widget = driver.viewer.window.add_plugin_dock_widget("napari-medssl", "One-shot segmentation")
    widget.panel.image.choose(image)
    organs = widget.panel.organs.organs
    widget.outcome.add(image, Segmentation(scan.like(labels, organs[:1]), {}, {}))
    driver.settle(1.0)
    widget.panel.toolbox.parent().parent().expand(animate=False)
    tools = {"smooth": {}, "grow": {"mm": 5.0}, "fill-holes": {"slice_by_slice": False}, "largest": {}, "shrink": {},
             "keep-range": {"low": 50.0, "high": 150.0}}  # fmt: skip
    facts: dict[str, Any] = {name: apply(driver, widget, name, **values) for name, values in tools.items()}
    start = time.monotonic()
    driver.press(widget.panel.toolbox.undo_button)
    facts["undo_s"] = time.monotonic() - start
    return facts


def _layer(scan: Volume) -> Any:
    from napari.layers import Layer

    return Layer.create(*image_layer(scan, "large"))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("out", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    driver = Driver(options.out)
    widget, labels = driver.open(options.scan, options.truth)
    area = (labels.data > 0).sum(axis=(1, 2))
    organs = [len(np.unique(plane)) for plane in labels.data]
    z = int(np.where(np.array(organs) == max(organs), area, 0).argmax())  # most organs, then the largest
    widget.go_to_slice(z)
    widget.panel.source.choose(labels)
    widget.use_slice()
    widget.panel.truth.choose(labels)
    facts: dict[str, Any] = {"scan": options.scan, "slice": z, "first": segment(driver, widget, "0-running")}
    widget.panel.toolbox.parent().parent().expand(animate=False)
    driver.settle(0.5)
    widget.go_to_slice(z + 2)
    show(widget, widget.panel.toolbox.redo_button)
    driver.picture("1-toolbox")
    facts["steps"] = steps(driver, widget)
    for name in ("keep-range", "combine", "grow-range"):
        widget.panel.toolbox.choose(name)
        driver.settle(0.3)
        show(widget, widget.panel.toolbox.redo_button)
        driver.picture(f"3-{name}")
    facts["dock_width"] = widget.width()
    facts["least_width"] = widget.panel.minimumSizeHint().width()
    facts["edits"] = [entry["do"] for entry in widget.result.metadata["medssl"]["report"]["edits"]]
    saved = options.out / "refined.nii.gz"
    widget.export(saved)
    driver.wait(lambda: not widget.panel.work.running, "the export")
    facts["saved"] = json.loads(saved.with_name("refined.report.json").read_text())["edits"] != []
    if options.large:
        facts["large"] = large(driver)
    return driver.end(facts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
