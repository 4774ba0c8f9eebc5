"""Scores along the slices of a scan: lines with bands, marks, thresholds and the slice on show; a click jumps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 8, 20, 34
_TICK = 5.0


@dataclass(frozen=True)
class ScoreLine:
    """One class: (Z,) probability and spread, its colour, and from which probability on it counts as found."""

    name: str
    color: tuple[int, int, int]
    probability: Sequence[float]
    spread: Sequence[float]
    threshold: float | None = None


class ScoreCurve(QWidget):
    """Slices from left to right, probability from bottom to top. Signal `jump` carries the slice that was clicked.

    Marked slices stand below the axis: a square of the class's colour each, hollow where the slice shows none.
    """

    jump = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._depth, self._current = 0, 0
        self._lines: tuple[ScoreLine, ...] = ()
        self._marks: dict[int, tuple[tuple[int, int, int], ...]] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    @property
    def lines(self) -> tuple[ScoreLine, ...]:
        """What is shown."""
        return self._lines

    @property
    def current(self) -> int:
        """The slice that is marked as on show."""
        return self._current

    def sizeHint(self) -> QSize:
        """Low enough for a dock."""
        return QSize(280, 170)

    def show_scores(self, depth: int, lines: Sequence[ScoreLine]) -> None:
        """Show these lines over `depth` slices; none: only the marks."""
        self._depth, self._lines = depth, tuple(lines)
        self.update()

    def show_marks(self, marks: Mapping[int, Sequence[tuple[int, int, int]]]) -> None:
        """Slice to the colours of the classes marked on it, empty where none of them is there."""
        self._marks = {z: tuple(colors) for z, colors in marks.items()}
        self.update()

    def show_current(self, z: int) -> None:
        """Mark the slice on show."""
        if z != self._current:
            self._current = z
            self.update()

    def slice_at(self, x: float) -> int:
        """The slice under a place of the widget, in pixels from its left edge; the nearest one beyond the ends."""
        area = self._area()
        share = (x - area.left()) / max(1.0, area.width())
        return max(0, min(self._depth - 1, round(share * (self._depth - 1))))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Jump to the slice under the mouse."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton and self._depth:
            self.jump.emit(self.slice_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Scrub with the button held; tell the numbers under the mouse."""
        if event is None or not self._depth:
            return
        z = self.slice_at(event.position().x())
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.jump.emit(z)
        QToolTip.showText(event.globalPosition().toPoint(), self._told(z), self)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Axes, bands, lines, thresholds, marks, the slice on show."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.Text)
        area = self._area()
        self._draw_axes(painter, area, ink)
        for line in self._lines:
            self._draw_line(painter, area, line)
        self._draw_marks(painter, area, ink)
        if self._depth:
            painter.setPen(QPen(ink, 1.2))
            x = self._x(self._current, area)
            painter.drawLine(QPointF(x, area.top() - 3), QPointF(x, area.bottom() + 3))
        painter.end()

    def _area(self) -> QRectF:
        return QRectF(_LEFT, _TOP, max(1, self.width() - _LEFT - _RIGHT), max(1, self.height() - _TOP - _BOTTOM))

    def _x(self, z: float, area: QRectF) -> float:
        return area.left() + area.width() * (z / (self._depth - 1) if self._depth > 1 else 0.5)

    def _told(self, z: int) -> str:
        scores = (
            f"{n.name}: {n.probability[z]:.2f} ± {n.spread[z]:.2f}" for n in self._lines if z < len(n.probability)
        )
        return "\n".join((f"slice {z}", *scores))

    def _draw_axes(self, painter: QPainter, area: QRectF, ink: QColor) -> None:
        faint = QColor(ink)
        faint.setAlpha(60)
        painter.setPen(QPen(faint))
        painter.drawRect(area)
        if not self._lines:
            faint.setAlpha(150)
            painter.setPen(QPen(faint))
            words = "the score of every slice appears here after Learn"
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, words)
        painter.setPen(QPen(ink))
        for share, text in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
            y = area.bottom() - share * area.height()
            side = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, y - 8, _LEFT - 5, 16), side, text)
        below = QRectF(area.left(), area.bottom() + 16, area.width(), 16)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, f"slice {self._current}" if self._depth else "slice")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, str(max(0, self._depth - 1)))
        x = area.left()
        for line in self._lines:
            at = self._current
            known = at < len(line.probability)
            text = f"{line.name} {line.probability[at]:.2f}" if known else line.name
            painter.setPen(QPen(QColor(*line.color)))
            painter.drawText(QPointF(x, _TOP - 6), text)
            x += painter.fontMetrics().horizontalAdvance(text) + 12

    def _draw_line(self, painter: QPainter, area: QRectF, line: ScoreLine) -> None:
        color, band = QColor(*line.color), QColor(*line.color)
        band.setAlpha(55)
        count = min(self._depth, len(line.probability))

        def at(z: int, value: float) -> QPointF:
            value = 0.0 if not math.isfinite(value) else min(1.0, max(0.0, value))
            return QPointF(self._x(z, area), area.bottom() - value * area.height())

        upper = [at(z, line.probability[z] + line.spread[z]) for z in range(count)]
        lower = [at(z, line.probability[z] - line.spread[z]) for z in reversed(range(count))]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(band)
        painter.drawPolygon(QPolygonF([*upper, *lower]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(color, 1.8))
        points = [at(z, line.probability[z]) for z in range(count)]
        painter.drawPolyline(QPolygonF(points))
        if count == 1:
            painter.drawEllipse(points[0], 3.0, 3.0)
        if line.threshold is not None:
            painter.setPen(QPen(color, 1.0, Qt.PenStyle.DotLine))
            y = area.bottom() - line.threshold * area.height()
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))

    def _draw_marks(self, painter: QPainter, area: QRectF, ink: QColor) -> None:
        for z, colors in self._marks.items():
            if z >= self._depth:
                continue
            x = self._x(z, area) - _TICK / 2
            painter.setPen(QPen(ink, 0.8))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if not colors:
                painter.drawRect(QRectF(x, area.bottom() + 4, _TICK, _TICK))
            painter.setPen(Qt.PenStyle.NoPen)
            for row, color in enumerate(colors[:2]):
                painter.setBrush(QColor(*color))
                painter.drawRect(QRectF(x, area.bottom() + 4 + row * (_TICK + 1), _TICK, _TICK))
