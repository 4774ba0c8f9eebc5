"""What walkers have found so far, kept, so that a correction recomputes only what it changes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Piece:
    """A walker's probability on one slice: zero outside the window.

    z: slice. top, left: first row and column of the window. values: (h, w) float16.
    """

    z: int
    top: int
    left: int
    values: np.ndarray

    def add_to(self, total: np.ndarray, weight: float) -> None:
        """Add `weight` times the piece to a (Z, Y, X) array."""
        h, w = self.values.shape
        total[self.z, self.top : self.top + h, self.left : self.left + w] += (weight * self.values).astype(total.dtype)

    def whole(self, shape_yx: tuple[int, int]) -> np.ndarray:
        """The piece as a whole (Y, X) float32 slice."""
        out = np.zeros(shape_yx, np.float32)
        h, w = self.values.shape
        out[self.top : self.top + h, self.left : self.left + w] = self.values
        return out


def cut(z: int, probability: np.ndarray, origin: tuple[int, int] = (0, 0)) -> Piece:
    """The piece of a (Y, X) probability map that is not practically zero.

    origin: row and column of the slice at which the map's first pixel lies, when it covers only a part.
    """
    strong = probability > 0.002
    rows, columns = np.flatnonzero(strong.any(1)), np.flatnonzero(strong.any(0))
    if not len(rows):
        return Piece(z, 0, 0, np.zeros((0, 0), np.float16))
    window = probability[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Piece(z, int(rows[0]) + origin[0], int(columns[0]) + origin[1], window.astype(np.float16))


@dataclass
class Track:
    """The way of one walker: pieces in the order they were found.

    idle: empty strides in a row at its end. A track that stopped early can be continued from its last piece.
    """

    pieces: list[Piece] = field(default_factory=list)
    idle: int = 0

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(p.values.nbytes + 64 for p in self.pieces)

    def settle(self, stride: int, least: float) -> None:
        """Make the track one that can be continued exactly as if it had never been stopped.

        A last stride of fewer than `stride` slices, cut short by a label or an interruption, did not end where a free
        one would have: it goes. idle is counted anew from what stays; a stride is empty when its last slice holds
        fewer than `least` pixels above 0.5.
        """
        del self.pieces[len(self.pieces) // stride * stride :]
        self.idle = 0
        for piece in reversed(self.pieces[stride - 1 :: stride]):
            if float((piece.values > 0.5).sum()) >= least:
                break
            self.idle += 1


class TrackStore:
    """Tracks by key, bounded in bytes; the least recently used go first.

    A track depends on where it started, not on where it was told to stop, so a new labelled slice further along
    cuts an old track short instead of making it worthless.
    """

    def __init__(self, budget_bytes: int = 256 * 2**20) -> None:
        self.budget_bytes = budget_bytes
        self._tracks: OrderedDict[str, Track] = OrderedDict()

    def get(self, key: str) -> Track:
        """The track of this key, or a new, empty one that is not stored until `put`."""
        if key in self._tracks:
            self._tracks.move_to_end(key)
            return self._tracks[key]
        return Track()

    def put(self, key: str, track: Track) -> None:
        """Keep a track; others are dropped when the budget is exceeded."""
        self._tracks[key] = track
        self._tracks.move_to_end(key)
        while len(self._tracks) > 1 and self.nbytes > self.budget_bytes:
            self._tracks.popitem(last=False)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(t.nbytes for t in self._tracks.values())

    def clear(self) -> None:
        """Drop everything."""
        self._tracks.clear()


def track_key(base: str, mask: np.ndarray, z: int, direction: int) -> str:
    """Key of the track that starts on slice `z` with `mask` (Y, X) and goes `direction`.

    base: whatever else decides its way: scan, window, weights, settings.
    """
    h = hashlib.sha256(f"{base}|{z}|{direction}|{mask.shape}{mask.dtype.str}".encode())
    h.update(np.ascontiguousarray(mask).data)
    return h.hexdigest()
