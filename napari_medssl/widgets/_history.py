"""The results of one scan, in order, for undo and redo."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_medssl.labels import Label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.widgets._tape import Tape

BUDGET_BYTES = 1 << 30  # results kept per scan; the newest two stay whatever their size


@dataclass
class _State:
    """A result with what was done to it since. of_run: its report as the run gave it. untold: it was changed behind
    napari's undo."""

    result: Segmentation
    of_run: dict[str, Any]
    tape: Tape = field(default_factory=Tape)
    untold: bool = False


class History:
    """Results with a present one. A new result drops those that were undone.

    Each result has a tape of its own: edits belong to the result they were made on, and go and come with it.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._states: list[_State] = []
        self._at = -1

    @property
    def present(self) -> Segmentation | None:
        """The result on show, None before the first run."""
        return self._states[self._at].result if self._at >= 0 else None

    @property
    def tape(self) -> Tape | None:
        """Edits and strokes of the present result, None before the first run."""
        return self._states[self._at].tape if self._at >= 0 else None

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
        self._states.append(_State(result, result.report))
        while len(self._states) > 2 and sum(map(_bytes, self._states)) > self._budget:
            del self._states[0]
        self._at = len(self._states) - 1

    def amend(self, edited: np.ndarray, organs: tuple[Label, ...]) -> None:
        """Keep what the user changed in the shown labels: it becomes part of the present result.

        edited: (Z, Y, X) labels. organs: their names and colours. Does nothing when all is as it was.
        """
        present = self.present
        if present is None or edited.shape != present.labels.shape:
            return
        state = self._states[self._at]
        same = np.array_equal(edited, present.labels.data)
        state.untold = state.untold or (not same and not state.tape.moved)
        if not same or organs != present.labels.labels:
            data = present.labels.data if same else edited.copy()
            present = dataclasses.replace(present, labels=present.labels.like(data, organs))
        state.result = dataclasses.replace(present, report=self.report())

    def report(self) -> dict[str, Any]:
        """The run's report with the edits in effect under "edits" and, after the brush, "edited_by_hand"."""
        if self._at < 0:
            return {}
        state = self._states[self._at]
        edits = [*state.of_run.get("edits", ()), *state.tape.edits()]  # a result taken over may have edits for good
        by_hand = state.untold or state.tape.strokes()
        return state.of_run | ({"edits": edits} if edits else {}) | ({"edited_by_hand": True} if by_hand else {})

    def undo(self) -> Segmentation:
        """Step back and give the earlier result. Raises IndexError when there is none."""
        if not self.can_undo:
            raise IndexError("there is no earlier result")
        self._at -= 1
        return self._states[self._at].result

    def redo(self) -> Segmentation:
        """Step forward again. Raises IndexError when nothing was undone."""
        if not self.can_redo:
            raise IndexError("there is no later result")
        self._at += 1
        return self._states[self._at].result


def _bytes(state: _State) -> int:
    result = state.result
    return int(result.labels.data.nbytes) + sum(int(p.nbytes) for p in result.probability.values()) + state.tape.nbytes
