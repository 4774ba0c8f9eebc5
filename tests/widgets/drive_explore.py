"""Drive "Explore features" in a real viewer window as a user would, and print what came of it as JSON.

    python -m tests.widgets.drive_explore OUT SCAN [OTHER] [--at Z Y X] [--spacing MM]

SCAN and OTHER are files, "phantom MR" or "phantom CT". The place --at, in voxels of SCAN (default: its middle), is
clicked and is the first landmark. Screenshots and files go to OUT. It needs a display: start it under
`xvfb-run -a -s "-screen 0 1400x1000x24"` on a machine without one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._overlays import (
    ALIKE,
    BOUNDARIES,
    COLOURS,
    LANDMARKS,
    REGIONS,
    SELECTION,
    SIMILAR,
    find_overlay,
)
from napari_medssl.widgets._probes import probes_of
from napari_medssl.widgets.explore import ExploreWidget
from tests.widgets.drive_viewer import Driver


class ExploreDriver(Driver):
    """Hands for the exploration."""

    def open_scan(self, scan: str) -> Image:
        """Open a scan and hide what else comes with it."""
        before = list(self.viewer.layers)
        if scan.startswith("phantom"):
            self.viewer.open_sample("napari-medssl", scan.replace(" ", "_").lower())
        else:
            self.viewer.open(scan, plugin="napari-medssl")
        new = [layer for layer in self.viewer.layers if layer not in before]
        image = next(layer for layer in new if is_scan(layer))
        for layer in [x for x in new if x is not image]:
            self.viewer.layers.remove(layer)
        return image

    def open_dock(self) -> ExploreWidget:
        """The dock, ready to extract."""
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-medssl", "Explore features")
        self.viewer.window.resize(1400, 1000)
        self.settle()
        self.wait(lambda: dock.panel.form is not None and not dock.panel.work.running, "the settings")
        return dock

    def show(self, image: Image, at: tuple[int, int, int]) -> None:
        """Show the slice of a voxel of a scan; hide the other scans."""
        for layer in self.viewer.layers:
            if is_scan(layer):
                layer.visible = layer is image
        self.viewer.layers.selection.active = image
        self.viewer.reset_view()
        self.viewer.dims.set_point(self.viewer.dims.ndim - 3, float(image.data_to_world(at)[0]))
        self.settle()

    def done(self, dock: ExploreWidget, button: Any, what: str) -> dict[str, float]:
        """Press a button and wait for its work; seconds, and the longest time the window did not answer."""
        start = time.monotonic()
        self.press(button)
        frozen = self.wait(lambda: not dock.panel.work.running, what)
        self.settle(0.1)
        return {"seconds": time.monotonic() - start, "longest_freeze_s": frozen}

    def ask(self, dock: ExploreWidget, image: Image, at: Any, keys: Any = None) -> dict[str, float]:
        """Click a voxel and wait until its answer is painted: from the release of the button, in s. On a
        busy machine the CPU time says more."""
        dock.alike.latency_s = None
        world = tuple(image.data_to_world(at))
        native = self.viewer.window._qt_viewer.canvas.native
        point = self.canvas_point(world)
        modifier = keys or Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(native, point)
        QTest.mousePress(native, Qt.MouseButton.LeftButton, modifier, point)
        start, work = time.perf_counter(), time.process_time()
        QTest.mouseRelease(native, Qt.MouseButton.LeftButton, modifier, point)
        while dock.alike.latency_s is None:
            QApplication.processEvents()
            if time.perf_counter() - start > 60:
                raise TimeoutError("the answer did not come")
        filled, work = time.perf_counter() - start, time.process_time() - work
        self.viewer.screenshot(flash=False)  # draws the canvas, as the next event would
        return {"layer_filled_s": filled, "painted_s": time.perf_counter() - start, "cpu_until_filled_s": work}

    def lasso(self, plot: Any) -> None:
        """Draw around the right upper part of a plot with the mouse."""
        width, height = plot.width(), plot.height()
        corners = [(0.6, 0.1), (0.97, 0.1), (0.97, 0.5), (0.8, 0.55), (0.6, 0.4)]
        points = [QPoint(round(x * width), round(y * height)) for x, y in corners]
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mousePress(plot, left, none, points[0])
        for point in points[1:]:
            at = QPointF(point)
            plot.mouseMoveEvent(QMouseEvent(QMouseEvent.Type.MouseMove, at, at, left, left, none))
        self.settle(0.1)
        QTest.mouseRelease(plot, left, none, points[-1])


def extract(driver: ExploreDriver, dock: ExploreWidget, images: list[Image], spacing: float) -> list[dict[str, Any]]:
    """Features of all scans; the first is chosen at the end."""
    assert dock.panel.form is not None
    entries = dict(dock.panel.form.entries())
    if spacing:
        entries["spacing_mm"].value = spacing
    facts = []
    for image in reversed(images):
        dock.panel.image.choose(image)
        facts.append(driver.done(dock, dock.panel.extract_button, "the features") | {"says": dock.panel.status.text()})
    return facts


def misplaced_mm(dock: ExploreWidget, role: str) -> float:
    """How far an overlay's corner cells lie from where the features say, in the viewer's world."""
    features = dock.features
    layer = find_overlay(dock.viewer, features, role)
    assert features is not None
    assert layer is not None
    shape = features.grid.shape if layer.data.shape[:3] == features.grid.shape else features.volume.shape
    corners = np.array([(0, 0, 0), tuple(n - 1 for n in shape)])
    if shape == features.grid.shape:
        world = features.world_of_mm(corners @ features.grid.affine[:3, :3].T + features.grid.affine[:3, 3])
    else:
        world = np.array([features.image.data_to_world(corner) for corner in corners])
    shown = np.array([layer.data_to_world(corner)[:3] for corner in corners])
    return float(np.abs(shown - world).max())


def look(
    driver: ExploreDriver, dock: ExploreWidget, image: Image, at: tuple[int, int, int], facts: dict[str, Any]
) -> None:
    """Colours in 2D and 3D, a component, a click, labels, regions, boundaries, a lasso."""
    page = dock.panel.pages
    facts["colours"] = driver.done(dock, dock.colours.show_button, "the colours") | {"says": dock.colours.text.text()}
    driver.picture("1-colours")
    facts["misplaced_mm"] = {COLOURS: misplaced_mm(dock, COLOURS)}
    driver.viewer.dims.ndisplay = 3
    image.visible = False  # its brightest bones would lie over everything
    driver.viewer.reset_view()
    driver.viewer.scene.camera.angles = (0.0, 25.0, 125.0)
    driver.settle(1.0)
    driver.picture("2-colours-3d")
    driver.viewer.dims.ndisplay = 2
    driver.show(image, at)
    facts["component"] = driver.done(dock, dock.colours.component_button, "the component")
    driver.picture("3-component")
    driver.press(page.buttons[1])
    driver.press(dock.alike.pick_button)
    facts["first_click"] = driver.ask(dock, image, at)
    driver.picture("4-alike")
    facts["clicks"] = [driver.ask(dock, image, (at[0], at[1] + n, at[2] + n)) for n in range(1, 6)]
    away = (at[0], image.data.shape[1] // 2, image.data.shape[2] // 2)
    facts["against"] = driver.ask(dock, image, away, Qt.KeyboardModifier.ControlModifier)
    facts["says"] = dock.alike.text.text()
    assert dock.features is not None
    probes = probes_of(driver.viewer, dock.features)
    facts["probes"] = list(probes.features["kind"]) if probes is not None else []
    facts["misplaced_mm"][SIMILAR] = misplaced_mm(dock, SIMILAR)
    facts["labels"] = driver.done(dock, dock.alike.labels_button, "the labels")
    facts["misplaced_mm"][ALIKE] = misplaced_mm(dock, ALIKE)
    driver.picture("5-labels")
    driver.press(dock.alike.pick_button)
    driver.press(page.buttons[2])
    facts["regions"] = driver.done(dock, dock.regions.find_button, "the regions") | {"says": dock.regions.text.text()}
    facts["misplaced_mm"][REGIONS] = misplaced_mm(dock, REGIONS)
    driver.picture("6-regions")
    facts["boundaries"] = driver.done(dock, dock.regions.edges_button, "the boundaries")
    facts["misplaced_mm"][BOUNDARIES] = misplaced_mm(dock, BOUNDARIES)
    driver.picture("7-boundaries")
    driver.press(page.buttons[4])
    facts["plot"] = driver.done(dock, dock.table.plot_button, "the plot")
    driver.lasso(dock.table.plot)
    driver.wait(lambda: not dock.panel.work.running, "the selection")
    driver.picture("8-lasso")
    selected = find_overlay(driver.viewer, dock.features, SELECTION)
    facts["selected_voxels"] = int(np.asarray(selected.data).sum()) if selected is not None else 0


def compare(
    driver: ExploreDriver, dock: ExploreWidget, images: list[Image], at: tuple[int, int, int], facts: Any
) -> None:
    """The linked cursor and landmarks in the other scan."""
    other = dock.desk.others()[0]
    driver.press(dock.panel.pages.buttons[1])
    dock.alike.linked.setCurrentIndex(dock.alike.linked.findText(other.name))
    driver.press(dock.alike.pick_button)
    facts["linked"] = [driver.ask(dock, images[0], at), driver.ask(dock, images[0], at)]
    facts["linked_says"] = dock.alike.text.text()
    driver.press(dock.alike.pick_button)
    driver.press(dock.panel.pages.buttons[3])
    driver.press(dock.landmarks.new_button)
    layer = dock.landmarks.points.layer
    for shift in (0, -8, 8):
        layer.add((at[0], at[1] + shift, at[2] + shift))
    layer.mode = "pan_zoom"
    facts["landmarks"] = driver.done(dock, dock.landmarks.find_button, "the landmarks")
    facts["table"] = dock.landmarks.table.texts()
    found = find_overlay(driver.viewer, other, LANDMARKS, str(images[0].unique_id))
    facts["landmarks_found"] = len(found.data) if found is not None else 0
    driver.show(other.image, tuple(int(v) for v in np.rint(found.data[0])) if found is not None else (0, 0, 0))
    found.visible = True
    dock.landmarks.table.opened.emit(0)
    driver.picture("9-landmarks")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("scan")
    parser.add_argument("other", nargs="?")
    parser.add_argument("--at", type=int, nargs=3, metavar=("Z", "Y", "X"))
    parser.add_argument("--weights", type=Path, help="a file of weights instead of the default")
    parser.add_argument("--spacing", type=float, default=0.0, help="of the voxels the encoder is shown, in mm")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    driver = ExploreDriver(options.out)
    images = [driver.open_scan(scan) for scan in (options.scan, options.other) if scan]
    dock = driver.open_dock()
    at = tuple(options.at) if options.at else tuple(n // 2 for n in images[0].data.shape)
    facts: dict[str, Any] = {"scan": images[0].name, "shape": list(images[0].data.shape), "at": at}
    driver.show(images[0], at)
    if options.weights:
        dock.choose_weights(options.weights)
    facts["extract"] = extract(driver, dock, images, options.spacing)
    look(driver, dock, images[0], at, facts)
    if options.other:
        compare(driver, dock, images, at, facts)
    area = dock.findChild(QScrollArea)
    facts["fits"] = area.viewport().width() >= area.widget().minimumSizeHint().width()
    facts["dock_width"] = dock.width()
    callbacks = driver.viewer.mouse_drag_callbacks
    engine = dock.engine
    driver.viewer.window.remove_dock_widget("all")
    driver.settle(0.5)
    facts["callbacks_left"] = [c.__qualname__ for c in callbacks if "Picker" in c.__qualname__]
    return driver.end(facts, engine)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
