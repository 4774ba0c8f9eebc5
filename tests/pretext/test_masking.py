"""Masks: how many, where, what is left; the same seed the same sample; hidden voxels can be told from the sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.masking import MaskedCrops, MaskedSlices, Masking, standardised
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example


def scan() -> Scan:
    image = np.random.default_rng(0).integers(30, 256, (20, 32, 32), dtype=np.uint8)
    return Scan(image, None, (2.0, 2.0, 2.0), "a.nii", "group", "a")


def task(dims: int, **masking: object) -> MaskedSlices | MaskedCrops:
    rule = Masking(8, **masking)  # type: ignore[arg-type]
    return MaskedSlices(32, 3, rule) if dims == 2 else MaskedCrops((16, 24, 24), rule)


def batch_of(made: MaskedSlices | MaskedCrops, count: int = 4) -> Example:
    batch: Example = default_collate([made.draw([scan()], np.random.default_rng([0, n])) for n in range(count)])
    return batch


def blocks(image: Tensor, patch: int) -> Tensor:
    """(B, C, cells, voxels of a patch), by unfolding."""
    for axis in range(2, image.ndim):
        image = image.unfold(axis, patch, patch)
    dims = (image.ndim - 2) // 2
    return image.flatten(2, 1 + dims).flatten(3)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_same_seed_gives_the_same_sample(dims: int) -> None:
    a, b, c = (task(dims).draw([scan()], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["mask"], c["mask"])


@pytest.mark.parametrize(("ratio", "hidden"), [(0.6, 10), (0.75, 12), (0.8, 13)])
def test_hides_its_share_of_sixteen_patches(ratio: float, hidden: int) -> None:
    masks = [Masking(8, ratio).draw((32, 32), np.random.default_rng(n)) for n in range(50)]
    assert {int(m.sum()) for m in masks} == {hidden}
    often = torch.stack(masks).float().mean(0)
    assert often.min() > 0.3  # every patch has its turn


def test_two_patches_are_one_hidden_and_one_not() -> None:
    assert int(Masking(8, 0.8).draw((8, 16), np.random.default_rng(0)).sum()) == 1


@pytest.mark.parametrize("dims", [2, 3])
def test_the_mask_can_be_told_from_the_prepared_batch(dims: int) -> None:
    made = task(dims)
    batch = batch_of(made)
    prepared = made.prepare(batch)
    original = batch["slices"].float() / 255 if dims == 2 else batch["crop"].float()[:, None] / 255
    torch.testing.assert_close(prepared["target"], original)
    torch.testing.assert_close(prepared["image"], torch.where(prepared["weight"].bool(), 0, original))
    dark = (blocks(prepared["image"], 8) == 0).all(3)  # the scan itself has no dark voxel
    for channel in range(dark.shape[1]):
        assert torch.equal(dark[:, channel], batch["mask"].flatten(1))


@pytest.mark.parametrize("dims", [2, 3])
def test_visible_tokens_are_those_that_hold_something(dims: int) -> None:
    made = task(dims, token=4)
    prepared = made.prepare(batch_of(made))
    holds = (blocks(prepared["image"], 4) > 0).any(3)[:, 0]
    assert [row.nonzero().flatten().tolist() for row in holds] == prepared["visible"].tolist()
    assert "visible" not in task(dims).prepare(batch_of(task(dims)))


@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (2, 1, 8, 16, 8)])
def test_standardised_patches(shape: tuple[int, ...]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    own = blocks(image, 8)
    spread = (own.var(3, correction=0, keepdim=True) + 1e-4).sqrt()
    torch.testing.assert_close(blocks(standardised(image, 8), 8), (own - own.mean(3, keepdim=True)) / spread)


def test_air_stays_flat_when_standardised() -> None:
    air = torch.randint(0, 2, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    assert standardised(air, 8).abs().max() < 0.5


def test_standardising_changes_the_target_alone() -> None:
    plain, other = (t.prepare(batch_of(t)) for t in (task(2), task(2, standardise=True)))
    assert torch.equal(plain["image"], other["image"])
    torch.testing.assert_close(other["target"], standardised(plain["target"], 8))


@pytest.mark.parametrize(
    ("masking", "sides", "message"),
    [
        (Masking(7), (32, 32), "patches of 7 do not tile an image of 32 x 32"),
        (Masking(32), (32, 32), "is a single patch of 32"),
        (Masking(8, token=3), (32, 32), "no whole number of the encoder's patches of 3"),
        (Masking(8, ratio=0.9), (32, 32), "ratio is 0.9; it must be at least 0.6 and at most 0.8"),
    ],
)
def test_wrong_settings_are_named(masking: Masking, sides: tuple[int, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        masking.check(sides)
