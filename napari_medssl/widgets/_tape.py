"""The edits and brush strokes of one result, in order: napari's own undo history, kept bounded and told apart.

napari can undo and redo a Labels layer but not say what it would undo. So this module, and it alone, reads the
layer's `_undo_history` and `_redo_history`: lists of items, each a list of atoms that are undone together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Labels

BUDGET_BYTES = 128 << 20  # of what can be undone of one result: some 16 million changed voxels
_MOST_ITEMS = 99  # below napari's own limit, so that it is always here that the oldest is let go
Item = list[Any]


class Tape:
    """What can be undone and redone of a result, and what of it was an edit.

    While the result is on show the tape is the layer's own history (`attach`); otherwise it keeps it (`detach`), so
    that a result comes back with all its steps. One step is one call of the layer's undo, from a button or by Ctrl-Z.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._layer: Labels | None = None
        self._kept: tuple[list[Item], list[Item]] = ([], [])
        self._edits: list[tuple[Any, dict[str, Any]]] = []  # (atom, record) of edits that can be undone or redone
        self._settled: list[dict[str, Any]] = []  # records of edits that are in effect for good
        self._stroke_settled = False

    @property
    def layer(self) -> Labels | None:
        """The layer whose history this is now."""
        return self._layer

    def attach(self, layer: Labels) -> None:
        """Become the history of a layer that shows the result as it was at `detach`. The layer's own is dropped: it
        belongs to other voxels."""
        self.detach()
        for stack, items in zip(_stacks(layer), self._kept, strict=True):
            stack.clear()
            stack.extend(items)
        self._kept = ([], [])
        self._layer = layer
        layer.events.paint.connect(self._on_paint)

    def detach(self) -> None:
        """Keep the history and leave the layer without one."""
        if self._layer is None:
            return
        self._layer.events.paint.disconnect(self._on_paint)
        undo, redo = _stacks(self._layer)
        self._kept = (list(undo), list(redo))
        undo.clear()
        redo.clear()
        self._layer = None

    def note(self, record: dict[str, Any]) -> None:
        """Say that the newest step was an edit."""
        self._edits.append((self._undo[-1][0], record))

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._undo)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._redo)

    @property
    def moved(self) -> bool:
        """Whether anything ever happened to the result."""
        return bool(self._undo or self._redo or self._settled or self._stroke_settled)

    def edits(self) -> list[dict[str, Any]]:
        """Records of the edits that are in effect, in order."""
        done = [atom for item in self._undo for atom in item]
        return self._settled + [record for atom, record in self._edits if _has(done, atom)]

    def strokes(self) -> bool:
        """Whether something painted by hand is in effect."""
        known = [atom for atom, _ in self._edits]
        return self._stroke_settled or any(not _has(known, atom) for item in self._undo for atom in item)

    def painted_at(self) -> np.ndarray:
        """(N, 3) z y x of the voxels painted by hand that can still be taken back, each once, in ascending order."""
        known = [atom for atom, _ in self._edits]
        parts = [_voxels(atom) for item in self._undo for atom in item if not _has(known, atom)]
        return np.unique(np.concatenate([np.zeros((0, 3), int), *parts]), axis=0)

    @property
    def nbytes(self) -> int:
        """Memory of all steps."""
        return sum(map(_bytes, [*self._undo, *self._redo]))

    @property
    def position(self) -> tuple[int, ...]:
        """A token that differs when another step is the last one."""
        return (id(self._layer), len(self._undo), len(self._redo), id(self._undo[-1][0]) if self._undo else 0)

    @property
    def _undo(self) -> Any:
        return self._kept[0] if self._layer is None else _stacks(self._layer)[0]

    @property
    def _redo(self) -> Any:
        return self._kept[1] if self._layer is None else _stacks(self._layer)[1]

    def _on_paint(self, event: Any = None) -> None:
        """Let the oldest steps go; what they did is settled. What was undone is gone: napari drops it here, too."""
        undo = self._undo
        while len(undo) > 1 and (len(undo) > _MOST_ITEMS or sum(map(_bytes, undo)) > self._budget):
            item = undo.popleft()
            records = [record for atom, record in self._edits if _has(item, atom)]
            self._settled += records
            self._stroke_settled = self._stroke_settled or not records
        left = [atom for item in undo for atom in item]
        self._edits = [(atom, record) for atom, record in self._edits if _has(left, atom)]


def _stacks(layer: Labels) -> tuple[Any, Any]:
    return layer._undo_history, layer._redo_history


def _has(atoms: Iterable[Any], wanted: Any) -> bool:
    """By identity: atoms hold arrays, which compare element by element."""
    return any(atom is wanted for atom in atoms)


def _voxels(atom: Any) -> np.ndarray:
    """(N, 3) voxels that an atom changed: those of napari's brush are a box with a mask, others a tuple of indices."""
    if hasattr(atom, "slice_key"):
        box = [key if isinstance(key, slice) else slice(int(key), int(key) + 1) for key in atom.slice_key]
        shape = tuple(side.stop - side.start for side in box)
        mask = np.ones(shape, bool) if atom.mask is None else np.asarray(atom.mask).reshape(shape)
        return np.asarray(np.argwhere(mask) + [side.start for side in box])
    return np.column_stack(np.broadcast_arrays(*(np.asarray(axis).ravel() for axis in atom[0])))


def _bytes(item: Item) -> int:
    """Memory of a step: the arrays of its atoms, which are tuples of arrays and of tuples of arrays."""
    total = 0
    waiting: list[Any] = list(item)
    while waiting:
        part = waiting.pop()
        if isinstance(part, np.ndarray):
            total += part.nbytes
        elif isinstance(part, (tuple, list)):
            waiting.extend(part)
        elif hasattr(part, "old_values"):  # napari's atom of a brush stroke
            waiting.extend((part.mask, part.old_values))
    return total
