"""Which scans are like this one? Whole-scan embeddings, and the nearest of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import FormatError, GeometryError, SettingsError
from napari_medssl.explore._npz import load_arrays, save_arrays
from napari_medssl.explore.cells import Floats, Mask, chosen_cells, space_of, vectors_of

Pooling = Literal["mean", "mean+std"]

_KIND = "index of scans"
_LEAST_FOR_MEAN = 3  # scans from which a common mean is taken; of fewer it would take off all there is


@dataclass(frozen=True, eq=False)
class ScanEmbedding:
    """One vector for a scan.

    vector: (D,) float32: the mean of its cells, or mean and standard deviation one after the other (`pooling`).
    name: file or what to call it. sha256: hash of the scan's content, so that a copy under another name is known.
    """

    vector: Floats
    name: str
    sha256: str
    pooling: Pooling
    space: str


@dataclass(frozen=True)
class Match:
    """A scan that was found. similarity: cosine, -1 to 1."""

    name: str
    sha256: str
    similarity: float


def embed_scan(
    grid: FeatureGrid, mask: Mask | None = None, *, name: str = "", pooling: Pooling = "mean+std"
) -> ScanEmbedding:
    """The embedding of a scan from its grid.

    mask: (Z, Y, X) bool, the cells that count (`body_cells`): without it the share of air decides much of the likeness.
    name: by default the file the grid was made from. Raises GeometryError for a mask that does not fit or a grid that
    does not know its scan's content, SettingsError for another pooling.
    """
    if pooling not in ("mean", "mean+std"):
        raise SettingsError(f"pooling is {pooling!r}; choose 'mean' or 'mean+std'")
    sha256 = str(grid.source.get("sha256", ""))
    if not sha256:
        raise GeometryError(
            "the grid does not know which scan it was made from, so copies of it could not be told; extract it again"
        )
    vectors = vectors_of(grid, chosen_cells(grid, mask))
    parts = [vectors.mean(0, dtype=np.float64)]
    if pooling == "mean+std":
        parts.append(vectors.std(0, dtype=np.float64))
    name = name or str(grid.source.get("file", "")) or sha256[:12]
    return ScanEmbedding(np.concatenate(parts).astype(np.float32), name, sha256, pooling, space_of(grid))


class ScanIndex:
    """Scans to search among, each by one vector; exact, for a folder or a hospital's thousands.

    A scan is there once: adding the same content again, under whatever name, changes nothing. Similarity is the cosine
    between vectors less the mean of all scans in the index (from 3 scans on) and over their standard deviation in each
    dimension, so that it depends on what else is there: it ranks, it does not measure.
    """

    def __init__(self) -> None:
        self._entries: list[ScanEmbedding] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[ScanEmbedding, ...]:
        """The scans, in the order they were added."""
        return tuple(self._entries)

    def __contains__(self, sha256: str) -> bool:
        return any(e.sha256 == sha256 for e in self._entries)

    def add(self, scan: ScanEmbedding) -> bool:
        """Take a scan in; False when its content is there already.

        Raises GeometryError when it was made with other weights, stages or pooling than those here, or has values that
        are no numbers.
        """
        self._check(scan)
        if scan.sha256 in self:
            return False
        self._entries.append(scan)
        return True

    def remove(self, name: str) -> int:
        """Take out the scans of this name or content hash; how many there were. Raises SettingsError for none."""
        kept = [e for e in self._entries if name not in (e.name, e.sha256)]
        gone = len(self._entries) - len(kept)
        if not gone:
            raise SettingsError(f"there is no scan {name!r} in the index; it has {self._told()}")
        self._entries = kept
        return gone

    def query(self, scan: ScanEmbedding, *, count: int = 5, itself: bool = False) -> list[Match]:
        """The `count` most similar scans, best first, equal ones in the order they were added.

        itself: whether the same content may be among them. Raises GeometryError as `add`, SettingsError for an empty
        index or a count below 1.
        """
        if not self._entries:
            raise SettingsError("the index holds no scan; add some first")
        if count < 1:
            raise SettingsError(f"count is {count}; it must be at least 1")
        self._check(scan)
        bank = np.stack([e.vector for e in self._entries]).astype(np.float64)
        cosines = _cosines(bank, scan.vector.astype(np.float64))
        order = [n for n in np.argsort(-cosines, kind="stable") if itself or self._entries[n].sha256 != scan.sha256]
        return [Match(self._entries[n].name, self._entries[n].sha256, float(cosines[n])) for n in order[:count]]

    def save(self, path: Path) -> None:
        """Write a .npz without pickles. Raises FormatError when the disk refuses, SettingsError for an empty index."""
        if not self._entries:
            raise SettingsError("the index holds no scan; add some before saving it")
        first = self._entries[0]
        facts = {
            "space": first.space,
            "pooling": first.pooling,
            "names": [e.name for e in self._entries],
            "sha256": [e.sha256 for e in self._entries],
        }
        save_arrays(path, _KIND, {"vectors": np.stack([e.vector for e in self._entries])}, facts)

    @classmethod
    def load(cls, path: Path) -> ScanIndex:
        """What `save` wrote. Raises FormatError for another or damaged file."""
        arrays, card = load_arrays(path, _KIND, ("vectors",))
        index = cls()
        try:
            pooling, space = card["pooling"], str(card["space"])
            for vector, name, sha256 in zip(arrays["vectors"], card["names"], card["sha256"], strict=True):
                index.add(ScanEmbedding(np.asarray(vector, np.float32), str(name), str(sha256), pooling, space))
        except (KeyError, TypeError, ValueError, GeometryError) as error:
            raise FormatError(f"{path} is damaged ({error}); make the index again") from error
        return index

    def _check(self, scan: ScanEmbedding) -> None:
        if not np.isfinite(scan.vector).all():
            raise GeometryError(f"the embedding of {scan.name} has values that are no numbers; extract the scan again")
        if not self._entries:
            return
        first = self._entries[0]
        if (scan.space, scan.pooling, scan.vector.shape) != (first.space, first.pooling, first.vector.shape):
            raise GeometryError(
                f"{scan.name} was embedded with {scan.pooling} of {scan.space}, the index with {first.pooling} of "
                f"{first.space}; embed it with the same weights, stages and pooling"
            )

    def _told(self) -> str:
        names = [e.name for e in self._entries]
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"


def _cosines(bank: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(M,) cosines of standardised vectors; 0 for one that has no direction."""
    if len(bank) >= _LEAST_FOR_MEAN:
        mean, spread = bank.mean(0), bank.std(0)
        # A dimension in which all scans agree to rounding says nothing about them.
        scale = np.where(spread > 1e-6 * (1e-6 + np.abs(mean)), 1 / np.where(spread > 0, spread, 1.0), 0.0)
        bank, query = (bank - mean) * scale, (query - mean) * scale
    lengths = np.linalg.norm(bank, axis=1) * np.linalg.norm(query)
    return np.asarray((bank @ query) / np.where(lengths > 0, lengths, 1.0))
