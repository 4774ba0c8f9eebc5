"""A small live plot of curves, drawn with Qt alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

_COLORS = ("#4c9be8", "#f0a23b", "#6cc070", "#d86fb0", "#b8b04a")
_MOST_POINTS = 1000
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 10, 20, 20


@dataclass(frozen=True)
class Curve:
    """One line: its name for the legend, and its points (x rising)."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


class CurvePlot(QWidget):
    """Curves over a common x axis, scaled to what they hold; values that are not finite leave a gap.

    empty: what is written in their place while there are none.
    """

    def __init__(self, x_label: str = "", parent: QWidget | None = None, *, empty: str = "") -> None:
        super().__init__(parent)
        self._x_label, self._empty = x_label, empty
        self._curves: tuple[Curve, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Curves appear when the first numbers are there")

    def sizeHint(self) -> QSize:
        """Low enough for a dock."""
        return QSize(260, 130)

    @property
    def curves(self) -> tuple[Curve, ...]:
        """What is shown."""
        return self._curves

    def show_curves(self, *curves: Curve) -> None:
        """Show these curves instead of the ones before."""
        self._curves = tuple(c for c in curves if len(c.x))
        self.setToolTip("\n".join(f"{c.name}: {c.y[-1]:.4g} at {c.x[-1]:g}" for c in self._curves))
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Axes with three ticks each, the curves and their names."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.Text)
        area = QRectF(_LEFT, _TOP, self.width() - _LEFT - _RIGHT, self.height() - _TOP - _BOTTOM)
        faint = QColor(ink)
        faint.setAlpha(60)
        painter.setPen(QPen(faint))
        painter.drawRect(area)
        if not self._curves:
            faint.setAlpha(150)
            painter.setPen(QPen(faint))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)
        if self._curves:
            x_ends = _ends([x for c in self._curves for x in c.x])
            y_ends = _ends([y for c in self._curves for y in c.y])
            self._draw_ticks(painter, area, x_ends, y_ends, ink)
            for color, curve in zip(_COLORS * len(self._curves), self._curves, strict=False):
                _draw(painter, area, curve, x_ends, y_ends, QColor(color))
            self._draw_names(painter, area)
        painter.end()

    def _draw_ticks(
        self,
        painter: QPainter,
        area: QRectF,
        x_ends: tuple[float, float],
        y_ends: tuple[float, float],
        ink: QColor,
    ) -> None:
        painter.setPen(QPen(ink))
        for share in (0.0, 0.5, 1.0):
            y = area.bottom() - share * area.height()
            box = QRectF(0, y - 8, _LEFT - 6, 16)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box, right, f"{y_ends[0] + share * (y_ends[1] - y_ends[0]):.3g}")
        bottom = QRectF(area.left(), area.bottom() + 2, area.width(), 16)
        painter.drawText(bottom, Qt.AlignmentFlag.AlignLeft, f"{x_ends[0]:g}")
        painter.drawText(bottom, Qt.AlignmentFlag.AlignHCenter, self._x_label)
        painter.drawText(bottom, Qt.AlignmentFlag.AlignRight, f"{x_ends[1]:g}")

    def _draw_names(self, painter: QPainter, area: QRectF) -> None:
        x = area.left()
        for color, curve in zip(_COLORS * len(self._curves), self._curves, strict=False):
            text = f"{curve.name} {curve.y[-1]:.3g}"
            painter.setPen(QPen(QColor(color)))
            painter.drawText(QPointF(x, _TOP - 6), text)
            x += painter.fontMetrics().horizontalAdvance(text) + 14


def _ends(values: Sequence[float]) -> tuple[float, float]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw(
    painter: QPainter,
    area: QRectF,
    curve: Curve,
    x_ends: tuple[float, float],
    y_ends: tuple[float, float],
    color: QColor,
) -> None:
    painter.setPen(QPen(color, 1.6))
    line = QPolygonF()
    every = max(1, len(curve.x) // _MOST_POINTS)  # more cannot be told apart in a dock, and take long to draw
    last = len(curve.x) - 1
    for i in (*range(0, last, every), last):
        x, y = curve.x[i], curve.y[i]
        if not math.isfinite(y):
            painter.drawPolyline(line)
            line = QPolygonF()
            continue
        across = (x - x_ends[0]) / (x_ends[1] - x_ends[0])
        up = (y - y_ends[0]) / (y_ends[1] - y_ends[0])
        line.append(QPointF(area.left() + across * area.width(), area.bottom() - up * area.height()))
    painter.drawPolyline(line)
    if len(line) == 1:
        painter.drawEllipse(line[0], 2.0, 2.0)
