"""Rehearsed segmentations and the walks through them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.models.propagator import build_propagator
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.episodes import rehearsals as rehearsing
from napari_medssl.train.episodes.guided_walks import GuidedWalks, GuideSettings, swollen
from napari_medssl.train.episodes.rehearsals import Cast, Rehearsal, Rehearsals, thickened
from napari_medssl.train.episodes.sources import Sources, WalkSettings
from tests.train.episodes.test_walks import drifting

WALKS = WalkSettings(supervoxel_cases=0)
PLAIN = {
    "blank": 0.0,
    "answer_start": 0.0,
    "far_start": 0.0,
    "swollen_start": 0.0,
    "larger_share": 0.0,
    "gain_share": 0.0,
    "shift_share": 0.0,
}


def made(scan: Scan, number: int = 0) -> Rehearsal:
    return Rehearsals(WALKS, None, seed=5, share=0.85).get([scan], number)


def equal(a: Rehearsal, b: Rehearsal) -> bool:
    same = all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("image", "truth", "guide"))
    return same and (a.support, a.spacing_mm) == (b.support, b.spacing_mm)


def walks(settings: GuideSettings, scan: Scan, count: int) -> list[dict[str, torch.Tensor]]:
    task = GuidedWalks(settings, Rehearsals(WALKS, None, seed=5, share=0.85), steps=3, crop_size=48)
    scans = [scan]
    return [task.draw(scans, np.random.default_rng([7, n])) for n in range(count)]


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def test_a_rehearsal_holds_the_organ_and_a_first_answer_to_it() -> None:
    scores = []
    for number in range(6):
        r = made(drifting(), number)
        assert r.image.shape == r.truth.shape == r.guide.shape
        assert r.truth[r.support].any()
        assert r.spacing_mm[0] in (3.0, 6.0, 9.0)
        assert r.spacing_mm[1:] == (1.0, 1.0)
        assert np.array_equal(r.guide[r.support] > 127, r.truth[r.support])  # what is labelled is kept
        scores.append(dice(r.guide > 127, r.truth))
    assert max(scores) > 0.6  # the walker finds a bright square, in some looks at least


def test_the_same_number_gives_the_same_rehearsal_another_number_another() -> None:
    assert equal(made(drifting(), 3), made(drifting(), 3))
    assert not equal(made(drifting(), 3), made(drifting(), 4))


def test_large_organs_are_rehearsed_apart_mostly_in_thick_slices() -> None:
    labels = np.zeros((30, 90, 90), np.uint8)
    labels[4:26, 5:20, 5:20] = 1  # 225 mm2
    labels[4:26, 25:80, 25:80] = 2  # 3025 mm2, on 66 mm
    scan = Scan((labels * 100).astype(np.uint8), labels, (3.0, 1.0, 1.0), "a.nii", "set", "a")
    found = [Rehearsals(WALKS, None, seed=2, share=0.85, large_share=1.0).get([scan], n) for n in range(12)]
    assert all(r.truth[r.support].sum() > 2000 for r in found)
    assert sum(r.spacing_mm[0] >= 6 for r in found) >= 6
    several = [Rehearsals(WALKS, None, seed=2, share=0.85).get([scan], n) for n in range(12)]
    assert min(int(r.truth[r.support].sum()) for r in several) < 300


def test_without_large_organs_any_is_rehearsed() -> None:
    small = Rehearsals(WALKS, None, seed=5, share=0.85, large_share=1.0).get([drifting()], 0)
    assert 0 < small.truth[small.support].sum() < 2000


def test_other_organs_may_be_as_bright_as_the_one_that_is_followed() -> None:
    labels = np.zeros((12, 60, 60), np.uint8)
    labels[2:10, 10:25, 10:25], labels[2:10, 35:50, 35:50] = 1, 2
    image = np.array([30, 80, 200], np.uint8)[labels]
    scan = Scan(image, labels, (4.0, 1.0, 1.0), "a.nii", "set", "a")

    def contrast(alike: float) -> float:
        found = [Rehearsals(WALKS, None, seed=2, share=0.85, alike_share=alike).get([scan], n) for n in range(12)]
        differences = []
        for r in found:
            assert r.image.shape[1:] == (60, 60)  # the margin around the organ holds all of this scan
            first, second = r.image[r.support, 10:25, 10:25], r.image[r.support, 35:50, 35:50]
            differences.append(abs(float(first.mean()) - float(second.mean())))
        return float(np.median(differences))

    assert contrast(1.0) < contrast(0.0) / 2


def test_slabs_are_means_of_the_slices_around_their_label() -> None:
    scan = drifting(spacing_z_mm=2.0)
    volume = Sources([scan], WALKS).pick(np.random.default_rng(0))
    seen = set()
    for seed in range(40):
        image, labels, spacing = thickened(volume, 4, np.random.default_rng(seed))
        step = round(spacing[0] / 2)
        seen.add(step)
        assert len(image) == len(labels) == len(range(0, 30, step)) or len(image) == len(range(1, 30, step)) or step > 2
        assert 0 <= image.min() <= image.max() <= 1
        if step == 1:
            assert np.array_equal(image > 0.5, labels == 4)
        else:  # a slab's middle slice is one of those it is the mean of
            assert image[labels == 4].min() > 0.2
    assert {1, 3} <= seen
    assert max(seen) * 2 <= 8.5 + 1


def test_the_networks_answer_is_the_guide() -> None:
    torch.manual_seed(0)
    network = build_propagator("crop-unet", features=(8, 8, 8, 8, 8, 8), crop_size=32)
    with_network = Rehearsals(WALKS, Cast(network), seed=5, share=0.85).get([drifting()], 0)
    without = made(drifting(), 0)
    assert np.array_equal(with_network.image, without.image)
    assert not np.array_equal(with_network.guide, without.guide)


def on_disk(folder: Path) -> Scan:
    scan = drifting()
    np.save(folder / "abc.image.npy", scan.image)
    image = np.load(folder / "abc.image.npy", mmap_mode="r")
    return Scan(image, scan.labels, scan.spacing_mm, scan.name, scan.group, scan.subject)


def test_scans_on_disk_have_their_rehearsals_beside_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = on_disk(tmp_path)
    first = Rehearsals(WALKS, None, seed=5, share=0.85).get([scan], 2)
    assert len(list((tmp_path / "rehearsals").glob("*/000002.npz"))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(rehearsing, "rehearse", lambda *a, **k: pytest.fail("was kept and is made again"))
        assert equal(Rehearsals(WALKS, None, seed=5, share=0.85).get([scan], 2), first)
    other = Rehearsals(WALKS, None, seed=6, share=0.85).get([scan], 2)  # another seed, another folder
    assert not equal(other, first)


def test_a_full_disk_costs_time_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> Path:
        raise FormatError("cannot write: the disk is full")

    monkeypatch.setattr(rehearsing, "make_folder", refuse)
    store, scans = Rehearsals(WALKS, None, seed=5, share=0.85), [on_disk(tmp_path)]
    with caplog.at_level(logging.WARNING):
        assert equal(store.get(scans, 0), made(drifting(), 0))
        assert equal(store.get(scans, 1), made(drifting(), 1))
    assert sum("no longer kept" in r.message for r in caplog.records) == 1


def test_labels_too_small_to_follow_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # In thick slabs a short organ may be left on a single slice; always, here.
    monkeypatch.setattr(rehearsing, "_LEAST_PX", 10_000)
    with pytest.raises(FormatError, match="too small to follow"):
        made(drifting())


def test_a_guided_walk_has_its_slices_masks_and_guides() -> None:
    for walk in walks(GuideSettings(pool=4), drifting(), 8):
        assert walk["images"].shape == walk["guides"].shape == (5, 48, 48)
        assert walk["masks"].shape == (4, 48, 48)
        assert all(v.dtype == torch.float32 for v in walk.values())
        assert 1.75 <= float(walk["gap_mm"]) <= 9
        assert float(walk["start_mm"]) % 3 == 0


def test_guides_lie_where_the_masks_are() -> None:
    agree = [
        dice((walk["guides"][t] > 0.5).numpy(), (walk["masks"][t] > 0.5).numpy())
        for walk in walks(GuideSettings(pool=3, **PLAIN), drifting(), 30)
        for t in (1, 2, 3)
        if walk["masks"][t].sum() > 100 and (walk["guides"][t] > 0.5).sum() > 100
    ]
    assert len(agree) > 20
    assert np.median(agree) > 0.7


def test_blank_guides_are_blank() -> None:
    assert all((w["guides"] == 0.5).all() for w in walks(GuideSettings(pool=2, blank=1.0), drifting(), 5))


def start_error(settings: GuideSettings) -> float:
    """How far the carried mask of walks is from the first target's, on average over walks that have one."""
    drawn = [w for w in walks(settings, drifting(), 40) if w["masks"][1].sum() > 100]
    return float(np.mean([1 - dice((w["masks"][0] > 0.5).numpy(), (w["masks"][1] > 0.5).numpy()) for w in drawn]))


def test_some_walks_start_with_a_mask_that_is_grossly_wrong() -> None:
    good = start_error(GuideSettings(pool=4, **PLAIN))
    assert start_error(GuideSettings(pool=4, **PLAIN | {"far_start": 1.0})) > good + 0.02
    assert start_error(GuideSettings(pool=4, **PLAIN | {"swollen_start": 1.0})) > good + 0.1


def test_swollen_masks_are_much_larger_or_smaller() -> None:
    mask = torch.zeros(64, 64)
    mask[20:44, 20:44] = 1
    sizes = [float(swollen(mask, np.random.default_rng(n)).sum() / mask.sum()) for n in range(30)]
    assert min(sizes) < 0.5
    assert max(sizes) > 1.9
    assert all(not 0.6 < s < 1.5 for s in sizes)


def brightness_spread(settings: GuideSettings) -> float:
    """How much the brightness inside the organ differs between the slices of a walk."""
    spreads = []
    for walk in walks(settings, drifting(), 30):
        inside = [
            i[m > 0.5].median() for i, m in zip(walk["images"][1:4], walk["masks"][1:], strict=True) if m.sum() > 50
        ]
        if len(inside) == 3:
            spreads.append(float(torch.stack(inside).std() / torch.stack(inside).mean()))
    return float(np.mean(spreads))


def test_slices_of_some_walks_fade() -> None:
    assert brightness_spread(GuideSettings(pool=4, **PLAIN | {"gain_share": 1.0})) > 1.5 * brightness_spread(
        GuideSettings(pool=4, **PLAIN)
    )


def test_slices_are_shifted_with_their_masks_and_guides() -> None:
    agree = [
        dice((walk["guides"][t] > 0.5).numpy(), (walk["masks"][t] > 0.5).numpy())
        for walk in walks(GuideSettings(pool=3, **PLAIN | {"shift_share": 1.0}), drifting(), 30)
        for t in (1, 2, 3)
        if walk["masks"][t].sum() > 100 and (walk["guides"][t] > 0.5).sum() > 100
    ]
    assert np.median(agree) > 0.7
