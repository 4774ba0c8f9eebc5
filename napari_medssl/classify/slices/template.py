"""A body as the scans at hand show it, slice by slice, and where on it another scan lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.classify.slices.marks import FloatArray

LEAST_SLICES = 4  # fewer say too little of how a scan goes on
_STEP_MM = 8.0
_SIGMA_MM = 12.0  # along the body, of a slice's say; 8 and 18 gave the same
_NUMBERS = 64  # principal components of a slice's look
_SCALES = (0.9, 0.95, 1.0, 1.05, 1.1)  # of bodies; without them AUC 0.001 to 0.004 lower, 0.8 to 1.2 gave the same
_STRETCH = 0.1  # cosine that a scale has to gain for each unit of its logarithm
_SEARCH_MM, _SHIFT_MM = 60.0, 4.0
_KNOWN = 0.2  # of the usual number of slices: fewer at a height make no template there
_OVERLAP = 0.4
_ROUNDS = 6  # 12 gave the same


@dataclass(frozen=True, eq=False)
class BodyTemplate:
    """The mean look at every height.

    mean: (E,), basis: (K, E): from a look to few numbers. start_mm: (1,) height of the first row. rows: (G, K) unit
    vectors, `_STEP_MM` apart. known: (G,) whether slices enough lie there.
    """

    mean: FloatArray
    basis: FloatArray
    start_mm: FloatArray
    rows: FloatArray
    known: FloatArray

    def place(self, look: FloatArray, height_mm: FloatArray) -> FloatArray:
        """(Z,) heights of a scan after it was shifted and scaled to where it looks most like the template.

        look: (Z, E). height_mm: (Z,) first guess, searched 60 mm up and down; kept for a scan of few slices, or one
        that fits nowhere.
        """
        if len(look) < LEAST_SLICES:
            return height_mm
        return self._fitted(np.asarray((look - self.mean) @ self.basis.T, np.float32), height_mm)

    def _fitted(self, reduced: FloatArray, height_mm: FloatArray) -> FloatArray:
        alike = _unit(reduced - reduced.mean(0)) @ self.rows.T  # (Z, G)
        middle = height_mm.mean()
        shifts = np.arange(-_SEARCH_MM, _SEARCH_MM + 1, _SHIFT_MM, dtype=np.float32)
        best, found = -np.inf, height_mm
        for scale in _SCALES:
            tried = scale * (height_mm - middle) + middle + shifts[:, None]  # (S, Z)
            score = self._score(alike, tried) - _STRETCH * abs(np.log(scale))
            if score.max() > best:
                best, found = float(score.max()), tried[score.argmax()]
        return np.asarray(found, np.float32)

    def _score(self, alike: FloatArray, heights: FloatArray) -> FloatArray:
        """(S,) mean cosine over the slices that meet the template, times the root of their share; -inf for too few."""
        at = (heights - self.start_mm[0]) / _STEP_MM
        low = np.clip(np.floor(at).astype(int), 0, len(self.rows) - 2)
        part = np.clip(at - low, 0, 1)
        slices = np.arange(alike.shape[0])
        value = (1 - part) * alike[slices, low] + part * alike[slices, low + 1]
        meets = self.known[low] * ((at > -1) & (at < len(self.rows)))
        share = meets.mean(1)
        cosine = (value * meets).sum(1) / np.maximum(meets.sum(1), 1)
        return np.where(share >= _OVERLAP, cosine * np.sqrt(share), -np.inf)


def learn_template(looks: Sequence[FloatArray], heights: Sequence[FloatArray]) -> tuple[BodyTemplate, list[FloatArray]]:
    """The template of some scans, and their heights on it.

    looks: (Z, E) of each scan, at least one. heights: (Z,) first guesses in mm.

    Scans are moved one after another, each to the template of the others: groupwise registration along one
    axis (Joshi et al., 2004, "Unbiased diffeomorphic atlas construction for computational anatomy", is the idea in
    three). Unlike a height that is linear in the look it is not led astray by scans that begin elsewhere. Mean AUC of
    organ presence by this height alone, from two labelled people: 0.978 instead of 0.927 on the BTCV scans that
    settings were chosen on. Ours.
    """
    mean, basis = _components(np.concatenate(looks))
    reduced = [np.asarray((look - mean) @ basis.T, np.float32) for look in looks]
    placed = list(heights)
    long = [i for i, look in enumerate(looks) if len(look) >= LEAST_SLICES]
    for _ in range(_ROUNDS if len(long) > 1 else 0):
        low, high = _reach([placed[i] for i in long])
        sums = [_sums(reduced[i], placed[i], low, high) for i in long]
        total, count = _added(sums)
        before = np.mean([placed[i].mean() for i in long])
        for i, own in zip(long, sums, strict=True):  # at once, two scans would change places for ever
            total, count = total - own[0], count - own[1]
            placed[i] = _template(mean, basis, low, total, count)._fitted(reduced[i], placed[i])
            moved = _sums(reduced[i], placed[i], low, high)
            total, count = total + moved[0], count + moved[1]
        drift = np.mean([placed[i].mean() for i in long]) - before
        placed = [h - np.float32(drift) for h in placed]
    used = long or range(len(looks))
    low, high = _reach([placed[i] for i in used])
    sums = [_sums(reduced[i], placed[i], low, high) for i in used]
    return _template(mean, basis, low, *_added(sums)), placed


def _components(look: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean (E,) and basis (K, E), which standardises first."""
    mean, deviation = look.mean(0), look.std(0) + np.float32(1e-3)
    standard = (look - mean) / deviation
    # Of the smaller of the two products: slices are mostly fewer than the numbers of a look.
    if len(look) <= look.shape[1]:
        values, left = np.linalg.eigh(standard @ standard.T)
        keep = np.argsort(values)[::-1][: min(_NUMBERS, len(look))]
        axes = (left[:, keep] / np.sqrt(np.maximum(values[keep], 1e-6))).T @ standard
    else:
        values, right = np.linalg.eigh(standard.T @ standard)
        axes = right[:, np.argsort(values)[::-1][:_NUMBERS]].T
    return np.asarray(mean, np.float32), np.asarray(axes / deviation, np.float32)


def _reach(heights: Sequence[FloatArray]) -> tuple[float, float]:
    return min(float(h.min()) for h in heights) - _SEARCH_MM, max(float(h.max()) for h in heights) + _SEARCH_MM


def _sums(reduced: FloatArray, height: FloatArray, low: float, high: float) -> tuple[FloatArray, FloatArray]:
    """(G, K) sum of looks near each height and (G,) how many they are."""
    rows = np.arange(low, high, _STEP_MM, dtype=np.float32)
    near = np.exp(-0.5 * ((rows[:, None] - height) / _SIGMA_MM) ** 2)
    return near @ reduced, near.sum(1)


def _added(sums: Sequence[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    return np.sum([s[0] for s in sums], axis=0), np.sum([s[1] for s in sums], axis=0)


def _template(mean: FloatArray, basis: FloatArray, low: float, total: FloatArray, count: FloatArray) -> BodyTemplate:
    known = count >= _KNOWN * np.median(count[count > count.max() / 10])
    means = total / np.maximum(count, 1e-6)[:, None]
    rows = _unit(means - means[known].mean(0))
    return BodyTemplate(mean, basis, np.array([low], np.float32), rows.astype(np.float32), known.astype(np.float32))


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), np.float32)
