"""Results are kept until the budget is used up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_medssl.bounded_cache import BoundedCache


def test_the_least_recently_used_go_first() -> None:
    cache: BoundedCache[npt.NDArray[np.uint8]] = BoundedCache(250)
    for name in "ab":
        cache.put(name, np.zeros(100, np.uint8))
    assert cache.get("a") is not None
    cache.put("c", np.zeros(100, np.uint8))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.get("c") is not None
    assert cache.nbytes == 200


def test_what_is_larger_than_the_budget_is_not_kept_and_drops_nothing() -> None:
    cache: BoundedCache[npt.NDArray[np.uint8]] = BoundedCache(250)
    cache.put("a", np.zeros(100, np.uint8))
    cache.put("huge", np.zeros(251, np.uint8))
    assert cache.get("huge") is None
    assert cache.get("a") is not None
    cache.clear()
    assert cache.nbytes == 0
