"""CoWPro's task on prepared scans; what an episode is lies in the tests of `episode_source`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.samples.phantom import phantom
from napari_medssl.train.episodes.episode_source import EpisodeSettings
from napari_medssl.train.episodes.superpixel_episodes import SuperpixelEpisodes, parse_labels
from napari_medssl.train.loader import collate

CUT = SuperpixelSettings(min_size=800)


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    made = []
    for seed in (0, 1):
        image, labels = phantom("MR", shape=(6, 64, 64), seed=seed)
        voxels = (255 * image.data / image.data.max()).astype(np.uint8)
        made.append(Scan(voxels, labels.data.astype(np.uint8), (4.0, 2.0, 2.0), f"p{seed}.nii", "set", f"p{seed}"))
    return made


def task(exclude: str = "", context: int = 1) -> SuperpixelEpisodes:
    return SuperpixelEpisodes(EpisodeSettings(), CUT, context=context, stride=4, exclude=parse_labels(exclude))


def test_an_example_is_a_slice_its_superpixel_and_their_change(scans: list[Scan]) -> None:
    episodes = task(context=3)
    batch = episodes.prepare(collate([episodes.draw(scans, np.random.default_rng(n)) for n in range(6)]))
    assert batch["support"].shape == batch["query"].shape == (6, 3, 64, 64)
    assert batch["support_mask"].shape == batch["query_mask"].shape == (6, 64, 64)
    assert all(v.dtype == torch.float32 and v.min() >= 0 and v.max() <= 1 for v in batch.values())
    for slices, mask in zip(batch["support"], batch["support_mask"], strict=True):
        middle = (slices[1] * 255).round().to(torch.uint8).numpy()
        scan, z = next((s, z) for s in scans for z in range(6) if np.array_equal(s.image[z], middle))
        inside = np.unique(episodes._masks.of(scan, z)[mask.numpy() > 0])
        assert len(inside) == 1
        assert inside[0] > 0
        assert np.array_equal(episodes._masks.of(scan, z) == inside[0], mask.numpy() > 0)


def test_the_same_seed_draws_the_same_example_whatever_was_drawn_before(scans: list[Scan]) -> None:
    one, two = task(), task()
    two.draw(scans, np.random.default_rng(99))
    a, b, c = (t.draw(scans, np.random.default_rng(n)) for t, n in ((one, 5), (two, 5), (one, 6)))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["query"], c["query"])


def test_slices_with_excluded_labels_are_never_drawn(scans: list[Scan]) -> None:
    value = int(np.unique(scans[0].labels)[1])
    allowed = [s.image[z] for s in scans for z in range(6) if not (s.labels[z] == value).any()]
    assert 0 < len(allowed) < 12
    episodes = task(exclude=str(value))
    for n in range(20):
        drawn = (episodes.draw(scans, np.random.default_rng(n))["support"][0] * 255).round().numpy()
        assert any(np.array_equal(drawn, plane) for plane in allowed)


def test_excluding_labels_needs_label_maps(scans: list[Scan]) -> None:
    bare = [scans[0], replace(scans[1], labels=None)]
    with pytest.raises(SettingsError, match=r"p1\.nii has none"):
        task(exclude="1").draw(bare, np.random.default_rng(0))


def test_label_values_from_text() -> None:
    assert parse_labels("1, 4  7") == {1, 4, 7}
    assert parse_labels("") == frozenset()
    for text in ("0", "liver", "-1"):
        with pytest.raises(SettingsError, match="label values"):
            parse_labels(text)
