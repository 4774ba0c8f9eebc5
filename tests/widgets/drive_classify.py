"""Drive the slice classification in a real viewer window as a user would, and print what came of it as JSON.

    python -m tests.widgets.drive_classify OUT SCAN LABELS [OTHER ...] [--organs 3 1]

SCAN, LABELS and OTHER are files, or SCAN is "phantom MR" / "phantom CT" and LABELS its own ("-"). Ten slices of SCAN
are marked with keys pressed over the canvas. Screenshots and files go to OUT. It needs a display: start it under
`xvfb-run -a -s "-screen 0 1400x1000x24"` on a machine without one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_medssl.metrics.classification import auc
from napari_medssl.widgets._layers import role_of
from napari_medssl.widgets.classify import SliceClassificationWidget
from napari_medssl.widgets.segment import OneShotWidget
from tests.widgets.drive_viewer import Driver


class ClassifyDriver(Driver):
    """Hands for the slice classification."""

    def open_scans(self, scan: str, labels: str, others: list[str]) -> Labels:
        """The scan, its labels (hidden) and the others, the scan on top."""
        for other in others:
            self.viewer.open(other, plugin="napari-medssl")
        if scan.startswith("phantom"):
            self.viewer.open_sample("napari-medssl", scan.replace(" ", "_").lower())
        else:
            self.viewer.open(scan, plugin="napari-medssl")
            self.viewer.open(labels, plugin="napari-medssl")
        truth = next(layer for layer in self.viewer.layers if isinstance(layer, Labels))
        truth.visible = False
        return truth

    def open_dock(self, scan: Image) -> SliceClassificationWidget:
        """The dock, ready to learn."""
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-medssl", "Slice classification")
        self.viewer.window.resize(1400, 1000)
        self.settle()
        widget.panel.image.choose(scan)
        self.viewer.layers.selection.active = scan
        self.viewer.reset_view()
        self.viewer.window._qt_window.activateWindow()  # keys reach an active window only, and here nobody clicks it
        self.wait(lambda: QApplication.activeWindow() is not None, "the window's turn")
        self.wait(lambda: widget.panel.form is not None and not widget.panel.work.running, "the settings")
        return widget

    def key(self, key: str) -> None:
        """Press a key over the canvas."""
        native = self.viewer.window._qt_viewer.canvas.native
        native.setFocus()
        QTest.keyClick(native, key)
        self.settle(0.05)


def mark(driver: ClassifyDriver, dock: SliceClassificationWidget, shown: dict[int, list[int]]) -> None:
    """Go to each slice and press the keys of its classes, 0 where it shows none."""
    for z, keys in shown.items():
        dock.go_to_slice(z)
        for key in keys or [0]:
            driver.key(str(key))


def work(driver: ClassifyDriver, dock: SliceClassificationWidget, button: Any, what: str) -> dict[str, float]:
    """Press a button and wait for its work; seconds, and the longest time the window did not answer."""
    start = time.monotonic()
    driver.press(button)
    frozen = driver.wait(lambda: not dock.panel.work.running, what)
    return {"seconds": time.monotonic() - start, "longest_freeze_s": frozen}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("scan")
    parser.add_argument("labels")
    parser.add_argument("others", nargs="*")
    parser.add_argument("--names", nargs="+", default=[], help="of the organs, where the file has none")
    parser.add_argument("--organs", type=int, nargs="+", default=[1], help="labels to mark, one key each")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    driver = ClassifyDriver(options.out)
    truth = driver.open_scans(options.scan, options.labels, options.others)
    scan = next(layer for layer in reversed(driver.viewer.layers) if isinstance(layer, Image))
    names = {label.value: label.name for label in truth.metadata["medssl"]["labels"]}
    for layer in driver.viewer.layers:
        layer.visible = layer is scan
    names |= dict(zip(options.organs, options.names, strict=False))
    dock = driver.open_dock(scan)
    facts: dict[str, Any] = {"scan": scan.name, "depth": int(scan.data.shape[0])}

    for at, organ in enumerate(options.organs):
        if at:
            driver.press(dock.panel.add_button)
        dock.panel.classes.item(at, 1).setText(names[organ])
    on = np.array([[(plane == organ).sum() > 20 for organ in options.organs] for plane in truth.data])
    ten = np.unique(np.linspace(0, len(on) - 1, 10).round().astype(int))
    mark(driver, dock, {int(z): [at + 1 for at in np.flatnonzero(on[z])] for z in ten})
    facts["marked"] = {str(z): names for z, names in dock.marking.book.of(scan).items()}
    facts["active_layer_kept"] = driver.viewer.layers.selection.active is scan
    driver.picture("1-marked")

    facts["learn"] = work(driver, dock, dock.panel.learn_button, "the scores")
    facts["again"] = work(driver, dock, dock.panel.learn_button, "the scores")
    assert dock.outcome is not None
    rest = np.setdiff1d(np.arange(len(on)), ten)
    scores = dock.outcome.scores[str(scan.unique_id)].probability
    facts["auc"] = {
        n: auc(on[rest, c].astype(int), scores[rest, c]).value for c, n in enumerate(dock.outcome.head.classes)
    }
    row = 0
    QTest.mouseClick(dock.panel.curve, Qt.MouseButton.LeftButton, pos=QPoint(dock.panel.curve.width() // 2, 60))
    facts["jumped_to"] = dock.current_slice()
    dock.panel.findings.selectRow(row)
    dock.panel.findings.cellDoubleClicked.emit(row, 0)
    driver.settle()
    facts["peak_shown"] = dock.current_slice() == dock.panel.findings.rows[row].peak
    driver.picture("2-learned")

    facts["evidence"] = work(driver, dock, dock.panel.evidence_button, "the evidence")
    maps = [layer for layer in driver.viewer.layers if role_of(layer)[0] == "evidence"]
    found = dock.panel.findings.rows[row]
    inside = truth.data[found.first : found.last + 1] == {n: v for v, n in names.items()}[found.name]
    glow = maps[0].data[found.first : found.last + 1]
    facts["evidence_inside_share"] = float(glow[inside].sum() / max(1e-9, glow.sum()))
    facts["organ_share"] = float(inside.mean())
    area = dock.findChild(QScrollArea)
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    driver.picture("3-evidence")
    facts["fits"] = area.viewport().width() >= area.widget().minimumSizeHint().width()
    maps[0].visible = False

    if options.others:
        dock.panel.worklist.opened.emit([image.name for image in dock.images].index(dock.panel.worklist.rows[0].name))
        driver.picture("4-other")
        dock.panel.image.choose(scan)
    facts["range"] = dock.looking.use_as_range()
    driver.settle()
    one_shot = next(w for w in driver.viewer.window.dock_widgets.values() if isinstance(w, OneShotWidget))
    facts["range_in_one_shot"] = one_shot.panel.range.value()
    dock.export(options.out / "scores.csv")
    driver.wait(lambda: not dock.panel.work.running, "the export")
    dock.save_head(options.out / "head.safetensors")
    facts["files"] = sorted(p.name for p in options.out.iterdir())
    before = dock.marking.book.of(scan)
    driver.press(dock.panel.undo_button)
    facts["undo"] = len(before) - len(dock.marking.book.of(scan))
    driver.press(dock.panel.redo_button)
    facts["redo_restores"] = dock.marking.book.of(scan) == before
    return driver.end(facts, dock.engine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
