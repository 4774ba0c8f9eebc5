"""Click an organ: the superpixel under the click joins the support mask."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_medssl.oneshot.superpixels import SuperpixelSettings, superpixels
from napari_medssl.progress import Steps
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._work import Job

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

_DRAG_PX = 4.0  # a hand never holds a mouse quite still
_KEPT = 16  # slices whose superpixels are remembered
_Key = tuple[object, int, int, SuperpixelSettings]


def paint_region(support: Labels, region: np.ndarray, z: int, value: int, *, remove: bool = False) -> int:
    """Add a region of slice `z` to an organ, or take it away; napari's own undo works. Returns changed voxels.

    region: (Y, X) bool. Other organs are left alone: a region's border is never better than what was drawn there.
    """
    plane = np.asarray(support.data)[z]
    change = region & (plane == (value if remove else 0))
    y, x = np.nonzero(change)
    if len(y):
        support.data_setitem((np.full_like(y, z), y, x), 0 if remove else value)
    return len(y)


class ClickTool(QObject):
    """While on, a click adds the superpixel under it to the support layer's selected organ; right-click, Ctrl or Alt
    takes it away. Superpixels are cut in a thread. Signal `applied` carries the number of changed voxels."""

    applied = Signal(int)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._image: Image | None = None
        self._support: Labels | None = None
        self._maps: OrderedDict[_Key, np.ndarray] = OrderedDict()
        self._jobs: dict[_Key, Job[np.ndarray]] = {}
        self._waiting: dict[_Key, list[tuple[Labels, tuple[int, int], int, bool]]] = {}
        # The user knows where the patient is; the body mask made for training can miss organs beside its largest part.
        self.settings = SuperpixelSettings(body="none")
        self.on = False

    def aim(self, image: Image | None, support: Labels | None) -> None:
        """Work on this scan and support layer."""
        self._image, self._support = image, support

    def switch(self, on: bool) -> None:
        """Start or stop listening to clicks."""
        if on == self.on:
            return
        self.on = on
        if on:
            self._viewer.mouse_drag_callbacks.append(self._on_mouse)
        else:
            self._viewer.mouse_drag_callbacks.remove(self._on_mouse)

    def stop(self) -> None:
        """Give up superpixels that are still being cut."""
        for job in self._jobs.values():
            job.cancel()

    def click(self, position: tuple[float, ...], *, remove: bool = False) -> None:
        """Do what a click at a world position does. Outside the scan nothing happens."""
        image, support = self._image, self._support
        if image is None or support is None or support not in self._viewer.layers:
            return
        if self._viewer.dims.ndisplay != 2 or set(self._viewer.dims.displayed) != set(self._plane_axes()):
            tell("Clicks work in the plane of the slices: switch to the 2D view and roll the axes back.")
            return
        z, y, x = (round(float(v)) for v in image.world_to_data(position[-3:]))
        if not all(0 <= at < n for at, n in zip((z, y, x), image.data.shape, strict=True)):
            return
        key = (image.unique_id, id(image.data), z, self.settings)
        self._waiting.setdefault(key, []).append((support, (y, x), support.selected_label, remove))
        if key in self._maps:
            self._apply(key)
        elif key not in self._jobs:
            self._cut(key, np.array(image.data[z]))

    def _plane_axes(self) -> tuple[int, int]:
        return self._viewer.dims.ndim - 2, self._viewer.dims.ndim - 1

    def _cut(self, key: _Key, plane: np.ndarray) -> None:
        settings = self.settings

        def steps() -> Steps[np.ndarray]:
            yield from ()
            return superpixels(plane, settings)

        job: Job[np.ndarray] = Job(steps)
        job.returned.connect(lambda found: self._on_cut(key, found))
        job.failed.connect(lambda error: self._on_failed(key, error))
        job.ended.connect(lambda: self._jobs.pop(key, None))
        self._jobs[key] = job
        job.start()

    def _on_cut(self, key: _Key, found: np.ndarray) -> None:
        self._maps[key] = found
        while len(self._maps) > _KEPT:
            self._maps.popitem(last=False)
        self._apply(key)

    def _on_failed(self, key: _Key, error: BaseException) -> None:
        self._waiting.pop(key, None)
        tell_error(error, "Finding the region under the click")

    def _apply(self, key: _Key) -> None:
        found = self._maps[key]
        for support, (y, x), value, remove in self._waiting.pop(key, []):
            if support not in self._viewer.layers or support.data.shape[1:] != found.shape:
                continue
            self.applied.emit(paint_region(support, found == found[y, x], key[2], value, remove=remove))

    def _on_mouse(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        start, position = event.pos, tuple(event.position)
        remove = event.button == 2 or "Control" in event.modifiers or "Alt" in event.modifiers
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = dragged or math.dist(event.pos, start) > _DRAG_PX
            yield
        if not dragged:
            self.click(position, remove=remove)
