"""In-context training: episodes hold the same organ twice, and the encoder learns from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.progress import finish
from napari_medssl.settings import check
from napari_medssl.train import incontext
from napari_medssl.train.dataset import Case, FramedVolume
from napari_medssl.train.incontext import (
    EpisodeSource,
    InContextSettings,
    batch_loss,
    episode_logits,
    episode_loss,
    organ_extents,
    train_incontext,
)

S = 64
LABELLED = InContextSettings(subject_share=1.0, neighbour_share=0.0, absent_share=0.0)
WITHIN = InContextSettings(subject_share=0.0, neighbour_share=1.0, absent_share=0.0)
PSEUDO = InContextSettings(subject_share=0.0, neighbour_share=0.0, superpixel_min_size=40)


def scan(shift: int = 0, *, labelled: bool = True, group: str = "set") -> FramedVolume:
    """Body of grey 90 with a bright cube (label 1) and a dark one (label 2); brightness tells the label."""
    image = np.zeros((12, S, S), np.uint8)
    labels = np.zeros((12, S, S), np.uint8)
    image[:, 6:58, 4:60] = 90
    labels[2:10, 20 + shift : 36 + shift, 12:28] = 1
    labels[3:9, 24:40, 38:50] = 2
    image[labels == 1], image[labels == 2] = 230, 150
    return FramedVolume(Case(Path(f"{shift}.nii"), None, group), image, labels if labelled else None, 5.0, 4.0)


@pytest.fixture
def same_tone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Appearance is left as it is, so that the picture says where the organ went."""
    monkeypatch.setattr(incontext, "apply_tone", lambda image, labels, tone, generator: image)


@pytest.mark.usefixtures("same_tone")
@pytest.mark.parametrize("settings", [LABELLED, WITHIN])
def test_masks_lie_on_the_organ_in_both_slices(settings: InContextSettings) -> None:
    source = EpisodeSource([scan(0), scan(6)], settings)
    for _ in range(15):
        episode = source.draw()
        assert episode.support.shape == episode.query.shape == (3, S, S)
        assert episode.support_masks.shape == episode.query_masks.shape
        for image, masks in ((episode.support, episode.support_masks), (episode.query, episode.query_masks)):
            assert set(masks.unique().tolist()) <= {0.0, 1.0}
            for mask in masks:
                inside = image[1][mask > 0]
                if len(inside) < 60:  # an organ may be absent from the query
                    continue
                # The bright cube is 230 / 255, the dark one 150 / 255; edges are interpolated.
                values = torch.tensor([230 / 255, 150 / 255])
                assert (inside.median() - values).abs().min() < 0.02


@pytest.mark.usefixtures("same_tone")
def test_the_two_masks_of_an_organ_are_the_same_organ() -> None:
    source = EpisodeSource([scan(0), scan(6)], LABELLED)
    seen = set()
    for _ in range(15):
        episode = source.draw()
        for a, b in zip(episode.support_masks, episode.query_masks, strict=True):
            if a.sum() > 60 and b.sum() > 60:
                bright = [
                    bool(m > 190 / 255) for m in (episode.support[1][a > 0].median(), episode.query[1][b > 0].median())
                ]
                assert bright[0] == bright[1]
                seen.add(bright[0])
    assert seen == {True, False}


def test_the_support_always_shows_every_organ_asked_for() -> None:
    source = EpisodeSource([scan(0), scan(6), scan(3, labelled=False)], InContextSettings(organs=2))
    for _ in range(25):
        masks = source.draw().support_masks
        assert 1 <= len(masks) <= 2
        assert (masks.sum((1, 2)) >= 40).all()


def test_scans_without_labels_are_learned_from_by_superpixels() -> None:
    source = EpisodeSource([scan(labelled=False)], InContextSettings(superpixel_min_size=40))
    episode = source.draw()
    assert episode.support_masks.any()
    segments = source._segments(0, 5)
    assert segments.dtype == np.uint8
    assert (segments[:4] == 0).all()  # air is no organ
    assert len({int(segments[28, 20]), int(segments[30, 44]), int(segments[50, 30])}) == 3


@pytest.mark.usefixtures("same_tone")
def test_a_superpixel_moves_with_the_picture() -> None:
    source = EpisodeSource([scan()], PSEUDO)
    for _ in range(8):
        episode = source.draw()
        for image, masks in ((episode.support, episode.support_masks), (episode.query, episode.query_masks)):
            for mask in masks:
                inside = image[1][mask > 0]
                if len(inside) > 60:
                    near = (inside - inside.median()).abs() < 0.15
                    assert near.float().mean() > 0.7


def test_empty_scans_are_told_instead_of_searched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incontext, "_TRIES", 20)
    black = dataclasses.replace(scan(), image=np.zeros((3, S, S), np.uint8), labels=None)
    with pytest.raises(FormatError, match="no slice of these scans has an organ or superpixel"):
        EpisodeSource([black], InContextSettings()).draw()


def test_the_same_seed_gives_the_same_episodes() -> None:
    def draws(seed: int) -> list[torch.Tensor]:
        source = EpisodeSource([scan(0), scan(6)], InContextSettings(seed=seed))
        return [source.draw().query for _ in range(3)]

    assert all(torch.equal(a, b) for a, b in zip(draws(1), draws(1), strict=True))
    assert not torch.equal(draws(1)[0], draws(2)[0])


def test_sets_do_not_mix_in_one_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    source = EpisodeSource([scan(0, group="a"), scan(3, group="b"), scan(6, group="a")], LABELLED)
    pairs = set()
    monkeypatch.setattr(source, "_build", lambda a, za, b, zb, segments: pairs.add((a, b)))
    for _ in range(60):
        source._labelled(across=True)
    assert {p for p in pairs if 1 in p} == {(1, 1)}
    assert {(0, 2), (2, 0)} < pairs


def test_slices_are_paired_by_their_share_of_the_organ(monkeypatch: pytest.MonkeyPatch) -> None:
    long = scan()
    assert long.labels is not None
    tall = dataclasses.replace(long, image=long.image.repeat(3, 0), labels=long.labels.repeat(3, 0))
    source = EpisodeSource([long, tall], LABELLED)
    pairs = []
    monkeypatch.setattr(source, "_build", lambda a, za, b, zb, segments: pairs.append((a, za, b, zb)))
    for _ in range(300):
        source._labelled(across=True)
    across = np.array([(za, zb) for a, za, b, zb in pairs if (a, b) == (0, 1)])
    assert len(across) > 40
    assert np.corrcoef(across.T)[0, 1] > 0.7
    assert np.polyfit(across[:, 0], across[:, 1], 1)[0] == pytest.approx(3, rel=0.3)


def test_extents_list_slices_with_enough_of_an_organ() -> None:
    labels = np.zeros((6, 10, 10), np.uint8)
    labels[1:5, :4, :5] = 1  # 20 pixels on four slices
    labels[1:5, 6, :9] = 2  # 9 pixels: too few
    labels[2, 7:, :] = 3  # 30 pixels on one slice only
    assert {k: v.tolist() for k, v in organ_extents(labels).items()} == {1: [1, 2, 3, 4]}


def test_the_loss_of_a_perfect_answer_is_small_and_of_the_opposite_large() -> None:
    masks = torch.zeros(1, 32, 32)
    masks[:, 8:24, 8:24] = 1
    answer = torch.nn.functional.avg_pool2d(masks, 4) * 40 - 20
    right, wrong, undecided = (float(episode_loss(x, masks)) for x in (answer, -answer, 0 * answer))
    assert right < 0.25 < undecided < wrong
    # Undecided: cross-entropy log 2 weighted by 1 + 4 on the organ's quarter, soft Dice of 0.5 everywhere (16 x 16).
    dice = 1 - (2 * 0.5 * 64 + 20) / (0.5 * 256 + 64 + 20)
    assert undecided == pytest.approx(np.log(2) * (1 + 4 * 0.25) + dice, abs=1e-4)


def test_logits_find_the_marked_feature() -> None:
    features = torch.randn(8, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.05
    features[0] += 1
    features[1, 4:8, 4:8] += 3
    query = features.roll(5, 2)
    mask = torch.zeros(1, 64, 64)
    mask[0, 16:32, 16:32] = 1
    found = episode_logits(features, mask, query)[0] > 0
    assert found[4:8, 9:13].all()
    assert found.sum() == 16


def test_a_few_steps_on_one_batch_lower_the_loss() -> None:
    torch.manual_seed(0)
    source = EpisodeSource([scan(0), scan(6)], LABELLED)
    episodes = [source.draw() for _ in range(2)]
    encoder = build_encoder("slice-resnet", width=8, channels=16).train()
    optimiser = torch.optim.Adam(encoder.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = batch_loss(encoder, episodes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_training_writes_weights_that_build_the_encoder_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = build_encoder("slice-resnet", width=8, channels=16, input_size=S)
    monkeypatch.setattr(incontext, "build_encoder", lambda name: small)
    monkeypatch.setattr(incontext, "load_framed_steps", lambda cases, size: iter_return([scan(0), scan(6)]))
    settings = InContextSettings(iterations=2, pairs=1)
    path = finish(train_incontext([Case(Path("a.nii"), None, "set")], tmp_path, settings))
    assert path == tmp_path / "encoder.safetensors"
    bundle = load_bundle(path)
    again = build_encoder(bundle.modules["encoder"]["name"], **bundle.modules["encoder"]["config"])
    load_module(again, bundle.state("encoder"), "encoder")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), small.parameters(), strict=True))
    assert bundle.card["data"] == {"set": ["a.nii"]}
    assert bundle.card["settings"]["pairs"] == 1
    assert bundle.card["run"]["iterations"] == 2
    json.loads(json.dumps(bundle.card, allow_nan=False))
    assert (tmp_path / "state.pt").is_file()


def iter_return(value):  # type: ignore[no-untyped-def]
    yield from ()
    return value


def test_the_recipe_is_within_its_own_limits() -> None:
    check(InContextSettings())
