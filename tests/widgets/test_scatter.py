"""The plot with a lasso: what is drawn, what is chosen, what a click takes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent

from napari_medssl.widgets._scatter import ScatterPlot


@pytest.fixture
def plot(qtbot: QtBot) -> ScatterPlot:
    """A red point at (0, 0) and a green one at (1, 1)."""
    made = ScatterPlot(empty="nothing")
    qtbot.addWidget(made)
    made.resize(280, 270)
    made.show_points(np.array([[0, 0], [1, 1]], np.float32), np.array([[1, 0, 0], [0, 1, 0]], np.float32), ("a", "b"))
    return made


def color_at(plot: ScatterPlot, xy: tuple[float, float]) -> tuple[int, int, int]:
    x, y = (round(v) for v in plot.pixel_of(xy))
    picture = plot.grab().toImage()
    found = [picture.pixelColor(x + dx, y + dy) for dx in range(-3, 4) for dy in range(-3, 4)]
    brightest = max(found, key=lambda c: max(c.red(), c.green()) - c.blue())
    return brightest.red(), brightest.green(), brightest.blue()


def drag(plot: ScatterPlot, corners: list[tuple[float, float]]) -> None:
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    kinds = [QMouseEvent.Type.MouseButtonPress, *[QMouseEvent.Type.MouseMove] * (len(corners) - 1)]
    hands: Any = [plot.mousePressEvent, *[plot.mouseMoveEvent] * (len(corners) - 1)]
    for kind, hand, (x, y) in zip(kinds, hands, corners, strict=True):
        hand(QMouseEvent(kind, QPointF(x, y), QPointF(x, y), left, left, none))
    at = QPointF(*corners[-1])
    plot.mouseReleaseEvent(QMouseEvent(QMouseEvent.Type.MouseButtonRelease, at, at, left, left, none))


def around(plot: ScatterPlot, xy: tuple[float, float]) -> list[tuple[float, float]]:
    x, y = plot.pixel_of(xy)
    return [(x - 9, y - 9), (x + 9, y - 9), (x + 9, y + 9), (x - 9, y + 9)]


def test_points_have_their_colours_and_places(plot: ScatterPlot) -> None:
    red, green, _ = color_at(plot, (0, 0))
    assert (red, green) == (255, 0)
    red, green, _ = color_at(plot, (1, 1))
    assert (red, green) == (0, 255)
    x, y = plot.pixel_of((1, 1))
    assert x > plot.width() / 2
    assert y < plot.height() / 2  # up is up
    assert plot.units_at(x, y) == pytest.approx((1, 1))


def test_lasso_chooses_and_a_click_takes_back(plot: ScatterPlot, qtbot: QtBot) -> None:
    told: list[list[bool]] = []
    plot.lassoed.connect(lambda chosen: told.append(chosen.tolist()))
    drag(plot, around(plot, (1, 1)))
    assert told == [[False, True]]
    assert max(color_at(plot, (0, 0))) < 100  # the others fade
    assert color_at(plot, (1, 1))[1] == 255
    qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(20, 40))
    assert told[-1] == [False, False]
    assert color_at(plot, (0, 0))[0] == 255


def test_empty_and_single_points(plot: ScatterPlot) -> None:
    plot.show_points(np.zeros((0, 2), np.float32), np.zeros((0, 3), np.float32))
    drag(plot, [(10, 10), (50, 10), (50, 50)])
    assert plot.count == 0
    assert not plot.grab().isNull()
    plot.show_points(np.ones((1, 2), np.float32), np.ones((1, 3), np.float32))
    drag(plot, around(plot, (1, 1)))
    assert plot.chosen.tolist() == [True]
