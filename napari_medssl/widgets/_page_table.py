"""The page "Table": features of drawn regions as a file, and their voxels as a plot with a lasso."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_medssl.errors import GeometryError, MedSSLError
from napari_medssl.labels import Label, default_label
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._feature_work import COMPONENTS, components_steps
from napari_medssl.widgets._features import Features
from napari_medssl.widgets._layers import organs_of
from napari_medssl.widgets._layout import button, row, text
from napari_medssl.widgets._notify import tell, tell_error, tell_notes
from napari_medssl.widgets._options import is_labels
from napari_medssl.widgets._overlays import SELECTION, put_labels, show_alone
from napari_medssl.widgets._region_layer import region_of
from napari_medssl.widgets._scatter import ScatterPlot

if TYPE_CHECKING:
    from napari_medssl.explore.roi import RegionTable
    from napari_medssl.volume import Volume
    from napari_medssl.widgets._explore_desk import Desk

_MOST_NAMES = 4  # in the legend of a plot as wide as a dock
_DOING = "The plot"
_FILTERS = "Table (*.csv);;Parquet (*.parquet)"


@dataclass(frozen=True, eq=False)
class Plotted:
    """What the plot shows. cells: (N,) flat indices into the grid. components: (N, n). rgb: (N, 3) in [0, 1]."""

    features: Features
    cells: npt.NDArray[np.int64]
    components: npt.NDArray[np.float32]
    rgb: npt.NDArray[np.float32]
    legend: tuple[tuple[str, tuple[int, int, int]], ...]


class TablePage(QWidget):
    """plotted: what the plot shows; None before the first plot."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.plotted: Plotted | None = None
        self.labels = LayerChooser(desk.viewer, is_labels, none="(whole body)")
        self.labels.setToolTip("The regions whose features are written or plotted")
        self.export_button = button("Export table…", "One row per region with its mean features, as CSV or Parquet")
        self.plot_button = button("Plot", "The cells of the regions by two components")
        self.across, self.up = QComboBox(), QComboBox()
        self.plot = ScatterPlot(empty="cells appear here after Plot; draw around some to select them in the scan")
        self.text = text()
        self._arrange()
        self.export_button.clicked.connect(lambda: self.export())
        self.plot_button.clicked.connect(lambda: self.show_plot())
        for box in (self.across, self.up):
            box.currentIndexChanged.connect(lambda _: self._draw())
        self.plot.lassoed.connect(self.select)
        desk.turned.connect(self.refresh)

    def show_plot(self) -> bool:
        """Plot the cells of the chosen regions. False, with a sentence, when it cannot start."""
        try:
            region, organs = self._regions()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        return self.desk.run_on(lambda f: plot_steps(f, region, organs), self._on_plotted, doing=_DOING)

    def export(self, path: Path | None = None) -> bool:
        """Write the features of each region; asks for the path when none is given."""
        try:
            features = self.desk.needed()
            region = region_of(self.labels.layer, features)
            organs = self._organs(region)
        except MedSSLError as error:
            tell_error(error, "The export")
            return False
        path = path or self._ask(features.name)
        if path is None:
            return False
        target = path

        def finish(table: RegionTable) -> None:
            tell(f"Saved {target}.")
            tell_notes(table.notes)
            self.text.setText(f"{len(table.rows)} regions, {features.grid.channels} channels each, in {target.name}.")

        return self.desk.run(lambda: export_steps(target, features, region, organs), finish, doing="The export")

    def select(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Show the chosen cells as a mask on the scan."""
        plotted = self.plotted
        if plotted is None or not self.desk.is_open(plotted.features):
            return
        features = plotted.features

        def steps() -> Steps[Any]:
            from napari_medssl.explore.onto import onto_volume_steps

            field = np.zeros(features.grid.shape, np.uint8)
            field.flat[plotted.cells[chosen]] = 1
            return (yield from onto_volume_steps(field, features.grid, features.volume, order=0))

        def finish(mask: Any) -> None:
            if not self.desk.is_open(features):
                return
            axes = [self.across.currentIndex() + 1, self.up.currentIndex() + 1]
            report = features.provenance(kind="cells selected in a plot", components=axes, cells=int(chosen.sum()))
            name = f"{features.name} selection"
            layer = put_labels(self.desk.viewer, features, SELECTION, mask, name=name, report=report)
            show_alone(self.desk.viewer, features, layer)
            ml = float(mask.sum()) * features.volume.voxel_ml
            self.text.setText(f"{int(chosen.sum())} of {len(chosen)} cells selected, {ml:.0f} ml.")

        self.desk.run(steps, finish, doing="The selection")

    def show_place(self, features: Features, point_mm: npt.NDArray[np.float64]) -> None:
        """Ring the cell of a place that was picked in the scan."""
        if self.plotted is None or self.plotted.features is not features:
            return
        index = np.rint(features.grid.index_of(point_mm)[0]).astype(int)
        cell = np.ravel_multi_index(tuple(np.clip(index, 0, np.array(features.grid.shape) - 1)), features.grid.shape)
        at = np.flatnonzero(self.plotted.cells == cell)
        self.plot.show_cursor(self._xy()[at[0]] if len(at) else None)

    def refresh(self) -> None:
        """Forget the plot of a scan that is gone."""
        if self.plotted is not None and not self.desk.is_open(self.plotted.features):
            self.plotted = None
            self.plot.show_points(np.zeros((0, 2), np.float32), np.zeros((0, 3), np.float32))

    def detach(self) -> None:
        """Stop listening; touches no Qt."""
        self.labels.detach()

    def _regions(self) -> tuple[Volume | None, tuple[Label, ...]]:
        if self.labels.layer is None:
            return None, ()
        region = region_of(self.labels.layer, self.desk.needed())
        return region, self._organs(region)

    def _organs(self, region: Volume) -> tuple[Label, ...]:
        """Names of the labels that are drawn."""
        layer = self.labels.layer
        known = {label.value: label for label in organs_of(layer)} if isinstance(layer, Labels) else {}
        present = (int(v) for v in np.unique(region.data) if v > 0)
        return tuple(known.get(v, default_label(v)) for v in present)

    def _on_plotted(self, features: Features, plotted: Plotted) -> None:
        self.plotted = plotted
        most = plotted.components.shape[1]
        for box in (self.across, self.up):
            blocked = box.blockSignals(True)
            at = min(box.currentIndex(), most - 1)
            box.clear()
            box.addItems([str(n + 1) for n in range(most)])
            box.setCurrentIndex(at)
            box.blockSignals(blocked)
        self._draw()
        self.text.setText(f"{len(plotted.cells)} cells of {features.name}.")

    def _xy(self) -> npt.NDArray[np.float32]:
        assert self.plotted is not None
        return self.plotted.components[:, [self.across.currentIndex(), self.up.currentIndex()]]

    def _draw(self) -> None:
        if self.plotted is not None:
            names = f"component {self.across.currentText()}", f"component {self.up.currentText()}"
            self.plot.show_points(self._xy(), self.plotted.rgb, names, self.plotted.legend)

    def _ask(self, name: str) -> Path | None:
        chosen, kind = QFileDialog.getSaveFileName(self, "Export features", f"{name} features.csv", _FILTERS)
        if not chosen:
            return None
        path = Path(chosen)
        return path if path.suffix else path.with_suffix(".parquet" if "parquet" in kind else ".csv")

    def _arrange(self) -> None:
        for box, at in ((self.across, 0), (self.up, 1)):
            box.addItems([str(n + 1) for n in range(COMPONENTS)])
            box.setCurrentIndex(at)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows = QFormLayout()
        rows.addRow("Regions", self.labels)
        rows.addRow("Components", row(self.across, QLabel("×"), self.up, self.plot_button))
        layout.addLayout(rows)
        layout.addWidget(self.plot)
        layout.addWidget(self.text)
        layout.addWidget(self.export_button)


def plot_steps(features: Features, region: Volume | None, organs: tuple[Label, ...]) -> Steps[Plotted]:
    """The cells of the regions (of the body without any), coloured by region or by their first components."""
    colours, components = yield from components_steps(features, features)
    owner = np.zeros(features.grid.shape, np.int64)
    if region is None:
        owner[features.body] = 1
    for done, label in enumerate(organs):
        from napari_medssl.explore.coverage import cells_in

        yield Progress(done, len(organs), "finding cells", label.name)
        assert region is not None
        owner[cells_in(features.grid, region, label.value)] = label.value
    cells = np.flatnonzero(owner)
    if not len(cells):
        raise GeometryError("the regions lie outside the features' field; draw inside the scan")
    found = components.reshape(-1, components.shape[-1])[cells]
    rgb = colours.painted(found)
    legend = tuple((label.name, label.color) for label in organs[:_MOST_NAMES])
    for label in organs:
        rgb[owner.flat[cells] == label.value] = np.array(label.color) / 255
    return Plotted(features, cells, found, rgb, legend)


def export_steps(path: Path, features: Features, region: Volume, organs: tuple[Label, ...]) -> Steps[RegionTable]:
    """Write one row per region, and give the rows. path: .csv or .parquet."""
    yield Progress(0, 0, "measuring regions")
    from napari_medssl.explore.roi import region_table_steps, write_table

    named = dataclasses.replace(region, labels=organs)
    table = yield from region_table_steps(features.grid, named, scan=features.name)
    write_table(path, table)
    return table
