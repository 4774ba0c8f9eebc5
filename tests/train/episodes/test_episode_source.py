"""Self-supervised episodes: what is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.train.episodes.episode_source import EpisodeSettings, EpisodeSource, EpisodeVolume


@pytest.fixture
def volume() -> EpisodeVolume:
    """Five slices of 64 pixels: three blocks of body (16 x 48, 32 x 24 twice) and a small one (4 x 4)."""
    parts = np.zeros((5, 64, 64), np.uint16)
    parts[:, 8:24, 8:56] = 1
    parts[:, 24:56, 8:32] = 2
    parts[:, 24:56, 32:56] = 3
    parts[:, 30:34, 30:34] = 4
    rng = np.random.default_rng(0)
    image = (parts * 50 + rng.integers(0, 20, parts.shape) * (parts > 0)).astype(np.uint8)
    return EpisodeVolume(image, parts, np.arange(5))


# A 64-pixel slice is a sixteenth of the area the settings are stated for.
SETTINGS = EpisodeSettings(prototypes=PrototypeSettings(window=2))


def test_an_episode_is_a_superpixel_and_its_changed_copy(volume: EpisodeVolume) -> None:
    rng = np.random.default_rng(0)
    source = EpisodeSource([volume], SETTINGS, context=3)
    seen = set()
    for _ in range(30):
        e = source.draw(rng)
        assert e.support.shape == e.query.shape == (3, 64, 64)
        where = e.support_mask.numpy() > 0
        labels = {int(v) for v in np.unique(volume.superpixels[0][where])}
        assert len(labels) == 1
        assert np.array_equal(where, volume.superpixels[0] == labels.copy().pop())
        seen |= labels
        assert set(e.query_mask.unique().tolist()) == {0.0, 1.0}
        assert 0.5 < float(e.query_mask.sum() / e.support_mask.sum()) < 2
        assert not torch.equal(e.query, e.support)
    assert seen == {1, 2, 3}  # never air, never the one below the least area


def test_neighbours_are_the_context_and_ends_repeat(volume: EpisodeVolume) -> None:
    for z in range(5):
        one = EpisodeVolume(volume.image, volume.superpixels, np.array([z]))
        e = EpisodeSource([one], SETTINGS, context=3).draw(np.random.default_rng(0))
        rows = [max(z - 1, 0), z, min(z + 1, 4)]
        assert torch.equal(e.support, torch.from_numpy(volume.image[rows].astype(np.float32) / 255))


def test_only_usable_slices_are_drawn(volume: EpisodeVolume) -> None:
    marked = volume.image.copy()
    marked[2] = 255
    one = EpisodeVolume(marked, volume.superpixels, np.array([0, 1, 3, 4]))
    source, rng = EpisodeSource([one], SETTINGS), np.random.default_rng(0)
    assert all(source.draw(rng).support.min() < 1 for _ in range(40))
    with pytest.raises(FormatError, match="no slice is left"):
        EpisodeSource([EpisodeVolume(volume.image, volume.superpixels, np.array([], int))], SETTINGS)


def test_every_slice_of_every_volume_is_equally_likely(volume: EpisodeVolume) -> None:
    second = EpisodeVolume(np.full_like(volume.image, 9)[:1], volume.superpixels[:1], np.array([0]))
    source, rng = EpisodeSource([volume, second], SETTINGS), np.random.default_rng(0)
    share = np.mean([float(source.draw(rng).support.max() * 255) < 10 for _ in range(300)])
    assert share == pytest.approx(1 / 6, abs=0.06)


def test_the_same_seed_draws_the_same_episode(volume: EpisodeVolume) -> None:
    source = EpisodeSource([volume], SETTINGS)
    a, b = (source.draw(np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(a.query, b.query)
    assert torch.equal(a.query_mask, b.query_mask)


def test_slices_without_usable_superpixels_are_refused(volume: EpisodeVolume) -> None:
    source = EpisodeSource([volume], replace(SETTINGS, min_area_px=60000))
    with pytest.raises(FormatError, match="usable size"):
        source.draw(np.random.default_rng(0))


def test_a_mask_moved_out_of_the_slice_is_refused(volume: EpisodeVolume) -> None:
    settings = replace(SETTINGS, scale_low=10.0, scale_high=10.0)
    corner = np.zeros_like(volume.superpixels)
    corner[:, :12, :12] = 1
    corner[:, 60:, 60:] = 2
    source = EpisodeSource([EpisodeVolume(volume.image, corner, np.arange(5))], replace(settings, max_body_share=1.0))
    with pytest.raises(FormatError, match="lost their mask"):
        source.draw(np.random.default_rng(0))
