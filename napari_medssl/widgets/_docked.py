"""A widget that knows when its dock is gone."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class DockedWidget(QWidget):
    """Calls `_detach` when it is closed, destroyed, or left without a dock; possibly more than once.

    A dock that napari takes away leaves its widget without parent, neither closed nor destroyed: work would go on
    unseen, and listeners would answer for a widget nobody sees.
    """

    def _detach(self) -> None:
        """Stop work and listening; touches no Qt, so it may come after the widget's end."""
        raise NotImplementedError

    def event(self, event: QEvent | None) -> bool:
        """Notice that the dock was taken away."""
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._detach()
            self.deleteLater()
        return super().event(event)

    def closeEvent(self, event: Any) -> None:
        """Stop what is running."""
        self._detach()
        super().closeEvent(event)
