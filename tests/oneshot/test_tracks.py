"""Ways already walked: kept, cut short, continued, and never changing the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.oneshot.propagation import PropagationSettings, propagate_steps
from napari_medssl.oneshot.tracks import Track, TrackStore, cut, track_key
from napari_medssl.progress import finish
from napari_medssl.volume import Volume


class CountingNetwork(nn.Module):
    """Carries the mask on, fading with the image, and counts the crops it saw."""

    crop_size = 32

    def __init__(self) -> None:
        super().__init__()
        self.crops = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.crops += len(inputs)
        return 3 * inputs[:, 3] + 0.3 * inputs[:, 0]


def _volume(depth: int, slice_mm: float) -> Volume:
    data = np.random.default_rng(0).random((depth, 40, 40), np.float32)
    data[:, 12:28, 10:30] += 1
    return Volume(data, np.diag([slice_mm, 1.0, 1.0, 1.0]))


def _mask() -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[12:28, 10:30] = True
    return mask


def _run(volume, anchors, network, store, slice_range=None):
    settings = PropagationSettings(mirror=False)
    return finish(
        propagate_steps(
            volume,
            anchors,
            network,
            settings,
            limits=(0.0, 2.0),
            device=torch.device("cpu"),
            slice_range=slice_range,
            tracks=store,
        )
    )


def test_piece_keeps_what_is_not_zero():
    probability = np.zeros((9, 7), np.float32)
    probability[2:5, 3:6] = 0.5
    piece = cut(4, probability)
    assert (piece.z, piece.top, piece.left, piece.values.shape) == (4, 2, 3, (3, 3))
    np.testing.assert_array_equal(piece.whole((9, 7)), probability)
    assert cut(0, np.zeros((9, 7), np.float32)).whole((9, 7)).sum() == 0


def test_store_drops_the_least_recently_used():
    store = TrackStore(budget_bytes=3000)
    for name in "abc":
        store.put(name, Track([cut(0, np.ones((25, 25), np.float32))]))
        store.get("a")
    assert store.nbytes <= 3000
    assert store.get("a").pieces
    assert not store.get("b").pieces


def test_key_depends_on_mask_place_and_base():
    mask = _mask()
    keys = {track_key("x", mask, 3, 1), track_key("y", mask, 3, 1), track_key("x", mask, 4, 1)}
    keys |= {track_key("x", mask, 3, -1), track_key("x", ~mask, 3, 1)}
    assert len(keys) == 5


@pytest.mark.parametrize("slice_mm", [3.0, 1.0])
def test_same_question_twice_computes_nothing(slice_mm):
    volume, network, store = _volume(11, slice_mm), CountingNetwork(), TrackStore()
    first = _run(volume, {1: {5: _mask()}}, network, store)
    seen = network.crops
    second = _run(volume, {1: {5: _mask()}}, network, store)
    assert network.crops == seen > 0
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("slice_mm", [3.0, 1.0])
def test_correction_computes_only_its_own_ways(slice_mm):
    volume, store = _volume(15, slice_mm), TrackStore()
    both = {1: {4: _mask(), 9: np.roll(_mask(), 3, 0)}}
    network = CountingNetwork()
    _run(volume, {1: {4: _mask()}}, network, store)
    alone = network.crops
    corrected = _run(volume, both, network, store)
    added = network.crops - alone
    fresh_network = CountingNetwork()
    fresh = _run(volume, both, fresh_network, TrackStore())
    np.testing.assert_array_equal(corrected[1], fresh[1])
    assert added < fresh_network.crops


@pytest.mark.parametrize("slice_mm", [3.0, 1.0])
def test_way_continued_later_equals_one_walked_at_once(slice_mm):
    volume, store = _volume(14, slice_mm), TrackStore()
    network = CountingNetwork()
    _run(volume, {1: {3: _mask()}}, network, store, slice_range=(2, 8))
    continued = _run(volume, {1: {3: _mask()}}, network, store)
    fresh = _run(volume, {1: {3: _mask()}}, CountingNetwork(), TrackStore())
    np.testing.assert_array_equal(continued[1], fresh[1])
