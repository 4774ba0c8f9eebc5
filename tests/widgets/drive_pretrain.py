"""Drive the pretraining dock in a real viewer window as a user would, and print what came of it as JSON.

    python -m tests.widgets.drive_pretrain OUT SCAN [SCAN ...] [--folder DIR] [--method NAME] [--steps N]

SCAN is a file, or "phantom MR" / "phantom CT". Screenshots and runs go to OUT. It needs a display: start it under
`xvfb-run -a -s "-screen 0 1400x900x24"` on a machine without one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from napari_medssl.train.curves import read_curves
from napari_medssl.widgets.pretrain import PretrainWidget
from tests.widgets.drive_viewer import Driver


class PretrainDriver(Driver):
    """Hands for the pretraining dock."""

    def open_scans(self, scans: list[str]) -> None:
        """Files or phantoms, as layers."""
        for scan in scans:
            if scan.startswith("phantom"):
                self.viewer.open_sample("napari-medssl", scan.replace(" ", "_").lower())
            else:
                self.viewer.open(scan, plugin="napari-medssl")

    def open_dock(self) -> PretrainWidget:
        """The dock, once its methods are listed."""
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-medssl", "Pretraining")
        self.viewer.window.resize(1400, 900)
        self.settle()
        self.viewer.reset_view()
        self.wait(lambda: widget.method is not None, "the list of methods")
        return widget

    def search_method(self, widget: PretrainWidget, name: str) -> None:
        """Type the name into the list of methods and take what is found."""
        line = widget.method_box.lineEdit()
        line.selectAll()
        QTest.keyClicks(line, name)
        self.settle()
        QTest.keyClick(line, Qt.Key.Key_Return)
        self.settle()
        if widget.method.name != name:  # the first that was found is another one, as simclr before simclr3d
            widget.method_box.setCurrentIndex(widget.method_box.findData(name))

    def train(self, widget: PretrainWidget, *, until_step: int = 0) -> float:
        """Press Train and wait: for the weights, or for a step of the curves. The longest freeze in s."""
        widget.weights = None
        self.press(widget.train_button)
        if until_step:
            return self.wait(lambda: curve_end(widget) >= until_step, "the curve")
        return self.wait(lambda: widget.weights is not None, "the weights")

    def shows_all(self, widget: PretrainWidget) -> bool:
        """Whether the dock is as wide as what is in it."""
        area = widget.findChild(QScrollArea)
        return area.viewport().width() >= area.widget().minimumSizeHint().width()


def curve_end(widget: PretrainWidget) -> float:
    """The last step the loss is drawn for."""
    return widget.loss_plot.curves[0].x[-1] if widget.loss_plot.curves else 0.0


def set_run(widget: PretrainWidget, **values: Any) -> None:
    """Other numbers in the form's run."""
    settings = widget.form.read()
    widget.form.write(dataclasses.replace(settings, run=dataclasses.replace(settings.run, **values)))


def step_seconds(out: Path) -> float:
    """Median time of a step, from the log."""
    logged = read_curves(out / "log.csv")
    steps, seconds = list(logged), [v["seconds"] for v in logged.values()]
    return float(np.median(np.diff(seconds) / np.diff(steps)))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("scans", nargs="+")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    driver = PretrainDriver(options.out)
    driver.open_scans(options.scans)
    widget = driver.open_dock()
    facts: dict[str, Any] = {"methods": sum(widget.method_box.itemData(i) is not None for i in range(100))}

    driver.picture("1-open")
    driver.search_method(widget, options.method)
    facts["method"] = widget.method.name
    if options.folder is not None:
        widget.add_folder(str(options.folder))
    run = options.out / "run"
    widget.out.setText(str(run))
    set_run(widget, steps=options.steps, log_every=2, monitor_every=options.steps // 2)
    facts["fits"] = driver.shows_all(widget)
    driver.picture("2-ready")

    facts["freeze_s"] = driver.train(widget, until_step=options.steps // 4)
    driver.picture("3-training")
    driver.press(widget.work.cancel_button)
    driver.wait(lambda: not widget.work.running, "the end of the run")
    facts["stopped_at"] = max(read_curves(run / "log.csv"))
    facts["button_after_stop"] = widget.train_button.text()
    facts["label_after_stop"] = widget.work.label.text()
    driver.picture("4-stopped")

    began = time.monotonic()
    driver.press(widget.train_button)
    driver.viewer.layers.remove(driver.viewer.layers[-1])
    facts["freeze_s"] = max(facts["freeze_s"], driver.wait(lambda: widget.weights is not None, "the weights"))
    facts["second_s"] = time.monotonic() - began
    facts["curves"] = [c.name for c in (*widget.loss_plot.curves, *widget.quality_plot.curves)]
    facts["drawn"], facts["logged"] = list(widget.loss_plot.curves[0].x), list(read_curves(run / "log.csv"))
    facts["step_s"] = step_seconds(run)
    area = widget.findChild(QScrollArea)
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    driver.picture("5-trained")
    facts["can_be_used"] = widget.use_button.isVisible()
    if facts["can_be_used"]:
        driver.press(widget.use_button)
    facts["weights_in_use"], facts["weights"] = widget.engine.weights, str(widget.weights)

    closing = options.out / "closing"
    widget.out.setText(str(closing))
    set_run(widget, steps=100_000, save_every=10**6)
    driver.train(widget, until_step=2)
    driver.viewer.window.remove_dock_widget(widget)  # what the dock's x does
    driver.wait(lambda: (closing / "state.safetensors").is_file(), "the state of the run whose dock was closed")
    return driver.end(facts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
