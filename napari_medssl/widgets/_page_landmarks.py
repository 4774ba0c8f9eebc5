"""The page "Landmarks": points placed in one scan, found in the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Points
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_medssl.errors import MedSSLError, SupportError
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._feature_work import place_steps
from napari_medssl.widgets._features import Features
from napari_medssl.widgets._layers import KEY, role_of
from napari_medssl.widgets._layout import button, text
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._overlays import CURSOR, LANDMARKS, PROBES, find_overlay, voxels_place
from napari_medssl.widgets._plain_table import PlainTable
from napari_medssl.widgets._probes import point_size
from napari_medssl.widgets._shown import show_only

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_medssl.widgets._explore_desk import Desk

_DOING = "Finding landmarks"
_TIP = (
    "Double-click a row to go there. Like: cosine of the two places. mm: to your own point. "
    "Margin: how much better the place is than the best one elsewhere. "
    "?: looked for from there, the way back ends somewhere else"
)
_NAMES = ("name", "label", "landmark", "text")  # columns of a Points layer that may hold the points' names
_TEXT = {"string": "{name}", "size": 10, "anchor": "upper_left", "color": "white", "translation": [0, 0, 6]}


@dataclass(frozen=True, eq=False)
class Found:
    """One landmark in another scan. margin, mutual: how sure, as in `Correspondences`. distance_mm: to the user's own
    point there, None without one."""

    name: str
    features: Features
    point_mm: npt.NDArray[np.float64]
    similarity: float
    margin: float
    mutual: bool
    distance_mm: float | None = None


class LandmarksPage(QWidget):
    """found: what the table shows."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.found: list[Found] = []
        self.points = LayerChooser(desk.viewer, is_points, none="(none)")
        self.points.setToolTip("Landmarks placed in the chosen scan")
        self.new_button = button("New landmarks", "Add a Points layer over the scan and take its tool in hand")
        self.target = QComboBox()
        self.target.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.truth = LayerChooser(desk.viewer, is_points, none="(none)")
        self.truth.setToolTip(
            "Your own points in the other scan, in the same order or with the same names: how far off?"
        )
        self.find_button = button("Find in other scans", "Look for the place of each landmark")
        self.table = PlainTable(("Point", "Scan", "Like", "Margin", "mm"), wide=2, tip=_TIP)
        self.text = text("Extract features of two scans with the same weights, then place points in one.")
        self._arrange()
        self.new_button.clicked.connect(lambda: self.add_layer())
        self.find_button.clicked.connect(lambda: self.search())
        self.table.opened.connect(self._go_to)
        desk.turned.connect(self.refresh)
        self.refresh()

    def add_layer(self) -> Points | None:
        """A new Points layer over the scan, ready to add to."""
        image = self.desk.image
        if image is None:
            tell("No scan is open; open one and choose it.")
            return None
        features = self.desk.features
        if features is None:
            tell(f"'{image.name}' has no features yet; press Extract 3D features first.")
            return None
        layer = Points(
            np.zeros((0, 3)), ndim=3, name=f"{image.name} landmarks", size=point_size(features), border_color="white",
            face_color="#4cc3ff", out_of_slice_display=False, **voxels_place(features),
        )  # fmt: skip
        self.desk.viewer.add_layer(layer)  # what `add_points` gives a plugin is a proxy, which no list would know
        layer.mode = "add"
        self.points.choose(layer)
        return layer

    def search(self) -> bool:
        """Look for the landmarks. False, with a sentence, when it cannot start."""
        try:
            features = self.desk.needed()
            names, places = self._landmarks(features)
            targets = self._targets()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        truth = self.truth.layer
        own = _named(truth, names) if isinstance(truth, Points) else {}

        def finish(of: Features, found: list[Found]) -> None:
            self.found = [_measured(one, own) for one in found if self.desk.is_open(one.features)]
            self._show(of)

        return self.desk.run_on(lambda f: find_steps(f, names, places, targets), finish, doing=_DOING)

    def refresh(self) -> None:
        """Offer the other scans; forget what was found in those that are gone."""
        chosen = self.target.currentData()
        self.target.clear()
        self.target.addItem("all other scans", None)
        for features in self.desk.others():
            self.target.addItem(features.name, features.image.unique_id)
        self.target.setCurrentIndex(max(0, self.target.findData(chosen)))
        self.found = [one for one in self.found if self.desk.is_open(one.features)]
        self._fill()

    def detach(self) -> None:
        """Stop listening; touches no Qt."""
        self.points.detach()
        self.truth.detach()

    def _landmarks(self, features: Features) -> tuple[list[str], npt.NDArray[np.float64]]:
        layer = self.points.layer
        if not isinstance(layer, Points) or not len(layer.data):
            raise SupportError("no landmarks are chosen; press New landmarks and click their places in the scan")
        world = np.array([layer.data_to_world(p) for p in layer.data])
        places = features.mm_of_world(world)
        names = _names(layer)
        inside = [features.holds(at) for at in features.index_of_mm(places)]
        if not all(inside):
            raise SupportError(
                f"landmark {names[inside.index(False)]!r} lies outside '{features.name}'; move it inside"
            )
        return names, places

    def _targets(self) -> list[Features]:
        wanted = self.target.currentData()
        targets = [f for f in self.desk.others() if wanted is None or f.image.unique_id == wanted]
        if not targets:
            raise SupportError(
                "no other open scan has features of the same weights; open one, choose it and press Extract 3D features"
            )
        return targets

    def _show(self, of: Features) -> None:
        for features in dict.fromkeys(one.features for one in self.found):
            here = [one for one in self.found if one.features is features]
            self._put_points(features, of, here)
        self._fill()
        measured = [one.distance_mm for one in self.found if one.distance_mm is not None]
        if measured:
            self.text.setText(f"Median distance {np.median(measured):.1f} mm over {len(measured)} points.")
        else:
            scans = len({one.features.image.unique_id for one in self.found})
            self.text.setText(f"{len(self.found)} places found in {scans} scan{'s' if scans != 1 else ''}.")

    def _put_points(self, features: Features, of: Features, found: list[Found]) -> None:
        viewer = self.desk.viewer
        data = np.concatenate([features.index_of_mm(one.point_mm) for one in found])
        report = features.provenance(
            kind="landmarks by correspondence", asked_in=dict(of.grid.source), similarity=[f.similarity for f in found]
        )
        old = find_overlay(viewer, features, LANDMARKS, str(of.image.unique_id))
        if old is not None:
            if np.array_equal(old.data, old.metadata[KEY]["placed"]):
                viewer.layers.remove(old)
            else:
                old.metadata[KEY]["role"] = ""  # moved by hand: it is the user's now
        active = viewer.layers.selection.active
        facts = {"role": LANDMARKS, "of": features.image.unique_id, "what": str(of.image.unique_id)}
        viewer.add_points(
            data, name=f"{features.name} landmarks of {of.name}", size=point_size(features), symbol="diamond",
            face_color="#ffd400", border_color="white", text=_TEXT, out_of_slice_display=False,
            features={"name": [one.name for one in found], "likeness": [one.similarity for one in found]},
            metadata={KEY: facts | {"report": report, "placed": data.copy()}}, visible=bool(features.image.visible),
            **voxels_place(features),
        )  # fmt: skip
        if active in viewer.layers:
            viewer.layers.selection.active = active

    def _fill(self) -> None:
        rows = []
        for one in self.found:
            off = "–" if one.distance_mm is None else f"{one.distance_mm:.1f}"
            sure = "" if one.mutual else " ?"
            rows.append((one.name, one.features.name, f"{one.similarity:.2f}{sure}", f"{one.margin:.2f}", off))
        self.table.show_rows(rows)

    def _go_to(self, at: int) -> None:
        if at < len(self.found):
            one = self.found[at]
            show_only(self.desk.viewer, one.features.image, [f.image for f in self.desk.store.all()])
            for layer in self.desk.viewer.layers:
                if role_of(layer) == (LANDMARKS, one.features.image.unique_id):
                    layer.visible = True
            self.desk.go_to(one.features.world_of_mm(one.point_mm)[0])

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows = QFormLayout()
        rows.addRow("Landmarks", self.points)
        rows.addRow("", self.new_button)
        rows.addRow("Find in", self.target)
        rows.addRow("Compare with", self.truth)
        layout.addLayout(rows)
        for widget in (self.find_button, self.table, self.text):
            layout.addWidget(widget)


def is_points(layer: Layer) -> bool:
    """Points of the user, or landmarks that were found; not the ones that ask."""
    return isinstance(layer, Points) and role_of(layer)[0] not in (PROBES, CURSOR, "slice marks")


def find_steps(
    features: Features, names: list[str], places: npt.NDArray[np.float64], targets: list[Features]
) -> Steps[list[Found]]:
    """The landmarks in each of the scans."""
    from napari_medssl.explore.nearest import nearest_points_steps

    found = []
    for done, target in enumerate(targets):
        yield Progress(done, len(targets), "looking for landmarks", target.name)
        place = yield from place_steps(features, target)
        pairs = yield from nearest_points_steps(features.kept["index"], places, target.kept["index"], place=place)
        for at, name in enumerate(names):
            numbers = float(pairs.similarity[at]), float(pairs.margin[at]), bool(pairs.mutual[at])
            found.append(Found(name, target, pairs.points_mm[at], *numbers))
    return found


def _names(layer: Points) -> list[str]:
    """Of each point: from the first column of names the layer has, else its number from 1."""
    for column in _NAMES:
        if column in layer.features:
            return [str(value) for value in layer.features[column]]
    return [str(number) for number in range(1, len(layer.data) + 1)]


def _named(layer: Points, wanted: list[str]) -> dict[str, Any]:
    """Name to position in the viewer's world of three axes. Points none of which has a wanted name count in order."""
    places = [np.asarray(layer.data_to_world(p))[-3:] for p in layer.data]
    names = _names(layer)
    if not set(names) & set(wanted):
        names = wanted
    return dict(zip(names, places, strict=False))


def _measured(found: Found, own: dict[str, Any]) -> Found:
    """With its distance from the user's own point of the same name, where there is one."""
    if found.name not in own:
        return found
    true = found.features.mm_of_world(own[found.name])[0]
    return replace(found, distance_mm=float(np.linalg.norm(true - found.point_mm)))
