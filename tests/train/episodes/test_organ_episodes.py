"""In-context episodes hold the same organ twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_medssl.errors import FormatError
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.episodes import organ_episodes
from napari_medssl.train.episodes.organ_episodes import OrganEpisodes, OrganEpisodeSettings
from napari_medssl.train.episodes.organs import organ_areas, organ_extents
from napari_medssl.train.loader import collate

S = 64
CUT = SuperpixelSettings(scale=100.0, sigma=0.8, min_size=640)
LABELLED = OrganEpisodeSettings(subject_share=1.0, neighbour_share=0.0, absent_share=0.0)
WITHIN = OrganEpisodeSettings(subject_share=0.0, neighbour_share=1.0, absent_share=0.0)
PSEUDO = OrganEpisodeSettings(subject_share=0.0, neighbour_share=0.0, superpixels=CUT)


def scan(shift: int = 0, *, labelled: bool = True, group: str = "set") -> Scan:
    """Body of grey 90 with a bright cube (label 1) and a dark one (label 2); brightness tells the label."""
    image = np.zeros((12, S, S), np.uint8)
    labels = np.zeros((12, S, S), np.uint8)
    image[:, 6:58, 4:60] = 90
    labels[2:10, 20 + shift : 36 + shift, 12:28] = 1
    labels[3:9, 24:40, 38:50] = 2
    image[labels == 1], image[labels == 2] = 230, 150
    return Scan(image, labels if labelled else None, (5.0, 4.0, 4.0), f"{shift}.nii", group, str(shift))


def draws(settings: OrganEpisodeSettings, scans: list[Scan], count: int) -> list[dict[str, Tensor]]:
    task = OrganEpisodes(settings, context=3)
    return [task.draw(scans, np.random.default_rng([0, n])) for n in range(count)]


def sides(episode: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    count = int(episode["count"])
    return [(episode[s], episode[f"{s}_masks"][:count]) for s in ("support", "query")]


@pytest.fixture
def same_tone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Appearance is left as it is, so that the picture says where the organ went."""
    monkeypatch.setattr(organ_episodes, "apply_appearance", lambda image, labels, look, generator: image)


@pytest.mark.usefixtures("same_tone")
@pytest.mark.parametrize("settings", [LABELLED, WITHIN])
def test_masks_lie_on_the_organ_in_both_slices(settings: OrganEpisodeSettings) -> None:
    compared = 0
    for episode in draws(settings, [scan(0), scan(6)], 15):
        for image, masks in sides(episode):
            assert image.shape == (3, S, S)
            assert set(masks.unique().tolist()) <= {0, 1}
            for mask in masks:
                inside = image[1][mask > 0]
                if len(inside) < 60:  # an organ may be absent from the query
                    continue
                # The bright cube is 230 / 255, the dark one 150 / 255; edges are interpolated.
                values = torch.tensor([230 / 255, 150 / 255])
                assert (inside.median() - values).abs().min() < 0.02
                compared += 1
    assert compared > 20


@pytest.mark.usefixtures("same_tone")
def test_the_two_masks_of_an_organ_are_the_same_organ() -> None:
    seen = set()
    for episode in draws(LABELLED, [scan(0), scan(6)], 15):
        (support, support_masks), (query, query_masks) = sides(episode)
        for a, b in zip(support_masks, query_masks, strict=True):
            if a.sum() > 60 and b.sum() > 60:
                bright = [bool(m > 190 / 255) for m in (support[1][a > 0].median(), query[1][b > 0].median())]
                assert bright[0] == bright[1]
                seen.add(bright[0])
    assert seen == {True, False}


def test_the_support_always_shows_every_organ_asked_for() -> None:
    settings = OrganEpisodeSettings(organs=2, superpixels=CUT)
    episodes = draws(settings, [scan(0), scan(6), scan(3, labelled=False)], 25)
    for episode in episodes:
        masks, count = episode["support_masks"], int(episode["count"])
        assert masks.shape == (2, S, S)
        assert 1 <= count <= 2
        assert (masks[:count].sum((1, 2)) >= 40).all()
        assert not masks[count:].any()
    assert collate(episodes)["count"].tolist() == [int(e["count"]) for e in episodes]


def test_scans_without_labels_are_learned_from_by_superpixels() -> None:
    bare = scan(labelled=False)
    task = OrganEpisodes(OrganEpisodeSettings(superpixels=CUT), context=3)
    assert task.draw([bare], np.random.default_rng(0))["support_masks"].any()
    segments = task._masks.of(bare, 5)
    assert (segments[:4] == 0).all()  # air is no organ
    assert len({int(segments[28, 20]), int(segments[30, 44]), int(segments[50, 30])}) == 3


@pytest.mark.usefixtures("same_tone")
def test_a_superpixel_moves_with_the_picture() -> None:
    compared = 0
    for episode in draws(PSEUDO, [scan()], 8):
        for image, masks in sides(episode):
            for mask in masks:
                inside = image[1][mask > 0]
                if len(inside) > 60:
                    near = (inside - inside.median()).abs() < 0.15
                    assert near.float().mean() > 0.7
                    compared += 1
    assert compared > 10


def test_empty_scans_are_told_instead_of_searched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(organ_episodes, "_TRIES", 20)
    black = dataclasses.replace(scan(), image=np.zeros((3, S, S), np.uint8), labels=None)
    with pytest.raises(FormatError, match="no slice of these scans has an organ or superpixel"):
        draws(OrganEpisodeSettings(), [black], 1)
    unlabelled = dataclasses.replace(black, labels=np.zeros((3, S, S), np.uint8))
    with pytest.raises(FormatError, match="no slice of these scans has an organ or superpixel"):
        draws(LABELLED, [unlabelled], 1)


def test_the_same_seed_gives_the_same_episode_whatever_was_drawn_before() -> None:
    scans, settings = [scan(0), scan(6)], OrganEpisodeSettings(superpixels=CUT)
    one, two = OrganEpisodes(settings, context=3), OrganEpisodes(settings, context=3)
    for n in range(4):
        two.draw(scans, np.random.default_rng(50 + n))
        a, b = one.draw(scans, np.random.default_rng(n)), two.draw(scans, np.random.default_rng(n))
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_preparing_makes_masks_numbers() -> None:
    task = OrganEpisodes(LABELLED, context=3)
    batch = collate(draws(LABELLED, [scan(0), scan(6)], 3))
    assert batch["query_masks"].dtype == torch.uint8
    prepared = task.prepare(batch)
    assert torch.equal(prepared["query_masks"], batch["query_masks"].float())


def picked(settings: OrganEpisodeSettings, scans: list[Scan], count: int) -> list[organ_episodes.Pair]:
    task = OrganEpisodes(settings, context=3)
    labelled = [s for s in scans if s.labels is not None]
    rng = np.random.default_rng(0)
    found = [task._pick_labelled(labelled, rng, across=settings.subject_share > 0) for _ in range(count)]
    return [p for p in found if p is not None]


def test_sets_do_not_mix_in_one_episode() -> None:
    a, b, c = scan(0, group="a"), scan(3, group="b"), scan(6, group="a")
    pairs = {(p[0].subject, p[2].subject) for p in picked(LABELLED, [a, b, c], 60)}
    assert {p for p in pairs if "3" in p} == {("3", "3")}
    assert {("0", "6"), ("6", "0")} < pairs


def test_slices_are_paired_by_their_share_of_the_organ() -> None:
    long = scan()
    assert long.labels is not None
    tall = dataclasses.replace(long, image=long.image.repeat(3, 0), labels=long.labels.repeat(3, 0))
    across = np.array([(za, zb) for a, za, b, zb in picked(LABELLED, [long, tall], 300) if a is long and b is tall])
    assert len(across) > 40
    assert np.corrcoef(across.T)[0, 1] > 0.7
    assert np.polyfit(across[:, 0], across[:, 1], 1)[0] == pytest.approx(3, rel=0.3)


def test_neighbours_are_some_millimetres_apart() -> None:
    apart = [abs(zb - za) * 5.0 for a, za, b, zb in picked(WITHIN, [scan()], 60) if 0 < zb < 11]
    assert min(apart) >= 5
    assert max(apart) <= 30


def test_extents_list_slices_with_enough_of_an_organ() -> None:
    labels = np.zeros((6, 10, 10), np.uint8)
    labels[1:5, :4, :5] = 1  # 20 pixels on four slices
    labels[1:5, 6, :9] = 2  # 9 pixels: too few
    labels[2, 7:, :] = 3  # 30 pixels on one slice only
    areas = organ_areas(labels)
    assert areas.shape == (6, 256)
    assert areas[2, [1, 2, 3]].tolist() == [20, 9, 30]
    assert {k: v.tolist() for k, v in organ_extents(areas).items()} == {1: [1, 2, 3, 4]}
