"""Organs that CT shows alike are as bright as their relaxation times say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.transforms.sequence_look import apply_sequence_look, has_relaxation_times, spin_echo

STRUCTURES = ["spleen", "liver", "right kidney", "left adrenal"]
FAT, SOFT = 0.15, 0.55


def abdomen() -> tuple[torch.Tensor, torch.Tensor]:
    """Four organs, all 0.7 bright, in soft tissue, with fat and air at the top; (3, 64, 64) slices and labels."""
    slices, labels = torch.full((3, 64, 64), SOFT), torch.zeros(3, 64, 64)
    slices[:, :8], slices[:, 8:16] = 0, FAT
    for k, (y, x) in enumerate([(20, 4), (20, 36), (42, 4), (42, 36)], start=1):
        slices[:, y : y + 18, x : x + 24], labels[:, y : y + 18, x : x + 24] = 0.7, k
    return slices, labels


def levels(seed: int) -> list[float]:
    """How bright the four organs are."""
    slices, labels = abdomen()
    out = apply_sequence_look(slices, labels, STRUCTURES, np.random.default_rng(seed))
    return [float(out[labels == k].median()) for k in range(1, 5)]


def test_signal_of_a_spin_echo() -> None:
    assert spin_echo(800, 34, repeat_ms=1e9, echo_ms=34) == pytest.approx(np.exp(-1))
    assert spin_echo(800, 1e9, repeat_ms=800, echo_ms=0) == pytest.approx(1 - np.exp(-1))


def test_organs_alike_in_ct_become_as_different_as_their_relaxation_times() -> None:
    drawn = np.array([levels(n) for n in range(120)])
    spleen, liver, kidney, adrenal = drawn.T
    seen = (drawn[:, :3] > 0.02).all(1) & (drawn[:, :3] < 0.98).all(1)
    assert seen.sum() > 30
    assert (spleen > liver).mean() > 0.6  # on T2, whose echoes are most of the range
    assert (spleen < liver).sum() > 5  # on T1
    between = np.abs(np.log(spleen[seen] / kidney[seen])).mean()
    assert np.abs(np.log(spleen[seen] / liver[seen])).mean() > 1.3 * between
    assert adrenal.std() > 0.15  # nothing is known of it: any


def test_shapes_stay_and_air_stays_dark() -> None:
    slices, labels = abdomen()
    for n in range(20):
        out = apply_sequence_look(slices, labels, STRUCTURES, np.random.default_rng(n))
        assert out.shape == slices.shape
        assert out.dtype == torch.float32
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
        assert float(out[:, :5].max()) < 0.01
        flat = out[:, 25:33, 10:22]
        assert float((flat - flat.mean()).abs().max()) < 0.35  # one organ: no edge but the smooth field of the coil


def test_only_structures_with_known_times_can_be_shown() -> None:
    assert has_relaxation_times(["stomach", "liver"])
    assert not has_relaxation_times(["anterior hippocampus"])
