"""Training of the propagator: walks start, follow and end where the labels say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl import write
from napari_medssl.errors import FormatError
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.propagator import build_propagator
from napari_medssl.progress import finish
from napari_medssl.settings import check
from napari_medssl.train import propagation
from napari_medssl.train.dataset import Case
from napari_medssl.train.incontext import organ_extents
from napari_medssl.train.propagation import (
    PropagationSettings,
    Walk,
    WalkSource,
    WalkVolume,
    mask_loss,
    supervoxels,
    train_propagation,
    walk_loss,
)
from napari_medssl.volume import Volume

SETTINGS = PropagationSettings(steps=3)
SMALL = {"features": (8, 8, 8, 8, 8, 8), "crop_size": 48}


def drifting(spacing_z_mm: float = 3.0, group: str = "set") -> WalkVolume:
    """A bright square (label 4) on black that drifts by a pixel per slice, on slices 6 to 24 of 30."""
    labels = np.zeros((30, 70, 90), np.uint8)
    for z in range(6, 25):
        labels[z, 20 + z // 2 : 40 + z // 2, 10 + z : 34 + z] = 4
    return WalkVolume((labels > 0).astype(np.uint8) * 255, labels, spacing_z_mm, group, organ_extents(labels))


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> WalkSource:
    """Walks whose appearance is left as it is, so that the picture shows where the organ is."""
    monkeypatch.setattr(propagation, "apply_tone", lambda image, labels, tone, generator: image)
    return WalkSource([drifting()], SETTINGS, crop_size=48)


def test_a_walk_has_its_slices_masks_and_distances(source: WalkSource) -> None:
    for _ in range(10):
        walk = source.draw()
        assert walk.images.shape == (5, 48, 48)  # start, three targets, one beyond
        assert walk.masks.shape == (4, 48, 48)
        assert walk.support.shape == walk.support_mask.shape == (48, 48)
        assert walk.gap_mm in (3.0, 6.0, 9.0)  # strides of 1 to 9 mm, in whole slices
        assert walk.start_mm % 3 == 0


def agreement(image: torch.Tensor, mask: torch.Tensor) -> float:
    shown = image > 0.5
    return float((shown & (mask > 0.5)).sum() / (shown | (mask > 0.5)).sum().clamp(min=1))


def test_target_masks_lie_where_the_picture_shows_the_organ(source: WalkSource) -> None:
    compared = 0
    for _ in range(60):
        walk = source.draw()
        assert agreement(walk.support, walk.support_mask) > 0.9
        for image, mask in zip(walk.images[1:4], walk.masks[1:], strict=True):
            if mask.sum() < 40 and (image > 0.5).sum() < 40:  # past the end, or the box has lost it
                continue
            assert agreement(image, mask) > 0.85
            compared += 1
    assert compared > 60


def test_walks_go_past_the_end_and_say_that_there_is_nothing(source: WalkSource) -> None:
    ends = [bool((w.masks[1:].sum((1, 2)) == 0).any()) for w in (source.draw() for _ in range(60))]
    assert 0.15 < np.mean(ends) < 0.85


def test_some_walks_start_lost_holding_a_mask_where_no_organ_is(source: WalkSource) -> None:
    lost = [w.masks[0].sum() > 100 and (w.images[0] > 0.5).sum() < 20 for w in (source.draw() for _ in range(100))]
    assert 0.03 < np.mean(lost) < 0.4


def test_starting_masks_are_sometimes_exact_and_mostly_damaged(source: WalkSource) -> None:
    scores = []
    while len(scores) < 60:
        walk = source.draw()
        if (walk.images[0] > 0.5).sum() > 40:
            scores.append(agreement(walk.images[0], walk.masks[0]))
    exact = np.array(scores) > 0.93
    assert 0.1 < exact.mean() < 0.7
    assert np.mean(scores) > 0.5


def test_the_organ_is_in_the_middle_of_its_crop(source: WalkSource) -> None:
    places = []
    for _ in range(40):
        start = source.draw().masks[0] > 0.5
        if start.sum() > 100:
            places.append(torch.nonzero(start).float().mean(0) - 23.5)
    found = torch.stack(places)
    assert found.norm(dim=1).median() < 6
    assert found.mean(0).norm() < 2  # to no side more than to another


def test_thick_slices_are_walked_one_by_one() -> None:
    walks = [WalkSource([drifting(8.0)], SETTINGS, crop_size=48).draw() for _ in range(3)]
    assert {w.gap_mm for w in walks} == {8.0}


def test_distance_is_measured_from_the_labelled_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    source = WalkSource([drifting()], SETTINGS, crop_size=48)
    seen: list[tuple[int, np.ndarray, int]] = []
    crop = source._crop

    def spy(volume: WalkVolume, organ: int, support: int, rows: np.ndarray, stride: int, carried: int) -> Walk:
        walk = crop(volume, organ, support, rows, stride, carried)
        seen.append((support, rows, carried))
        assert walk.start_mm == abs(int(rows[0]) - support) * 3.0
        assert walk.gap_mm == stride * 3.0
        return walk

    monkeypatch.setattr(source, "_crop", spy)
    for _ in range(80):
        source.draw()
    for support, rows, carried in seen:
        direction = np.sign(rows[1] - rows[0])
        assert len(set(np.diff(rows))) == 1
        assert (rows[0] - support) * direction >= 0  # away from the labelled slice, never back over it
        assert 6 <= support <= 24
        assert 6 <= carried <= 24
        assert carried == rows[0] or not 6 <= rows[0] <= 24  # another slice's mask only past the end
    assert {int(np.sign(rows[1] - rows[0])) for _, rows, _ in seen} == {-1, 1}


def test_the_same_seed_gives_the_same_walks() -> None:
    first, again = (WalkSource([drifting()], SETTINGS, crop_size=48) for _ in range(2))
    for _ in range(4):
        a, b = first.draw(), again.draw()
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.masks, b.masks)


def test_the_share_of_supervoxel_walks_is_kept() -> None:
    volumes = [drifting(group="set"), drifting(group="supervoxels of set")]
    source = WalkSource(volumes, PropagationSettings(supervoxel_share=0.25), crop_size=48)
    picked = [source._pick_volume() is volumes[1] for _ in range(400)]
    assert np.mean(picked) == pytest.approx(0.25, abs=0.07)


def test_scans_with_nothing_to_follow_are_told() -> None:
    empty = WalkVolume(np.zeros((4, 8, 8), np.uint8), np.zeros((4, 8, 8), np.uint8), 1.0, "set", {})
    with pytest.raises(FormatError, match="no scan has a label or supervoxel on two neighbouring slices"):
        WalkSource([empty], SETTINGS, crop_size=48)


class Copy(nn.Module):
    """Answers with the mask of the slice before; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.asked.append(inputs)
        return 20 * inputs[:, 3]


def test_each_step_starts_from_the_answer_before_and_counts_its_distance() -> None:
    mask = torch.zeros(4, 48, 48)
    mask[:, 10:30, 10:30] = 1
    image = 0.2 + 0.5 * mask[0] + torch.linspace(0, 0.2, 48)[None]
    walk = Walk(image.expand(5, 48, 48), mask, image, mask[0], 4.0, 8.0)
    network = Copy()
    loss = walk_loss(network, [walk, walk])
    assert len(network.asked) == 3
    assert network.asked[0].shape == (2, 9, 48, 48)
    for t, asked in enumerate(network.asked, 1):
        torch.testing.assert_close(asked[:, 3], 2 * mask[:1].expand(2, 48, 48) - 1, atol=1e-5, rtol=0)
        assert float(asked[0, 8, 0, 0]) == pytest.approx((8 + t * 4) / 100)
        assert float(asked[0, 7, 0, 0]) == pytest.approx(0.4)
    assert float(loss) < 1e-3


def test_the_loss_by_hand() -> None:
    target = torch.zeros(1, 8, 8)
    target[0, :4] = 1
    undecided = mask_loss(torch.zeros(1, 8, 8), target)
    assert float(undecided) == pytest.approx(2 * np.log(2) + 1 - (2 * 16 + 30) / (32 + 32 + 30), abs=1e-5)
    assert float(mask_loss(40 * target - 20, target)) == pytest.approx(0, abs=1e-4)
    # An empty target is answered best by nothing.
    empty = torch.zeros(1, 8, 8)
    assert float(mask_loss(empty - 20, empty)) < 1e-4 < float(mask_loss(empty, empty))


def test_a_few_steps_on_one_batch_lower_the_loss() -> None:
    torch.manual_seed(0)
    source = WalkSource([drifting()], SETTINGS, crop_size=48)
    walks = [source.draw() for _ in range(3)]
    network = build_propagator("crop-unet", **SMALL).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = walk_loss(network, walks)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]


def test_supervoxels_follow_the_picture_and_leave_air_out() -> None:
    image = np.zeros((14, 41, 60), np.uint8)
    image[:, 4:38, 4:30], image[:, 4:38, 30:56] = 100, 220
    found = supervoxels(image, (3.0, 1.0, 1.0), 20)
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert 5 < len(np.unique(found)) <= 40
    assert (found[:, :3] == 0).all()
    assert (found[:, 4:38, 4:56] > 0).mean() > 0.95
    dark = [(image[found == k] == 100).mean() for k in np.unique(found) if k]
    assert np.mean([max(d, 1 - d) for d in dark]) > 0.9  # hardly one lies on both sides of the edge


def test_an_almost_empty_scan_has_no_supervoxels() -> None:
    assert not supervoxels(np.zeros((12, 20, 20), np.uint8), (3.0, 1.0, 1.0), 10).any()


def pair(folder: Path, labels: np.ndarray | None) -> Case:
    """A scan of 14 slices on disk, with labels when given."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    image = rng.normal(40, 4, (14, 48, 48)).astype(np.float32)
    image[:, 14:34, 14:34] += 60
    volume = Volume(image, np.diag([1.0, 1.0, 4.0, 1.0])[:, [2, 1, 0, 3]])
    write(folder / "scan.nii.gz", volume)
    if labels is not None:
        write(folder / "labels.nii.gz", Volume(labels, volume.affine))
    return Case(folder / "scan.nii.gz", None if labels is None else folder / "labels.nii.gz", "set")


def square() -> np.ndarray:
    labels = np.zeros((14, 48, 48), np.uint8)
    labels[2:12, 14:34, 14:34] = 3
    return labels


def test_training_writes_weights_that_build_the_network_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = build_propagator("crop-unet", **SMALL)
    monkeypatch.setattr(propagation, "build_propagator", lambda name: small)
    settings = PropagationSettings(iterations=2, walks=1, steps=1, supervoxels=8)
    cases = [pair(tmp_path / "a", square()), pair(tmp_path / "b", None)]
    path = finish(train_propagation(cases, tmp_path / "out", settings))
    bundle = load_bundle(path)
    again = build_propagator(bundle.modules["propagator"]["name"], **bundle.modules["propagator"]["config"])
    load_module(again, bundle.state("propagator"), "propagator")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), small.parameters(), strict=True))
    assert bundle.card["data"] == {"set": ["scan.nii.gz", "scan.nii.gz"]}
    json.loads(json.dumps(bundle.card, allow_nan=False))


def test_unlabelled_scans_give_supervoxels_and_labelled_ones_both(tmp_path: Path) -> None:
    cases = [pair(tmp_path / "a", square()), pair(tmp_path / "b", None)]
    loaded = finish(propagation._load(cases, PropagationSettings(supervoxels=8)))
    assert sorted(v.group for v in loaded) == ["set", "supervoxels of set", "supervoxels of set"]
    labelled = next(v for v in loaded if v.group == "set")
    assert list(labelled.extents) == [3]
    assert labelled.extents[3].tolist() == list(range(2, 12))
    assert labelled.spacing_z_mm == pytest.approx(4)
    assert len(finish(propagation._load(cases, PropagationSettings(supervoxel_cases=0)))) == 1


def test_labels_of_another_shape_and_unreadable_scans_are_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has shape"):
        finish(propagation._load([pair(tmp_path / "a", square()[:13])], SETTINGS))
    (tmp_path / "bad.nii.gz").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"cannot train on .*bad\.nii\.gz"):
        finish(propagation._load([Case(tmp_path / "bad.nii.gz", None, "set")], SETTINGS))


def test_the_recipe_is_within_its_own_limits() -> None:
    check(PropagationSettings())
