"""One engine per viewer, shared by its widgets and closed with it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from napari_medssl.progress import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from qtpy.QtCore import QObject

    from napari_medssl.oneshot.result import Segmentation
    from napari_medssl.oneshot.support import Support
    from napari_medssl.volume import Volume

DEVICES = ("auto", "cpu", "cuda", "mps")


class SegmentingEngine(Protocol):
    """The part of `napari_medssl.Engine` that the segmentation widget uses."""

    def segment_steps(
        self,
        query: Volume,
        supports: Sequence[Support],
        *,
        slice_range: tuple[int, int] | None = None,
        settings: Any = ...,
    ) -> Steps[Segmentation]:
        """Segment `query`, reporting progress."""

    def close(self) -> None:
        """Free the model and the features."""


def _default_engine(device: str, weights: str) -> SegmentingEngine:
    from napari_medssl.engine import Engine  # brings torch: seconds, so only in the worker thread

    engine: SegmentingEngine = Engine(device, weights)
    return engine


class EngineHandle:
    """An engine that is made when it is first needed.

    factory: makes an engine for a device name and weights. Making it loads torch and the model, so `get` belongs in a
    worker. device, weights: what the next `get` uses.
    """

    def __init__(self, factory: Callable[[str, str], SegmentingEngine] = _default_engine) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._engine: SegmentingEngine | None = None
        self._made_for = ("", "")
        self._users = 0
        self.device = "auto"
        self.weights = "default"
        self.closed = False

    def get(self) -> SegmentingEngine:
        """The engine for `device` and `weights`; a change of either makes a new one and closes the old."""
        with self._lock:
            wanted = (self.device, self.weights)
            if self._engine is None or self._made_for != wanted:
                self._release()
                self._engine = self._factory(*wanted)
                self._made_for = wanted
            return self._engine

    def close(self) -> None:
        """Free the engine; `get` would make a new one."""
        with self._lock:
            self._release()
            self.closed = True

    def _release(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def follow(self, widget: QObject) -> None:
        """Close the engine when the last widget followed is destroyed, which a closing window does too."""
        self._users += 1
        widget.destroyed.connect(self._on_user_gone)

    def _on_user_gone(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.close()


_handles: weakref.WeakKeyDictionary[Any, EngineHandle] = weakref.WeakKeyDictionary()


def engine_for(viewer: ViewerModel) -> EngineHandle:
    """The handle of a viewer's engine; the same one for every widget of that viewer."""
    handle = _handles.get(viewer)
    if handle is None:
        handle = _handles[viewer] = EngineHandle()
        weakref.finalize(viewer, handle.close).atexit = False
    return handle
