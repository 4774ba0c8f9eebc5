"""The results of one scan, in order, for undo and redo."""

from __future__ import annotations

import dataclasses

import numpy as np

from napari_medssl.labels import Label
from napari_medssl.oneshot.result import Segmentation

BUDGET_BYTES = 1 << 30  # results kept per scan; the newest two stay whatever their size


class History:
    """Results with a present one. A new result drops those that were undone."""

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._states: list[Segmentation] = []
        self._at = -1

    @property
    def present(self) -> Segmentation | None:
        """The result on show, None before the first run."""
        return self._states[self._at] if self._at >= 0 else None

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier result."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later result."""
        return self._at < len(self._states) - 1

    def push(self, result: Segmentation) -> None:
        """Make `result` the present one."""
        del self._states[self._at + 1 :]
        self._states.append(result)
        while len(self._states) > 2 and sum(map(_bytes, self._states)) > self._budget:
            del self._states[0]
        self._at = len(self._states) - 1

    def amend(self, edited: np.ndarray, organs: tuple[Label, ...]) -> None:
        """Keep what the user changed in the shown labels: it becomes part of the present result.

        edited: (Z, Y, X) labels. organs: their names and colours. Does nothing when all is as the run left it.
        """
        present = self.present
        if present is None or edited.shape != present.labels.shape:
            return
        if np.array_equal(edited, present.labels.data):
            if organs != present.labels.labels:
                labels = present.labels.like(present.labels.data, organs)
                self._states[self._at] = dataclasses.replace(present, labels=labels)
            return
        labels = present.labels.like(edited.copy(), organs)
        report = present.report | {"edited_by_hand": True}
        self._states[self._at] = dataclasses.replace(present, labels=labels, report=report)

    def undo(self) -> Segmentation:
        """Step back and give the earlier result. Raises IndexError when there is none."""
        if not self.can_undo:
            raise IndexError("there is no earlier result")
        self._at -= 1
        return self._states[self._at]

    def redo(self) -> Segmentation:
        """Step forward again. Raises IndexError when nothing was undone."""
        if not self.can_redo:
            raise IndexError("there is no later result")
        self._at += 1
        return self._states[self._at]


def _bytes(result: Segmentation) -> int:
    return int(result.labels.data.nbytes) + sum(int(p.nbytes) for p in result.probability.values())
