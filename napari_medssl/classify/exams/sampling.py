"""Which slices of an exam are looked at."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SettingsError

Sampling: TypeAlias = Literal["uniform", "normal", "stratified", "all"]

IntArray = npt.NDArray[np.intp]


def draw_slices(depth: int, count: int, sampling: Sampling, rng: np.random.Generator) -> IntArray:
    """At most `count` different slice numbers out of `depth`, in their order; all of them when there are no more.

    uniform: any set as likely as any other (thesis 3.5.2.2, 4.5.2.2). normal: rounded draws around the middle with a
    standard deviation of a quarter of the depth; those outside (about 4.6 %) and repetitions are drawn anew (thesis
    3.4.2.3; B3-40, B3-41). stratified: one from each of `count` equal parts (ours: covers the whole exam every time).
    all: every slice, whatever `count`.

    Raises SettingsError for a sampling of another name or a count below 1.
    """
    if sampling not in ("uniform", "normal", "stratified", "all"):
        raise SettingsError(f"no sampling is called {sampling!r}; choose uniform, normal, stratified or all")
    if count < 1:
        raise SettingsError(f"{count} slices cannot be drawn; choose 1 or more")
    if sampling == "all" or count >= depth:
        return np.arange(depth)
    if sampling == "normal":
        return _normal(depth, count, rng)
    if sampling == "stratified":
        ends = np.round(np.arange(count + 1) * depth / count).astype(np.intp)
        return np.array([rng.integers(a, b) for a, b in pairwise(ends)], np.intp)
    return np.sort(rng.choice(depth, count, replace=False)).astype(np.intp)


def _normal(depth: int, count: int, rng: np.random.Generator) -> IntArray:
    taken = np.zeros(depth, bool)
    wanted = count
    while wanted:
        for z in np.rint(rng.normal((depth - 1) / 2, depth / 4, 2 * count)).astype(int):
            if wanted and 0 <= z < depth and not taken[z]:
                taken[z] = True
                wanted -= 1
    return np.flatnonzero(taken)
