"""What the pages of "Explore features" share: the viewer, the features, the scan in hand and the work bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_medssl.errors import MedSSLError
from napari_medssl.progress import Steps
from napari_medssl.widgets._features import Features, FeatureStore
from napari_medssl.widgets._notify import tell, tell_error

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

    from napari_medssl.widgets._choosers import LayerChooser
    from napari_medssl.widgets._engine import EngineHandle
    from napari_medssl.widgets._work import WorkBar

T = TypeVar("T")


class Desk(QObject):
    """Signal `turned` when another scan is chosen, or the features of the chosen one change."""

    turned = Signal()

    def __init__(
        self, viewer: Viewer, engine: EngineHandle, chooser: LayerChooser, work: WorkBar, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self.viewer, self.engine, self.work, self.window = viewer, engine, work, parent
        self.store = FeatureStore(viewer, self)
        self._chooser = chooser
        chooser.chosen.connect(lambda _: self.turned.emit())
        self.store.changed.connect(self.turned.emit)

    @property
    def image(self) -> Image | None:
        """The chosen scan."""
        layer = self._chooser.layer
        return layer if isinstance(layer, Image) else None

    @property
    def features(self) -> Features | None:
        """Of the chosen scan; None before they are extracted."""
        return self.store.of(self.image)

    def needed(self) -> Features:
        """Of the chosen scan. Raises MedSSLError with what to do when there are none."""
        return self.store.needed(self.image)

    def others(self) -> list[Features]:
        """Other open scans that can be compared with the chosen one."""
        return self.store.alike(self.features) if self.features is not None else []

    def is_open(self, features: Features) -> bool:
        """Whether the scan is still there, as it was extracted."""
        return features.image in self.viewer.layers and self.store.of(features.image) is features

    def run(self, make: Callable[[], Steps[T]], on_result: Callable[[T], None], *, doing: str) -> bool:
        """Start work in the bar. Returns False, with a sentence, when something is running."""
        if self.work.start(make, on_result, doing=doing):
            return True
        tell("Something is running; wait for it or press Cancel, then try again.")
        return False

    def run_on(
        self, make: Callable[[Features], Steps[T]], on_result: Callable[[Features, T], None], *, doing: str
    ) -> bool:
        """Start work on the chosen scan; what comes after the scan is gone is dropped, with a sentence."""
        try:
            features = self.needed()
        except MedSSLError as error:
            tell_error(error, doing)
            return False

        def finish(value: Any) -> None:
            if self.is_open(features):
                on_result(features, value)
            else:
                tell(f"{doing} is done, but its scan is gone or was changed, so it is not shown.")

        return self.run(lambda: make(features), finish, doing=doing)

    def go_to(self, world: Any) -> None:
        """Show the place at a position in the world of three axes."""
        ndim = self.viewer.dims.ndim
        for axis, value in enumerate(world, start=ndim - 3):
            self.viewer.dims.set_point(axis, float(value))
