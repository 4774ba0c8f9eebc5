"""The page "Find alike": click a place, and everything that looks like it glows, here and in the other scans."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from napari_medssl.errors import MedSSLError
from napari_medssl.progress import Steps
from napari_medssl.widgets._alike_work import Answer, Question, answer
from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._feature_work import index_steps
from napari_medssl.widgets._features import Features
from napari_medssl.widgets._glow import glow
from napari_medssl.widgets._latest import Latest
from napari_medssl.widgets._layers import role_of
from napari_medssl.widgets._layout import button, row, text
from napari_medssl.widgets._linked_cursor import show_cursor
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._options import is_labels
from napari_medssl.widgets._overlays import (
    ALIKE,
    PROBES,
    SIMILAR,
    find_overlay,
    put_image,
    put_labels,
    show_alone,
    show_bar,
)
from napari_medssl.widgets._picking import ADD, AGAINST, Picker
from napari_medssl.widgets._probes import LIKE, UNLIKE, listed, probes_of, read_probes, write_probes
from napari_medssl.widgets._region_layer import chosen_value, region_of

if TYPE_CHECKING:
    from napari_medssl.widgets._explore_desk import Desk

_DOING = "Looking for what is alike"
_HINT = "Press Pick, then click in the scan. Shift: one more place. Ctrl or right: a place it shall not look like."


class AlikePage(QWidget):
    """The probes live in a Points layer, the likeness in Image layers. latency_s: of the last answer, from the click
    until its layer was filled."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.picker = Picker(desk.viewer, self)
        self.latest: Latest[Answer] = Latest(self)
        self.latency_s: float | None = None
        self.region = LayerChooser(desk.viewer, is_labels, none="(none)")
        self._region_units: tuple[Any, Any] | None = None  # id of the scan's layer, (1, C) unit vector
        self._listening: list[Points] = []
        self._writing = self._choosing = False
        self._make_controls()
        self._arrange()
        self._connect()
        self.refresh()

    def pick(self, position: tuple[float, ...], kind: str) -> None:
        """Do what a click at a position in the viewer's world does."""
        try:
            features = self.desk.needed()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return
        place = np.asarray(features.image.world_to_data(position[-3:]))
        if not features.holds(place):
            return
        places, kinds = listed(probes_of(self.desk.viewer, features))
        if kind in (ADD, AGAINST):
            places, kinds = np.vstack([places, place]), [*kinds, UNLIKE if kind == AGAINST else LIKE]
        else:
            places, kinds, self._region_units = place[None], [LIKE], None
        self._write(features, places, kinds)
        self.ask()

    def use_region(self) -> bool:
        """Look for what is like the drawn region instead of points. False, with a sentence, when it cannot be."""
        layer = self.region.layer
        try:
            features = self.desk.needed()
            region = region_of(layer, features)
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        value = chosen_value(layer, region.data) if isinstance(layer, Labels) else None

        def steps(of: Features) -> Steps[Any]:
            index = yield from index_steps(of)
            return index.of_region(region, value)

        def finish(of: Features, units: Any) -> None:
            self._region_units = (of.image.unique_id, units)
            self.ask()

        return self.desk.run_on(steps, finish, doing=_DOING)

    def ask(self) -> None:
        """Answer the probes and the region; nothing is asked, the glow goes."""
        question = self._question()
        if question is None:
            return
        if question.empty:
            self._clear_overlays(question.features)
            self.text.setText(_HINT)
        else:
            self.latest.ask(lambda: answer(question))

    def clear(self) -> None:
        """Ask nothing any more."""
        features = self.desk.features
        self._region_units = None
        if features is not None:
            if probes_of(self.desk.viewer, features) is not None:
                self._write(features, np.zeros((0, 3)), [])
            self.latest.stop()
            self._clear_overlays(features)
        self.text.setText(_HINT)

    def make_labels(self) -> bool:
        """Turn what glows into labels on the scans' voxels. False, with a sentence, when there is nothing."""
        features = self.desk.features
        if features is None or "similar" not in features.kept:
            tell("Nothing is looked for yet: press Pick and click in the scan.")
            return False
        threshold = self.threshold.value()
        scans = [features, *(f for f in self._others() if "similar" in f.kept)]

        def steps() -> Steps[list[tuple[Features, Any]]]:
            from napari_medssl.explore.onto import onto_volume_steps

            found = []
            for f in scans:
                field = yield from onto_volume_steps(f.kept["similar"], f.grid, f.volume, order=1, fill=-1.0)
                found.append((f, (field >= threshold).astype(np.uint8)))
            return found

        return self.desk.run(steps, lambda found: self._show_labels(found, threshold), doing="Making labels")

    def refresh(self) -> None:
        """Offer the other scans."""
        chosen = self.linked.currentData()
        blocked = self.linked.blockSignals(True)
        self.linked.clear()
        self.linked.addItem("(none)", None)
        for features in self.desk.others():
            self.linked.addItem(features.name, features.image.unique_id)
        self.linked.setCurrentIndex(max(0, self.linked.findData(chosen)))
        self.linked.blockSignals(blocked)
        self.everywhere.setEnabled(self.linked.count() > 1)

    def detach(self) -> None:
        """Stop listening and working; touches no Qt."""
        self.picker.stop()
        self.latest.stop()
        self.region.detach()
        self.desk.viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in self._listening:
            layer.events.data.disconnect(self._on_probes)
        self._listening.clear()

    def _make_controls(self) -> None:
        self.pick_button = button("Pick", "While this is on, clicks in the 2D view ask what looks like the place")
        self.pick_button.setCheckable(True)
        self.follow = QCheckBox("Follow the mouse")
        self.follow.setToolTip("Show what looks like the place under the mouse, without a click")
        self.clear_button = button("Clear", "Take all places and the glow away")
        self.everywhere = QCheckBox("In all scans with features")
        self.everywhere.setChecked(True)
        self.linked = QComboBox()
        self.linked.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.linked.setToolTip("Mark the most alike place of another scan while you pick")
        self.go_there = QCheckBox("Show its slice")
        self.region_button = button("Like this region", "Look for what is like the label in hand, or like all labels")
        self.auto = QCheckBox("Auto")
        self.auto.setChecked(True)
        self.auto.setToolTip("Choose the threshold for each question; off: keep the one that is set")
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0.0, 0.99)
        self.threshold.setDecimals(2)
        self.threshold.setValue(0.5)
        self.labels_button = button("Make labels", "Turn what glows above the threshold into labels")
        self.text = text(_HINT)

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(row(self.pick_button, self.clear_button))
        layout.addWidget(self.follow)
        layout.addWidget(self.everywhere)
        layout.addWidget(self.text)
        rows = QFormLayout()
        rows.addRow("Region", self.region)
        rows.addRow("", self.region_button)
        rows.addRow("Threshold", row(self.threshold, self.auto))
        rows.addRow("", self.labels_button)
        rows.addRow("Linked cursor", self.linked)
        rows.addRow("", self.go_there)
        layout.addLayout(rows)

    def _connect(self) -> None:
        self.pick_button.toggled.connect(self._on_pick)
        self.follow.toggled.connect(self.picker.follow)
        self.clear_button.clicked.connect(self.clear)
        self.region_button.clicked.connect(lambda: self.use_region())
        self.labels_button.clicked.connect(lambda: self.make_labels())
        self.threshold.valueChanged.connect(self._on_threshold)
        self.everywhere.toggled.connect(lambda _: self.ask())
        self.linked.currentIndexChanged.connect(lambda _: self.ask())
        self.picker.picked.connect(self.pick)
        self.picker.hovered.connect(self._on_hovered)
        self.latest.answered.connect(self._show)
        self.latest.failed.connect(lambda error: self.text.setText(tell_error(error, _DOING)))
        self.desk.turned.connect(self.refresh)
        self.desk.viewer.layers.events.removed.connect(self._on_removed)

    def _question(self, hovered: Any = None) -> Question | None:
        features = self.desk.features
        if features is None:
            return None
        like, unlike = read_probes(probes_of(self.desk.viewer, features), features)
        region = None
        if self._region_units is not None and self._region_units[0] == features.image.unique_id:
            region = self._region_units[1]
        if hovered is not None:
            like, region = hovered, None
        linked = next((f for f in self.desk.others() if f.image.unique_id == self.linked.currentData()), None)
        return Question(features, like, unlike, region, self._others(), linked, time.perf_counter())

    def _others(self) -> list[Features]:
        return self.desk.others() if self.everywhere.isChecked() else []

    def _write(self, features: Features, places: Any, kinds: list[str]) -> None:
        self._writing = True
        try:
            layer = write_probes(self.desk.viewer, features, places, kinds)
        finally:
            self._writing = False
        if layer not in self._listening:
            self._listening.append(layer)
            layer.events.data.connect(self._on_probes)

    def _on_probes(self, event: Any = None) -> None:
        if not self._writing:  # moved, added or deleted with napari's own tools
            self.ask()

    def _on_hovered(self, position: tuple[float, ...]) -> None:
        features = self.desk.features
        if features is None or not features.holds(features.image.world_to_data(position[-3:])):
            return
        question = self._question(features.mm_of_world(position))
        if question is not None:
            self.latest.ask(lambda: answer(question))

    def _on_pick(self, on: bool) -> None:
        self.picker.switch(on)
        if on and self.desk.image is not None:
            self.desk.viewer.layers.selection.active = self.desk.image  # or the click would paint, too

    def _on_removed(self, event: Any) -> None:
        if role_of(event.value)[0] == PROBES:
            if event.value in self._listening:
                event.value.events.data.disconnect(self._on_probes)
                self._listening.remove(event.value)
            self.ask()

    def _on_threshold(self, value: float) -> None:
        if not self._choosing:
            self.auto.setChecked(False)  # the user's own choice stays
        for layer in self.desk.viewer.layers:
            if role_of(layer)[0] == SIMILAR:
                layer.contrast_limits = (min(value, 0.98), 1.0)

    def _show(self, answered: Answer) -> None:
        question = answered.question
        if not self.desk.is_open(question.features):
            return
        if self.auto.isChecked():
            self._choosing = True
            self.threshold.setValue(min(0.98, max(0.0, answered.threshold)))
            self._choosing = False
        for features, field in answered.fields:
            if self.desk.is_open(features):
                self._show_field(features, field, question)
        if answered.linked is not None and question.linked is not None and self.desk.is_open(question.linked):
            place, likeness = answered.linked
            world = show_cursor(self.desk.viewer, question.linked, place, likeness)
            if self.go_there.isChecked():
                self.desk.go_to(world)
        self.latency_s = time.perf_counter() - question.asked
        self.text.setText(_said(answered, self.latency_s))

    def _show_field(self, features: Features, field: Any, question: Question) -> None:
        features.kept["similar"] = field
        report = features.provenance(
            kind="cosine similarity", like_mm=np.asarray(question.like).tolist(),
            unlike_mm=np.asarray(question.unlike).tolist(), region=question.region is not None,
            asked_in=dict(question.features.grid.source),
        )  # fmt: skip
        limits = (min(self.threshold.value(), 0.98), 1.0)
        new = find_overlay(self.desk.viewer, features, SIMILAR) is None
        layer = put_image(
            self.desk.viewer, features, SIMILAR, field, name=f"{features.name} similarity", report=report,
            colormap=glow(), blending="translucent", opacity=0.9, contrast_limits=limits, rendering="mip",
        )  # fmt: skip
        layer.contrast_limits = limits
        if new:
            layer.contrast_limits_range = (-1.0, 1.0)
        if features is question.features:
            show_alone(self.desk.viewer, features, layer)
            if new:
                show_bar(layer)

    def _show_labels(self, found: list[tuple[Features, Any]], threshold: float) -> None:
        for features, data in found:
            if self.desk.is_open(features):
                report = features.provenance(kind="similarity above a threshold", threshold=threshold)
                name = f"{features.name} alike"
                layer = put_labels(self.desk.viewer, features, ALIKE, data, name=name, report=report)
                show_alone(self.desk.viewer, features, layer)
                voxels = int(data.sum())
                self.text.setText(f"{voxels * features.volume.voxel_ml:.0f} ml at or above {threshold:.2f}.")

    def _clear_overlays(self, features: Features) -> None:
        for one in (features, *self.desk.others()):
            layer = find_overlay(self.desk.viewer, one, SIMILAR)
            if layer is not None:
                self.desk.viewer.layers.remove(layer)
            one.kept.pop("similar", None)


def _said(answered: Answer, seconds: float) -> str:
    q = answered.question
    parts = [f"{len(q.like)} place{'s' if len(q.like) != 1 else ''}"] if len(q.like) else []
    parts += ["the region"] if q.region is not None else []
    against = f", unlike {len(q.unlike)}" if len(q.unlike) else ""
    linked = f" Linked: likeness {answered.linked[1]:.2f}." if answered.linked is not None else ""
    return f"Like {' and '.join(parts)}{against}, in {1000 * seconds:.0f} ms.{linked}"
