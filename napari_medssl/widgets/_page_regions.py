"""The page "Regions": a scan divided without labels, the same regions in other scans, and where features change."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_medssl.errors import MedSSLError, SupportError
from napari_medssl.labels import Label
from napari_medssl.progress import Steps
from napari_medssl.settings import to_dict
from napari_medssl.widgets._form import SettingsForm
from napari_medssl.widgets._glow import glow
from napari_medssl.widgets._layout import button, row, text
from napari_medssl.widgets._notify import tell_error
from napari_medssl.widgets._overlays import BOUNDARIES, REGIONS, put_image, put_labels, show_alone, show_bar

if TYPE_CHECKING:
    from napari_medssl.explore.regions import Regions, RegionSettings
    from napari_medssl.widgets._explore_desk import Desk
    from napari_medssl.widgets._features import Features

    Placed = tuple[Regions, np.ndarray]

_DOING = "Finding regions"
_GOLDEN = 0.618033988749895  # share of the circle between neighbouring hues: none comes close to an earlier one soon
_FAINT, _STRONG = 50.0, 98.0  # percentiles of the body between which boundaries go from black to white


class RegionsPage(QWidget):
    """Regions become Labels on the scan's voxels, boundaries an Image over its cells."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        from napari_medssl.explore.regions import RegionSettings

        self.desk = desk
        self.form: SettingsForm[RegionSettings] = SettingsForm(RegionSettings())
        self.find_button = button("Find regions", "Divide the body by what it looks like to the network")
        self.same_button = button(
            "Same in other scans", "Show these regions, with the same numbers, in the other scans"
        )
        self.edges_button = button("Boundaries", "Show where features change, whatever the organ")
        self.text = text()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.form, self.find_button, row(self.same_button, self.edges_button), self.text):
            layout.addWidget(widget)
        self.find_button.clicked.connect(lambda: self.divide())
        self.same_button.clicked.connect(lambda: self.find_same())
        self.edges_button.clicked.connect(lambda: self.show_boundaries())

    def divide(self) -> bool:
        """Divide the chosen scan. False, with a sentence, when it cannot start."""
        try:
            settings = self.form.read()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        return self.desk.run_on(lambda f: _find_steps(f, settings), self._show, doing=_DOING)

    def find_same(self) -> bool:
        """Show the regions of the chosen scan in the others. False, with a sentence, when there are none."""
        try:
            features = self.desk.needed()
            regions, settings = self._found(features)
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        others = self.desk.others()

        def steps() -> Steps[list[tuple[Features, np.ndarray]]]:
            found = []
            for other in others:
                found.append((other, (yield from _same_steps(other, regions, settings))))
            return found

        def finish(found: list[tuple[Features, np.ndarray]]) -> None:
            for other, labels in found:
                if self.desk.is_open(other):
                    self._put(other, labels, regions.count, settings, of=features)
            names = ", ".join(other.name for other, _ in found)
            self.text.setText(f"The same {regions.count} regions in {names}.")

        return self.desk.run(steps, finish, doing=_DOING)

    def show_boundaries(self) -> bool:
        """Show where features change. False, with a sentence, when it cannot start."""

        def steps(features: Features) -> Steps[np.ndarray]:
            from napari_medssl.explore.boundaries import boundaries_steps

            return boundaries_steps(features.grid, features.body)

        return self.desk.run_on(steps, self._show_boundaries, doing="Finding boundaries")

    def detach(self) -> None:
        """Nothing listens to the viewer."""

    def _found(self, features: Features) -> tuple[Regions, RegionSettings]:
        if "regions" not in features.kept:
            raise SupportError(f"'{features.name}' has no regions yet; press Find regions first")
        if not self.desk.others():
            raise SupportError(
                "no other open scan has features of the same weights; open one, choose it and press Extract 3D features"
            )
        found: tuple[Regions, RegionSettings] = features.kept["regions"]
        return found

    def _show(self, features: Features, found: tuple[Regions, RegionSettings, np.ndarray]) -> None:
        regions, settings, labels = found
        features.kept["regions"] = (regions, settings)
        self._put(features, labels, regions.count, settings)
        litres = regions.volumes_mm3(features.grid) / 1e6
        few = "" if regions.count >= settings.count else f" Fewer than {settings.count}: small pieces were joined."
        self.text.setText(f"{regions.count} regions, from {litres.max():.2f} to {litres.min():.2f} l.{few}")

    def _put(
        self, features: Features, labels: np.ndarray, count: int, settings: RegionSettings, of: Features | None = None
    ) -> None:
        report = features.provenance(
            kind="regions without labels", settings=to_dict(settings), found_in=dict((of or features).grid.source)
        )
        layer = put_labels(
            self.desk.viewer, features, REGIONS, labels, name=f"{features.name} regions", report=report,
            named=region_labels(count),
        )  # fmt: skip
        show_alone(self.desk.viewer, features, layer)

    def _show_boundaries(self, features: Features, field: Any) -> None:
        limits = tuple(float(v) for v in np.percentile(field[features.body], (_FAINT, _STRONG)))
        layer = put_image(
            self.desk.viewer, features, BOUNDARIES, np.where(features.body, field, 0).astype(np.float32),
            name=f"{features.name} boundaries", report=features.provenance(kind="feature gradient per mm"),
            colormap=glow(), blending="translucent", opacity=0.9, rendering="mip",
        )  # fmt: skip
        layer.contrast_limits = (limits[0], max(limits[1], limits[0] + 1e-6))
        show_alone(self.desk.viewer, features, layer)
        show_bar(layer)
        self.text.setText("Boundaries: usual deviations of the features per mm.")


def region_labels(count: int) -> tuple[Label, ...]:
    """Regions 1 to `count` with colours that differ as long as possible."""
    labels = []
    for at in range(count):
        hue, value = (at * _GOLDEN) % 1.0, (1.0, 0.75)[at // 6 % 2]
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(hue, (0.85, 0.6)[at // 3 % 2], value))
        labels.append(Label(at + 1, f"region {at + 1}", (red, green, blue)))
    return tuple(labels)


def _find_steps(features: Features, settings: RegionSettings) -> Steps[tuple[Regions, RegionSettings, np.ndarray]]:
    from napari_medssl.explore.regions import find_regions_steps

    regions = yield from find_regions_steps(features.grid, settings, mask=features.body)
    return regions, settings, (yield from _placed_steps(features, regions.labels))


def _same_steps(features: Features, regions: Regions, settings: RegionSettings) -> Steps[np.ndarray]:
    from napari_medssl.explore.regions import same_regions_steps

    labels = yield from same_regions_steps(regions, features.grid, mask=features.body, min_mm3=settings.min_mm3)
    return (yield from _placed_steps(features, labels))


def _placed_steps(features: Features, labels: np.ndarray) -> Steps[np.ndarray]:
    """Regions, at most 200 of them, on the scan's voxels."""
    from napari_medssl.explore.onto import onto_volume_steps

    return (yield from onto_volume_steps(labels.astype(np.uint8), features.grid, features.volume, order=0))
