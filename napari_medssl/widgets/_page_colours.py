"""The page "Colours": what looks alike to the network in one colour, or one component at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSlider, QSpinBox, QVBoxLayout, QWidget

from napari_medssl.progress import Steps
from napari_medssl.widgets._feature_work import COMPONENTS, components_steps
from napari_medssl.widgets._glow import clear_below
from napari_medssl.widgets._layers import facts_of, role_of
from napari_medssl.widgets._layout import button, row, text
from napari_medssl.widgets._overlays import COLOURS, COMPONENT, put_image, show_alone, show_bar

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_medssl.explore.colours import FeatureColours
    from napari_medssl.widgets._explore_desk import Desk
    from napari_medssl.widgets._features import Features

    Painted = tuple[FeatureColours, npt.NDArray[np.float32]]

_DOING = "Colouring"
_OPACITY = 0.6
_LEAST_SHOWN = 0.03  # of a component's range: just above the first, transparent step of its colours
_SEE_THROUGH = 0.06  # alpha of a cell in 3D: some thirty cells deep can be looked into


class ColoursPage(QWidget):
    """Signal-free: buttons start work, results become layers. fitted: whose colours are used."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.fitted = QComboBox()
        self.fitted.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.fitted.setToolTip("With the colours of another scan, the same colour means the same thing in both")
        self.body = QCheckBox("Only the body")
        self.body.setChecked(True)
        self.body.setToolTip("Leave the air around the patient transparent")
        self.show_button = button("Show colours", "The first three components as red, green and blue")
        self.component = QSpinBox()
        self.component.setRange(1, COMPONENTS)
        self.component_button = button("Show component", "One component with a colour bar")
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(round(100 * _OPACITY))
        self.text = text("Tissues that look alike to the network get the same colour.")
        self._arrange()
        self.show_button.clicked.connect(lambda: self.show_colours())
        self.component_button.clicked.connect(lambda: self.show_component())
        self.body.toggled.connect(lambda _: self._repaint())
        self.opacity.valueChanged.connect(self._on_opacity)
        desk.turned.connect(self.refresh)
        desk.viewer.dims.events.ndisplay.connect(self._repaint)
        self.refresh()

    def show_colours(self) -> bool:
        """Paint the chosen scan. False, with a sentence, when it cannot start."""
        return self.desk.run_on(self._steps, self._paint, doing=_DOING)

    def show_component(self) -> bool:
        """Show the chosen component. False, with a sentence, when it cannot start."""
        return self.desk.run_on(self._steps, self._show_component, doing=_DOING)

    def refresh(self) -> None:
        """Offer the scans whose colours can be used."""
        chosen = self.fitted.currentData()
        self.fitted.clear()
        self.fitted.addItem("this scan", None)
        for features in self.desk.others():
            self.fitted.addItem(features.name, features.image.unique_id)
        self.fitted.setCurrentIndex(max(0, self.fitted.findData(chosen)))

    def detach(self) -> None:
        """Stop listening to the viewer; touches no Qt."""
        self.desk.viewer.dims.events.ndisplay.disconnect(self._repaint)

    def _steps(self, features: Features) -> Steps[Painted]:
        return components_steps(features, self._fitted_on(features))

    def _fitted_on(self, features: Features) -> Features:
        wanted = self.fitted.currentData()
        return next((f for f in self.desk.others() if f.image.unique_id == wanted), features)

    def _paint(self, features: Features, painted: Painted) -> None:
        colours, components = painted
        of = self._fitted_on(features)
        rgba = self._rgba(colours.painted(components), features)
        report = features.provenance(kind="principal components as colours", fitted_on=dict(of.grid.source))
        layer = put_image(
            self.desk.viewer, features, COLOURS, rgba, name=f"{features.name} colours", report=report,
            rgb=True, opacity=self.opacity.value() / 100, rendering="translucent", blending="translucent",
        )  # fmt: skip
        facts_of(layer)["painted"] = colours
        show_alone(self.desk.viewer, features, layer)
        shares = ", ".join(f"{100 * share:.0f}" for share in colours.shares[:3])
        self.text.setText(f"Red, green and blue hold {shares} % of the variance" + _whose(of, features))

    def _show_component(self, features: Features, painted: Painted) -> None:
        colours, components = painted
        of, at = self._fitted_on(features), min(self.component.value(), colours.count) - 1
        report = features.provenance(
            kind="principal component",
            component=at + 1,
            share=float(colours.shares[at]),
            fitted_on=dict(of.grid.source),
        )
        limits = (float(colours.low[at]), float(max(colours.high[at], colours.low[at] + 1e-6)))
        field = np.ascontiguousarray(components[..., at])
        if self.body.isChecked():
            # Below the range is transparent: the lowest of the body's values must not be.
            lowest = limits[0] + _LEAST_SHOWN * (limits[1] - limits[0])
            field = np.where(features.body, np.maximum(field, lowest), 2 * limits[0] - limits[1]).astype(np.float32)
        layer = put_image(
            self.desk.viewer, features, COMPONENT, field, name=f"{features.name} component {at + 1}", report=report,
            colormap=clear_below(), opacity=self.opacity.value() / 100, blending="translucent",
        )  # fmt: skip
        layer.contrast_limits = limits
        show_alone(self.desk.viewer, features, layer)
        show_bar(layer)
        self.text.setText(
            f"Component {at + 1}: {100 * colours.shares[at]:.1f} % of the variance" + _whose(of, features)
        )

    def _rgba(self, rgb: npt.NDArray[np.float32], features: Features) -> npt.NDArray[np.uint8]:
        """Colours with what can be seen through; in 3D nearly everything, or only the skin would show."""
        solid = self.desk.viewer.dims.ndisplay == 2
        alpha = np.full((*rgb.shape[:3], 1), 1.0 if solid else _SEE_THROUGH, np.float32)
        if self.body.isChecked():
            alpha[~features.body] = 0.0
        return np.asarray(np.rint(255 * np.concatenate([rgb, alpha], -1)), np.uint8)

    def _repaint(self, event: Any = None) -> None:
        """The colours on show, for another way of looking at them."""
        for features in self.desk.store.all():
            kept = features.kept.get("components")
            for layer in self._shown(COLOURS):
                if kept and role_of(layer)[1] == features.image.unique_id and facts_of(layer)["painted"] is kept[0]:
                    layer.data = self._rgba(kept[0].painted(kept[1]), features)

    def _on_opacity(self, percent: int) -> None:
        for layer in (*self._shown(COLOURS), *self._shown(COMPONENT)):
            layer.opacity = percent / 100

    def _shown(self, role: str) -> list[Image]:
        return [layer for layer in self.desk.viewer.layers if role_of(layer)[0] == role]

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows = QFormLayout()
        rows.addRow("Colours of", self.fitted)
        rows.addRow("Opacity", self.opacity)
        layout.addLayout(rows)
        layout.addWidget(self.body)
        layout.addWidget(self.show_button)
        layout.addWidget(row(self.component, self.component_button))
        layout.addWidget(self.text)


def _whose(of: Features, features: Features) -> str:
    return "." if of is features else f", with the colours of {of.name}."
