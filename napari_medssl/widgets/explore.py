"""The dock widget "Explore features": see a scan through a network that learned without labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QVBoxLayout, QWidget

from napari_medssl.errors import MedSSLError, SettingsError
from napari_medssl.widgets._docked import DockedWidget
from napari_medssl.widgets._engine import EngineHandle, engine_for
from napari_medssl.widgets._explore_desk import Desk
from napari_medssl.widgets._explore_panel import FILE, ExplorePanel
from napari_medssl.widgets._feature_work import (
    ExtractRequest,
    adopt_steps,
    load_settings_steps,
    open_steps,
    save_steps,
)
from napari_medssl.widgets._features import Features
from napari_medssl.widgets._grid_layer import grid_of_layer, is_grid_layer, scan_of_grid
from napari_medssl.widgets._notify import tell, tell_error, tell_notes
from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._overlays import remove_overlays
from napari_medssl.widgets._page_alike import AlikePage
from napari_medssl.widgets._page_colours import ColoursPage
from napari_medssl.widgets._page_landmarks import LandmarksPage
from napari_medssl.widgets._page_regions import RegionsPage
from napari_medssl.widgets._page_scans import ScansPage
from napari_medssl.widgets._page_table import TablePage
from napari_medssl.widgets._scan import scan_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medssl.dense.settings import ExtractSettings

_DOING = "The extraction"
_FILTERS = "Feature grid, chunked (*.zarr);;Feature grid (*.npz)"


class ExploreWidget(DockedWidget):
    """Joins the panel and its six pages with a viewer and its engine.

    Features live in the desk's store beside their layers; what they show lives in layers. panel: the controls. desk:
    what the pages share. colours, alike, regions, landmarks, table, scans: the pages.
    """

    def __init__(self, napari_viewer: Viewer, engine: EngineHandle | None = None) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.engine = engine or engine_for(napari_viewer)
        self.engine.follow(self)
        self.panel = ExplorePanel(napari_viewer)
        self.desk = Desk(napari_viewer, self.engine, self.panel.image, self.panel.work, self)
        self.colours = ColoursPage(self.desk)
        self.alike = AlikePage(self.desk)
        self.regions = RegionsPage(self.desk)
        self.landmarks = LandmarksPage(self.desk)
        self.table = TablePage(self.desk)
        self.scans = ScansPage(self.desk, self._how)
        self._waiting: list[Image] = []  # layers of opened feature files
        self._told: set[str] = set()
        self._add_pages()
        # Without a policy that wants height napari adds a stretch and the panel gets half the dock.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        self._connect()
        self._refresh()
        self.panel.work.start(load_settings_steps, self._on_settings, doing="Loading the settings")

    @property
    def image(self) -> Image | None:
        """The scan that is explored."""
        return self.desk.image

    @property
    def features(self) -> Features | None:
        """Of the scan that is explored; None before Extract."""
        return self.desk.features

    def extract(self) -> bool:
        """Extract the features of the scan. False, with a sentence, when it cannot start."""
        image = self.image
        try:
            scan = scan_of(image)
            assert image is not None
            request = ExtractRequest(image, scan, *self._how())
        except MedSSLError as error:
            self.panel.status.setText(tell_error(error, _DOING))
            return False
        self.engine.device = self.panel.device.currentText()
        return self.desk.run(lambda: request.steps(self.engine), self._keep, doing=_DOING)

    def save(self, path: Path | None = None) -> bool:
        """Save the features; asks for the path when none is given."""
        try:
            features = self.desk.needed()
        except MedSSLError as error:
            tell_error(error, "Saving")
            return False
        path = path or self._ask_save(features.name)
        if path is None:
            return False
        target = path
        return self.desk.run(lambda: save_steps(target, features), lambda p: tell(f"Saved {p}."), doing="Saving")

    def open(self, path: Path) -> bool:
        """Use saved features, .npz or .zarr, for the scan. False, with a sentence, when it cannot start."""
        image = self.image
        try:
            scan = scan_of(image)
            assert image is not None
        except MedSSLError as error:
            tell_error(error, "Opening features")
            return False
        return self.desk.run(lambda: open_steps(path, image, scan), self._keep, doing="Opening features")

    def choose_weights(self, path: Path | None = None) -> None:
        """Offer a file of weights and choose it; asks for it when none is given. Cancelled: the default is chosen."""
        if path is None:
            text, _ = QFileDialog.getOpenFileName(self, "Weights", "", "Weights (*.safetensors)")
            path = Path(text) if text else None
        box = self.panel.weights
        if path is None:
            box.setCurrentIndex(0)
            return
        if box.findData(str(path)) < 0:
            box.insertItem(box.findData(FILE), path.name, str(path))
        box.setCurrentIndex(box.findData(str(path)))

    def _detach(self) -> None:
        # Also after the Qt object's end: napari destroys a closed dock without asking it, and a run may be under way.
        self.panel.detach()
        for page in (self.colours, self.alike, self.regions, self.landmarks, self.table, self.scans):
            page.detach()
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _add_pages(self) -> None:
        pages = self.panel.pages
        pages.add("Colours", "Anatomy in the colours of its principal components", self.colours)
        pages.add("Find alike", "Click a place and see what looks like it", self.alike)
        pages.add("Regions", "Regions found without labels", self.regions)
        pages.add("Landmarks", "Find points of one scan in others", self.landmarks)
        pages.add("Table", "Features of drawn regions; a plot with a lasso", self.table)
        pages.add("Similar scans", "The most similar scans of a folder", self.scans)

    def _connect(self) -> None:
        panel = self.panel
        panel.extract_button.clicked.connect(lambda: self.extract())
        panel.save_button.clicked.connect(lambda: self.save())
        panel.open_file.triggered.connect(lambda: self._open_chosen(_npz_file(self)))
        panel.open_folder.triggered.connect(lambda: self._open_chosen(_zarr_folder(self)))
        panel.weights.activated.connect(self._on_weights)
        panel.work.running_changed.connect(self._on_running)
        self.desk.turned.connect(self._refresh)
        self.alike.picker.picked.connect(lambda position, _: self._on_place(position))
        self.alike.picker.hovered.connect(self._on_place)
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self.viewer.layers.events.removed.connect(self._on_removed)
        self.destroyed.connect(lambda: self._detach())
        self._waiting += [layer for layer in self.viewer.layers if is_grid_layer(layer)]

    def _on_settings(self, settings: ExtractSettings) -> None:
        self.panel.show_form(settings)
        QTimer.singleShot(0, self._adopt_next)

    def _how(self) -> tuple[str, ExtractSettings | None]:
        """Weights and settings. Raises SettingsError when one is wrong."""
        return str(self.panel.weights.currentData()), self._settings()

    def _settings(self) -> ExtractSettings | None:
        """As the form shows them. Raises SettingsError when one is wrong."""
        if self.panel.form is None:
            return None  # still being loaded: the engine's own
        words = self.panel.stages.text().replace(",", " ").split()
        if not all(word.isdigit() and int(word) for word in words):
            raise SettingsError(
                f"stages are {self.panel.stages.text()!r}; give numbers from 1 such as '2 3', or nothing"
            )
        return dataclasses.replace(self.panel.form.read(), stages=tuple(int(word) for word in words))

    def _keep(self, features: Features) -> None:
        if features.image not in self.viewer.layers:
            tell("The scan was removed meanwhile, so its features are dropped.")
            return
        if features.data is not features.image.data:
            tell(f"The voxels of '{features.name}' were replaced meanwhile; press Extract 3D features again.")
            return
        self.desk.store.add(features)
        tell_notes(tuple(note for note in features.notes if note not in self._told))
        self._told.update(features.notes)
        QTimer.singleShot(0, self._adopt_next)

    def _refresh(self) -> None:
        features, image = self.features, self.image
        self.panel.status.setText(_told(features) if features is not None else _missing(image))
        self.panel.save_button.setEnabled(features is not None)

    def _on_running(self, running: bool) -> None:
        self.panel.extract_button.setEnabled(not running)
        self.panel.open_button.setEnabled(not running)

    def _on_weights(self) -> None:
        if self.panel.weights.currentData() == FILE:
            self.choose_weights()

    def _on_place(self, position: Any) -> None:
        features = self.features
        if features is not None and features.holds(features.image.world_to_data(position[-3:])):
            self.table.show_place(features, features.mm_of_world(position))

    def _on_inserted(self, event: Any) -> None:
        if is_grid_layer(event.value):
            self._waiting.append(event.value)
            self._adopt_next()
        elif is_scan(event.value) and self._waiting:
            self._adopt_next()

    def _adopt_next(self) -> None:
        """Take over features that were opened through napari, for the scan they fit."""
        if self.panel.work.running:
            return
        for layer in [x for x in self._waiting if x in self.viewer.layers]:
            image = scan_of_grid(self.viewer, grid_of_layer(layer))
            if image is not None and self.desk.store.of(image) is None:
                self._waiting.remove(layer)
                self._adopt(layer, image)
                return

    def _adopt(self, layer: Image, image: Image) -> None:
        grid, scan, name = grid_of_layer(layer), scan_of(image), layer.name
        self.panel.image.choose(image)
        self.desk.run(lambda: adopt_steps(grid, image, scan, name), self._keep, doing="Opening features")

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer in self._waiting:
            self._waiting.remove(layer)
        if not isinstance(layer, Image) or not is_scan(layer):
            return
        remove_overlays(self.viewer, layer)
        self.desk.store.drop(layer)
        if self.panel.work.running and not any(is_scan(x) for x in self.viewer.layers):
            why = f"'{layer.name}' was removed, so the work was stopped."
            self.panel.work.cancel(why)
            tell(why)

    def _ask_save(self, name: str) -> Path | None:
        text, chosen = QFileDialog.getSaveFileName(self, "Save features", f"{name} features.zarr", _FILTERS)
        if not text:
            return None
        path = Path(text)
        return (
            path
            if path.suffix in (".zarr", ".npz")
            else path.with_name(path.name + (".npz" if "npz" in chosen else ".zarr"))
        )

    def _open_chosen(self, path: Path | None) -> None:
        if path is not None:
            self.open(path)


def _npz_file(parent: QWidget) -> Path | None:
    text, _ = QFileDialog.getOpenFileName(parent, "Open features", "", "Features (*.npz)")
    return Path(text) if text else None


def _zarr_folder(parent: QWidget) -> Path | None:
    text = QFileDialog.getExistingDirectory(parent, "Open features: choose the .zarr folder")
    return Path(text) if text else None


def _told(features: Features) -> str:
    grid, encoder = features.grid, features.grid.encoder
    cells = " × ".join(map(str, grid.shape))
    size = " × ".join(f"{mm:.3g}" for mm in grid.spacing_mm)
    weights = str(encoder.get("weights_sha256") or "")[:8]
    name = f"{encoder.get('name', 'encoder')}{f' ({weights})' if weights else ''}"
    return f"{cells} cells of {size} mm, {grid.channels} channels, {name}"


def _missing(image: Image | None) -> str:
    return "Open a scan to explore it." if image is None else "No features yet."
