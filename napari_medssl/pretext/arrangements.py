"""Which arrangements of the patches a jigsaw puzzle uses: far from each other, or drawn at random."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SettingsError

Arrangements: TypeAlias = npt.NDArray[np.uint8]
"""(C, cells): row `label` is the arrangement of that class; slot k receives patch row[k] (B3-11), counted from 0."""

_ENUMERABLE = 9  # cells of which all orders can be listed (9! = 362,880)
_POOL = 20_000  # candidates when there are more orders than can be listed


def hamming(one: npt.ArrayLike, other: npt.ArrayLike) -> int:
    """Number of places in which two arrangements differ (thesis 3.2).

    >>> hamming([1, 2, 3, 4, 5, 6, 7, 8, 9], [4, 6, 2, 7, 3, 1, 9, 5, 8])
    9
    """
    return int((np.asarray(one) != np.asarray(other)).sum())


def least_hamming(arrangements: Arrangements) -> int:
    """Smallest Hamming distance between two of (C, cells) arrangements; `cells` when there is only one."""
    cells = arrangements.shape[1]
    nearest = [int((arrangements[i + 1 :] != row).sum(1).min()) for i, row in enumerate(arrangements[:-1])]
    return min(nearest, default=cells)


@functools.lru_cache(maxsize=2)
def all_arrangements(cells: int) -> Arrangements:
    """(cells!, cells) every order in lexicographic sequence, for at most nine cells; not to be written to."""
    if not 1 <= cells <= _ENUMERABLE:
        raise ValueError(f"the orders of {cells} cells cannot be listed; up to {_ENUMERABLE} can")
    table = np.zeros((1, 1), np.uint8)
    for n in range(2, cells + 1):
        # First value f, then the orders of n - 1 values with those from f on raised by one.
        table = np.concatenate([np.insert(table + (table >= f).astype(np.uint8), 0, f, axis=1) for f in range(n)])
    table.flags.writeable = False
    return table


@functools.lru_cache(maxsize=4)
def spread_arrangements(cells: int = 9) -> Arrangements:
    """Every arrangement kept by SETARR (Alg. 3.1), the identity first: 1887 of nine cells (E-02); not to be written to.

    All orders are passed in lexicographic sequence (B3-05); one is kept when it differs from each kept before in more
    than floor(cells / 2) places. Instead of comparing each order with all kept ones, a kept one strikes out the orders
    near it, which are itself with few values moved: the same set in a fraction of a second.
    """
    everything = all_arrangements(cells)
    near = everything[(everything != everything[0]).sum(1) <= cells // 2]  # moves of at most that many places
    codes = _codes(everything)
    free = np.ones(len(everything), bool)
    kept = []
    for i in range(len(everything)):
        if free[i]:
            kept.append(i)
            free[np.searchsorted(codes, _codes(everything[i][near]))] = False
    members: Arrangements = everything[kept]
    members.flags.writeable = False
    return members


def _codes(arrangements: Arrangements) -> npt.NDArray[np.int64]:
    """Each arrangement as one decimal number, which sorts as the arrangements do."""
    return arrangements.astype(np.int64) @ (10 ** np.arange(arrangements.shape[1])[::-1])


def setarr(count: int, rng: np.random.Generator, *, cells: int = 9) -> Arrangements:
    """`count` arrangements of the SSLACL puzzle: the identity as class 0, the others drawn from SETARR's.

    Thesis Alg. 3.1 draws with replacement, so that two labels would share an arrangement (500 draws have about 439
    different ones); here without (B3-04). Raises SettingsError when there are fewer than `count`.
    """
    members = spread_arrangements(cells)
    if not 1 <= count <= len(members):
        raise SettingsError(
            f"{count} classes were asked for; there are 1 to {len(members)} arrangements of {cells} patches "
            f"that differ in more than {cells // 2} places"
        )
    others = rng.choice(np.arange(1, len(members)), count - 1, replace=False)
    return np.concatenate([members[:1], members[others]])


def uniform_arrangements(count: int, rng: np.random.Generator, *, cells: int = 9) -> Arrangements:
    """`count` different arrangements of the SKID puzzle, drawn from all (thesis 3.4.1.1), the identity as class 0.

    The identity is forced in as in the authors' code. Raises SettingsError when there are fewer than `count`.
    """
    everything = all_arrangements(cells)
    if not 1 <= count <= len(everything):
        raise SettingsError(f"{count} classes were asked for; {cells} patches have 1 to {len(everything)} orders")
    others = rng.choice(np.arange(1, len(everything)), count - 1, replace=False)
    return np.concatenate([everything[:1], everything[others]])


def max_hamming_set(cells: int, count: int, rng: np.random.Generator) -> Arrangements:
    """`count` different arrangements of any number of cells (up to 255), far from each other by a greedy choice.

    The first is random; each next one has the largest least distance to those chosen, among equals the largest mean
    distance (after Noroozi and Favaro, 2016). More than nine cells: chosen among 20,000 random orders (ours).
    Raises SettingsError when there are fewer than `count` orders.
    """
    pool = _candidates(cells, count, rng)
    chosen = [int(rng.integers(len(pool)))]
    least = np.full(len(pool), cells + 1, np.int64)
    total = np.zeros(len(pool), np.int64)
    while len(chosen) < count:
        distance = (pool != pool[chosen[-1]]).sum(1)
        least = np.minimum(least, distance)
        total += distance
        score = least * (cells * count + 1) + total  # the total decides among equal least distances
        score[chosen] = -1
        chosen.append(int(np.argmax(score)))
    return pool[chosen]


def _candidates(cells: int, count: int, rng: np.random.Generator) -> Arrangements:
    """Different orders in random sequence, so that a first maximum is a random one."""
    if count < 1:
        raise SettingsError(f"{count} classes were asked for; a puzzle has at least 1")
    if cells <= _ENUMERABLE:
        everything = all_arrangements(cells)
        if count > len(everything):
            raise SettingsError(f"{count} classes were asked for; {cells} cells have 1 to {len(everything)} orders")
        return everything[rng.permutation(len(everything))]
    drawn = rng.permuted(np.tile(np.arange(cells, dtype=np.uint8), (max(_POOL, 4 * count), 1)), axis=1)
    different = np.unique(drawn, axis=0)
    return different[rng.permutation(len(different))]


def inverse(arrangement: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The arrangement that undoes one: `patches[T][inverse(T)]` are the patches in order.

    >>> inverse([2, 0, 1]).tolist()
    [1, 2, 0]
    """
    return np.argsort(np.asarray(arrangement))
