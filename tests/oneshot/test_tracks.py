"""Ways of walkers, kept."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.oneshot.tracks import Piece, Track, TrackStore, cut, track_key


def blob() -> np.ndarray:
    out = np.zeros((20, 30), np.float32)
    out[5:9, 10:14] = 0.75
    return out


def test_a_piece_is_the_window_that_is_not_zero_and_comes_back_whole() -> None:
    piece = cut(3, blob())
    assert (piece.z, piece.top, piece.left, piece.values.shape) == (3, 5, 10, (4, 4))
    np.testing.assert_array_equal(piece.whole((20, 30)), blob())


def test_what_is_practically_zero_is_cut_off() -> None:
    faint = blob() + 0.001
    assert cut(0, faint).values.shape == (4, 4)
    empty = cut(2, np.full((20, 30), 0.001, np.float32))
    assert empty.values.size == 0
    assert not empty.whole((20, 30)).any()


def test_a_part_of_a_slice_is_cut_at_its_place_in_the_slice() -> None:
    part = cut(3, blob()[4:, 7:], (4, 7))
    np.testing.assert_array_equal(part.whole((20, 30)), blob())


@pytest.mark.parametrize(
    ("areas", "stride", "kept", "idle"),
    [
        ([9, 9, 9, 9], 1, 4, 0),
        ([9, 9, 0, 0], 1, 4, 2),
        ([9, 0, 9, 0], 1, 4, 1),
        ([0, 9, 9, 0, 9], 2, 4, 1),  # the second stride ends empty, the third was cut short
        ([9, 0, 9, 3, 9], 2, 4, 2),  # 3 pixels are fewer than the least of 4
        ([9], 3, 0, 0),
        ([], 2, 0, 0),
    ],
)
def test_a_settled_track_knows_its_empty_strides(areas: list[int], stride: int, kept: int, idle: int) -> None:
    way = Track([Piece(z, 0, 0, np.ones((1, n), np.float16)) for z, n in enumerate(areas)], idle=7)
    way.settle(stride, 4)
    assert (len(way.pieces), way.idle) == (kept, idle)


def test_a_piece_is_added_with_its_weight_in_its_place() -> None:
    total = np.ones((4, 20, 30), np.float16)
    cut(1, blob()).add_to(total, 0.5)
    assert (total[1, 5:9, 10:14] == 1.375).all()
    assert total.sum() == total.size + 16 * 0.375
    cut(1, np.zeros((20, 30))).add_to(total, 0.5)
    assert total.sum() == total.size + 16 * 0.375


def track(n: int) -> Track:
    return Track([Piece(z, 0, 0, np.zeros((10, 50), np.float16)) for z in range(n)])


def test_the_least_recently_used_track_goes_first() -> None:
    store = TrackStore(budget_bytes=3500)
    for name in "abc":
        store.put(name, track(1))  # about 1064 bytes each
    store.get("a")
    store.put("d", track(1))
    assert {name for name in "abcd" if store.get(name).pieces} == {"a", "c", "d"}
    assert store.nbytes <= 3500


def test_a_track_is_handed_out_as_it_is_kept_and_an_unknown_one_is_not_kept() -> None:
    store = TrackStore()
    kept = track(2)
    store.put("a", kept)
    assert store.get("a") is kept
    store.get("b").pieces.append(cut(0, blob()))
    assert not store.get("b").pieces
    store.clear()
    assert store.nbytes == 0


def test_one_track_larger_than_the_budget_is_still_kept() -> None:
    store = TrackStore(budget_bytes=10)
    store.put("a", track(1))
    assert store.get("a").pieces


def test_keys_know_all_that_decides_the_way() -> None:
    mask = blob() > 0
    other = mask.copy()
    other[0, 0] = True
    keys = [
        track_key("x", mask, 3, 1),
        track_key("y", mask, 3, 1),
        track_key("x", other, 3, 1),
        track_key("x", mask, 4, 1),
        track_key("x", mask, 3, -1),
        track_key("x", mask.astype(np.uint8), 3, 1),
        track_key("x", mask.reshape(30, 20), 3, 1),
    ]
    assert len(set(keys)) == 7
    assert track_key("x", np.asfortranarray(mask), 3, 1) == keys[0]
