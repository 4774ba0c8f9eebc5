"""A viewer model without a window, and an engine that only pretends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Layer
from pytestqt.qtbot import QtBot

from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._layers import image_layer
from napari_medssl.widgets.segment import OneShotWidget

N_STEPS = 5


class FakeEngine:
    """Spreads the union of the labelled slices over all slices of the range. `calls` keeps what it was asked.

    before_step: called in the worker before each step, to hold it or to raise.
    """

    def __init__(self) -> None:
        self.report: dict[str, Any] = {}  # further facts of the next results
        self.calls: list[tuple[Volume, Sequence[Support], tuple[int, int] | None, Any]] = []
        self.before_step: Callable[[int], None] = lambda step: None
        self.steps_done = 0
        self.closed = False
        self.thread: int | None = None

    def segment_steps(
        self,
        query: Volume,
        supports: Sequence[Support],
        *,
        slice_range: tuple[int, int] | None = None,
        settings: Any = None,
    ) -> Steps[Segmentation]:
        self.calls.append((query, supports, slice_range, settings))
        self.thread = threading.get_ident()
        for step in range(N_STEPS):
            self.before_step(step)
            self.steps_done += 1
            yield Progress(step, N_STEPS, "spreading")
        low, high = slice_range or (0, query.shape[0])
        labels = np.zeros(query.shape, np.uint8)
        organs = {label.value: label for support in supports for label in support.organs}
        for support in supports:
            flat = support.mask.max(axis=0)
            labels[low:high][:, flat > 0] = flat[flat > 0]
        probability = {v: (labels == v).astype(np.float16) for v in organs}
        report = {"engine": "fake", "method": {"within the scan": "learned"}, "warnings": [], **self.report}
        return Segmentation(query.like(labels, tuple(organs.values())), probability, report)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def viewer() -> ViewerModel:
    """A viewer without a window."""
    return ViewerModel()


@pytest.fixture
def engine() -> FakeEngine:
    """The engine the `widget` fixture works with."""
    return FakeEngine()


@pytest.fixture
def scan(viewer: ViewerModel, tiny_volume: Volume) -> Image:
    """A tiny scan in the viewer."""
    return viewer.add_layer(Layer.create(*image_layer(tiny_volume, "scan")))


@pytest.fixture
def widget(qtbot: QtBot, viewer: ViewerModel, scan: Image, engine: FakeEngine) -> OneShotWidget:
    """The widget on a viewer with a tiny scan."""
    made = OneShotWidget(viewer, EngineHandle(lambda device, weights: engine))
    qtbot.addWidget(made)
    return made


@pytest.fixture
def run(qtbot: QtBot) -> Callable[[OneShotWidget], None]:
    """Press Segment and wait until the run has ended and the table is filled."""

    def press(widget: OneShotWidget) -> None:
        with qtbot.waitSignals([widget.outcome.shown, widget.panel.table.counted], timeout=10_000):
            assert widget.segment()
        qtbot.waitUntil(lambda: not widget.panel.work.running)

    return press


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every sentence shown to the user."""
    texts: list[str] = []
    for name in ("show_error", "show_warning", "show_info"):
        monkeypatch.setattr(f"napari_medssl.widgets._notify.{name}", texts.append)
    return texts
