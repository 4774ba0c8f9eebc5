"""Walks start, follow and end where the labels say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.episodes import walks
from napari_medssl.train.episodes.sources import Sources, WalkSettings
from napari_medssl.train.episodes.supervoxels import supervoxels
from napari_medssl.train.episodes.walks import Walks

SETTINGS = WalkSettings(steps=3, supervoxel_cases=0)
Walk = dict[str, torch.Tensor]


def drifting(spacing_z_mm: float = 3.0, group: str = "set") -> Scan:
    """A bright square (label 4) on black that drifts by a pixel per slice, on slices 6 to 24 of 30."""
    labels = np.zeros((30, 70, 90), np.uint8)
    for z in range(6, 25):
        labels[z, 20 + z // 2 : 40 + z // 2, 10 + z : 34 + z] = 4
    return Scan((labels > 0).astype(np.uint8) * 255, labels, (spacing_z_mm, 1.0, 1.0), "a.nii", group, "a")


def body(labelled: bool = True) -> Scan:
    """A bright block in a grey one, 14 slices."""
    image = np.zeros((14, 48, 48), np.uint8)
    image[:, 4:44, 4:44], image[:, 14:34, 14:34] = 100, 220
    labels = np.zeros(image.shape, np.uint8)
    labels[2:12, 14:34, 14:34] = 3
    return Scan(image, labels if labelled else None, (4.0, 1.0, 1.0), f"b{labelled}.nii", "set", f"b{labelled}")


def draws(scan: Scan, count: int, settings: WalkSettings = SETTINGS) -> list[Walk]:
    task, scans = Walks(settings, crop_size=48), [scan]
    return [task.draw(scans, np.random.default_rng([3, n])) for n in range(count)]


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walks whose appearance is left as it is, so that the picture shows where the organ is."""
    monkeypatch.setattr(walks, "apply_appearance", lambda image, labels, look, generator: image)


@pytest.mark.usefixtures("as_it_is")
def test_a_walk_has_its_slices_masks_and_distances() -> None:
    for walk in draws(drifting(), 10):
        assert walk["images"].shape == (5, 48, 48)  # start, three targets, one beyond
        assert walk["masks"].shape == (4, 48, 48)
        assert walk["support"].shape == walk["support_mask"].shape == (48, 48)
        assert float(walk["gap_mm"]) in (3.0, 6.0, 9.0)  # strides of 1 to 9 mm, in whole slices
        assert float(walk["start_mm"]) % 3 == 0
        assert all(v.dtype == torch.float32 for v in walk.values())


def agreement(image: torch.Tensor, mask: torch.Tensor) -> float:
    shown = image > 0.5
    return float((shown & (mask > 0.5)).sum() / (shown | (mask > 0.5)).sum().clamp(min=1))


@pytest.mark.usefixtures("as_it_is")
def test_target_masks_lie_where_the_picture_shows_the_organ() -> None:
    compared = 0
    for walk in draws(drifting(), 60):
        assert agreement(walk["support"], walk["support_mask"]) > 0.9
        for image, mask in zip(walk["images"][1:4], walk["masks"][1:], strict=True):
            if mask.sum() < 40 and (image > 0.5).sum() < 40:  # past the end, or the box has lost it
                continue
            assert agreement(image, mask) > 0.85
            compared += 1
    assert compared > 60


@pytest.mark.usefixtures("as_it_is")
def test_walks_go_past_the_end_and_say_that_there_is_nothing() -> None:
    ends = [bool((w["masks"][1:].sum((1, 2)) == 0).any()) for w in draws(drifting(), 60)]
    assert 0.15 < np.mean(ends) < 0.85


@pytest.mark.usefixtures("as_it_is")
def test_some_walks_start_lost_holding_a_mask_where_no_organ_is() -> None:
    lost = [w["masks"][0].sum() > 100 and (w["images"][0] > 0.5).sum() < 20 for w in draws(drifting(), 100)]
    assert 0.03 < np.mean(lost) < 0.4


@pytest.mark.usefixtures("as_it_is")
def test_starting_masks_are_sometimes_exact_and_mostly_damaged() -> None:
    shown = [w for w in draws(drifting(), 90) if (w["images"][0] > 0.5).sum() > 40]
    scores = np.array([agreement(w["images"][0], w["masks"][0]) for w in shown])
    assert len(scores) > 50
    assert 0.1 < (scores > 0.93).mean() < 0.7
    assert scores.mean() > 0.5


@pytest.mark.usefixtures("as_it_is")
def test_the_organ_is_in_the_middle_of_its_crop() -> None:
    starts = [w["masks"][0] > 0.5 for w in draws(drifting(), 40)]
    found = torch.stack([torch.nonzero(s).float().mean(0) - 23.5 for s in starts if s.sum() > 100])
    assert found.norm(dim=1).median() < 6
    assert found.mean(0).norm() < 2  # to no side more than to another


def test_thick_slices_are_walked_one_by_one() -> None:
    assert {float(w["gap_mm"]) for w in draws(drifting(8.0), 3)} == {8.0}


def test_distance_is_measured_from_the_labelled_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, np.ndarray, int]] = []
    crop = Walks._crop

    def spy(self, volume, organ, support, rows, carried, rng):  # type: ignore[no-untyped-def]
        seen.append((support, rows, carried))
        return crop(self, volume, organ, support, rows, carried, rng)

    monkeypatch.setattr(Walks, "_crop", spy)
    drawn = draws(drifting(), 80)
    for (support, rows, carried), walk in zip(seen, drawn, strict=True):
        stride = rows[1] - rows[0]
        assert float(walk["start_mm"]) == abs(int(rows[0]) - support) * 3.0
        assert float(walk["gap_mm"]) == abs(int(stride)) * 3.0
        assert len(set(np.diff(rows))) == 1
        assert (rows[0] - support) * stride >= 0  # away from the labelled slice, never back over it
        assert 6 <= support <= 24
        assert 6 <= carried <= 24
        assert carried == rows[0] or not 6 <= rows[0] <= 24  # another slice's mask only past the end
    assert {int(np.sign(rows[1] - rows[0])) for _, rows, _ in seen} == {-1, 1}


def test_the_same_seed_gives_the_same_walk_whatever_was_drawn_before() -> None:
    scans, settings = [body(), body(labelled=False)], WalkSettings(supervoxels=8)
    one, two = Walks(settings, crop_size=48), Walks(settings, crop_size=48)
    for n in range(4):
        two.draw(scans, np.random.default_rng(50 + n))
        a, b = one.draw(scans, np.random.default_rng(n)), two.draw(scans, np.random.default_rng(n))
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_labelled_scans_are_walked_by_organs_and_supervoxels_in_their_shares() -> None:
    scans, settings = [body(), body(labelled=False)], WalkSettings(supervoxel_share=0.25, supervoxels=8)
    sources, rng = Sources(scans, settings), np.random.default_rng(0)
    picked = [sources.pick(rng) for _ in range(400)]
    organs = [list(v.extents) == [3] for v in picked]
    assert np.mean(organs) == pytest.approx(0.75, abs=0.07)
    followed = next(v for v, organ in zip(picked, organs, strict=True) if organ)
    assert followed.extents[3].tolist() == list(range(2, 12))
    assert followed.spacing_mm == (4.0, 1.0, 1.0)
    assert len({id(v) for v in picked}) == 3  # one of organs, two of supervoxels, each cut once


def test_supervoxels_are_made_of_so_many_scans_unlabelled_ones_first() -> None:
    bare = body(labelled=False)
    sources = Sources([body(), bare], WalkSettings(supervoxel_share=1.0, supervoxel_cases=1, supervoxels=8))
    rng = np.random.default_rng(0)
    assert {id(sources.pick(rng).image) for _ in range(10)} == {id(bare.image)}


def test_scans_with_nothing_to_follow_are_told() -> None:
    empty = replace(drifting(), image=np.zeros((14, 20, 20), np.uint8), labels=np.zeros((14, 20, 20), np.uint8))
    for settings in (SETTINGS, WalkSettings()):
        with pytest.raises(FormatError, match="no scan has a label or supervoxel on two neighbouring slices"):
            draws(empty, 1, settings)


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
