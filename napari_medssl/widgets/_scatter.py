"""A plot of many points with a lasso, drawn with Qt alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

_LEFT, _RIGHT, _TOP, _BOTTOM = 12, 8, 22, 22
_TAILS = (0.2, 99.8)  # percentiles that span the axes: a few stray cells would press the rest into a corner
_LEAST_CORNERS = 3
_FADED = 0.22  # brightness of what the lasso left out

Floats = npt.NDArray[np.float32]


class ScatterPlot(QWidget):
    """Points in the plane of two components. Signal `lassoed` with the (N,) bool choice when a lasso is closed.

    A click without a lasso takes the choice back (`lassoed` with all False). empty: what is written without points.
    """

    lassoed = Signal(object)

    def __init__(self, parent: QWidget | None = None, *, empty: str = "") -> None:
        super().__init__(parent)
        self._empty = empty
        self._xy: Floats = np.zeros((0, 2), np.float32)
        self._rgb: Floats = np.zeros((0, 3), np.float32)
        self._chosen: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._names = ("", "")
        self._legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()
        self._ends = (np.zeros(2), np.ones(2))
        self._lasso: list[QPointF] = []
        self._cursor: Floats | None = None
        self._picture: QImage | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setToolTip("Draw around points to choose them; click beside them to choose none")

    def sizeHint(self) -> QSize:
        """As high as wide in a usual dock."""
        return QSize(280, 270)

    @property
    def chosen(self) -> npt.NDArray[np.bool_]:
        """(N,) which points the lasso holds."""
        return self._chosen

    @property
    def count(self) -> int:
        """N, the number of points."""
        return len(self._xy)

    def show_points(
        self,
        xy: Floats,
        rgb: Floats,
        names: tuple[str, str] = ("", ""),
        legend: Sequence[tuple[str, tuple[int, int, int]]] = (),
    ) -> None:
        """Show (N, 2) points in (N, 3) colours in [0, 1]. legend: names with their RGB bytes."""
        self._xy, self._rgb, self._names, self._legend = xy, rgb, names, tuple(legend)
        self._chosen = np.zeros(len(xy), bool)
        self._cursor = None
        self._ends = _spanned(xy)
        self._redraw()

    def show_cursor(self, xy: Floats | None) -> None:
        """Mark a place with a ring; None takes the ring away."""
        self._cursor = xy
        self.update()

    def choose_inside(self, corners: Sequence[tuple[float, float]]) -> None:
        """Choose the points inside a polygon of places in the plot's own units."""
        from skimage.measure import points_in_poly

        inside = points_in_poly(self._xy, np.asarray(corners))  # type: ignore[no-untyped-call]
        self._chosen = np.asarray(inside, dtype=np.bool_)
        self._redraw()
        self.lassoed.emit(self._chosen)

    def clear_choice(self) -> None:
        """Choose none."""
        self._chosen = np.zeros(len(self._xy), bool)
        self._redraw()
        self.lassoed.emit(self._chosen)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Begin a lasso."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton and len(self._xy):
            self._lasso = [event.position()]

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Draw the lasso."""
        if event is not None and self._lasso:
            self._lasso.append(event.position())
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Close the lasso."""
        lasso, self._lasso = self._lasso, []
        if len(lasso) >= _LEAST_CORNERS:
            self.choose_inside([self.units_at(p.x(), p.y()) for p in lasso])
        elif lasso:
            self.clear_choice()

    def resizeEvent(self, event: object) -> None:
        """The picture has the widget's size."""
        self._redraw()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Frame, points, names, lasso, ring."""
        painter = QPainter(self)
        ink = self.palette().color(QPalette.ColorRole.Text)
        faint = QColor(ink)
        faint.setAlpha(60)
        area = self._area()
        if self._picture is not None:
            painter.drawImage(QPointF(0, 0), self._picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(faint))
        painter.drawRect(area)
        if not len(self._xy):
            faint.setAlpha(150)
            painter.setPen(QPen(faint))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._empty)
        painter.setPen(QPen(ink))
        below = QRectF(area.left(), area.bottom() + 3, area.width(), 16)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{self._names[0]} →" if self._names[0] else "")
        above = QRectF(area.left(), 3, area.width(), 16)
        painter.drawText(above, Qt.AlignmentFlag.AlignLeft, f"↑ {self._names[1]}" if self._names[1] else "")
        self._draw_legend(painter, above)
        self._draw_marks(painter)
        painter.end()

    def units_at(self, x: float, y: float) -> tuple[float, float]:
        """A place of the widget, in pixels, in the plot's units."""
        area, (low, high) = self._area(), self._ends
        across, up = (x - area.left()) / area.width(), (area.bottom() - y) / area.height()
        return float(low[0] + across * (high[0] - low[0])), float(low[1] + up * (high[1] - low[1]))

    def pixel_of(self, xy: npt.ArrayLike) -> tuple[float, float]:
        """A place in the plot's units as pixels of the widget."""
        area, (low, high) = self._area(), self._ends
        across, up = (np.asarray(xy, np.float64) - low) / (high - low)
        return area.left() + across * area.width(), area.bottom() - up * area.height()

    def _area(self) -> QRectF:
        return QRectF(_LEFT, _TOP, max(1, self.width() - _LEFT - _RIGHT), max(1, self.height() - _TOP - _BOTTOM))

    def _redraw(self) -> None:
        self._picture = self._drawn() if len(self._xy) else None
        self.update()

    def _drawn(self) -> QImage:
        """All points as pixels of one picture: a hundred thousand are drawn in a few milliseconds."""
        picture = np.zeros((max(1, self.height()), max(1, self.width()), 4), np.uint8)
        area, (low, high) = self._area(), self._ends
        share = (self._xy - low) / (high - low)
        inside: npt.NDArray[np.bool_] = np.asarray(((share >= 0) & (share <= 1)).all(1), np.bool_)
        x = (area.left() + share[:, 0] * (area.width() - 2)).astype(int)
        y = (area.bottom() - 2 - share[:, 1] * (area.height() - 2)).astype(int)
        bright = np.where(self._chosen | (not self._chosen.any()), 1.0, _FADED)
        color = (255 * self._rgb * bright[:, None]).astype(np.uint8)
        order = np.argsort(bright, kind="stable")  # the chosen ones on top
        order = order[inside[order]]
        rows, columns = picture.shape[:2]
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            at = np.minimum(y[order] + dy, rows - 1), np.minimum(x[order] + dx, columns - 1)
            picture[at] = np.column_stack([color[order], np.full(len(order), 255, np.uint8)])
        height, width = picture.shape[:2]
        return QImage(picture.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()

    def _draw_legend(self, painter: QPainter, place: QRectF) -> None:
        x = place.right()
        for name, color in reversed(self._legend):
            x -= painter.fontMetrics().horizontalAdvance(name) + 8
            if x < place.left() + 60:
                return
            painter.setPen(QPen(QColor(*color)))
            painter.drawText(QPointF(x, place.bottom() - 3), name)

    def _draw_marks(self, painter: QPainter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._cursor is not None and len(self._xy):
            x, y = self.pixel_of(self._cursor)
            painter.setPen(QPen(QColor("#ffd400"), 2.0))
            painter.drawEllipse(QPointF(x, y), 6.0, 6.0)
        if self._lasso:
            painter.setPen(QPen(QColor("#ffffff"), 1.2, Qt.PenStyle.DashLine))
            painter.drawPolygon(QPolygonF(self._lasso))


def _spanned(xy: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if not len(xy):
        return np.zeros(2), np.ones(2)
    low, high = np.percentile(xy, _TAILS, axis=0).astype(np.float64)
    middle, reach = (low + high) / 2, np.maximum((high - low) / 2, 1e-6) * 1.05
    return middle - reach, middle + reach
