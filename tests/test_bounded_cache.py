"""Maps of structures are kept until the budget is used up."""

from __future__ import annotations

import numpy as np

from napari_medssl.oneshot.structure_store import StructureStore


def test_the_least_recently_used_go_first() -> None:
    store = StructureStore(budget_bytes=250)
    for name in "ab":
        store.put(name, np.zeros(100, np.uint8))
    assert store.get("a") is not None
    store.put("c", np.zeros(100, np.uint8))
    assert store.get("b") is None
    assert store.get("a") is not None
    assert store.get("c") is not None
    assert store.nbytes == 200


def test_what_is_larger_than_the_budget_is_not_kept_and_drops_nothing() -> None:
    store = StructureStore(budget_bytes=250)
    store.put("a", np.zeros(100, np.uint8))
    store.put("huge", np.zeros(251, np.uint8))
    assert store.get("huge") is None
    assert store.get("a") is not None
    store.clear()
    assert store.nbytes == 0
