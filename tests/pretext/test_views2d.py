"""Two views of a slice: reproducible, in range, of slices with content."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import GeometryError, SettingsError
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.slice_choice import choose_slice
from napari_medssl.pretext.views2d import SliceViews, ViewSettings

SIZE = 32


def scan(image: np.ndarray) -> Scan:
    return Scan(image, None, (1.0, 1.0, 1.0), "scan.nii", "group", "subject")


def noisy_scan() -> Scan:
    return scan(np.random.default_rng(1).integers(0, 256, (6, SIZE, SIZE), dtype=np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_seed_gives_the_same_views(channels: int) -> None:
    task = SliceViews(ViewSettings(size=SIZE), channels)
    examples = [task.draw([noisy_scan()], np.random.default_rng([7, n])) for n in (0, 1, 0)]
    assert examples[0]["slices"].dtype == torch.uint8
    batch = task.prepare({name: torch.stack([e[name] for e in examples]) for name in examples[0]})
    assert set(batch) == {"view1", "view2"}
    for views in batch.values():
        assert views.shape == (3, channels, SIZE, SIZE)
        assert views.dtype == torch.float32
        torch.testing.assert_close(views[0], views[2])
        assert not torch.allclose(views[0], views[1], atol=0.05)
    assert not torch.allclose(batch["view1"], batch["view2"], atol=0.05)


def test_nearly_empty_slices_are_passed_over() -> None:
    image = np.zeros((20, SIZE, SIZE), np.uint8)
    image[5:13] = 100
    chosen = [choose_slice(scan(image), np.random.default_rng(n)) for n in range(50)]
    assert np.mean([5 <= z < 13 for z in chosen]) > 0.95
    assert set(range(5, 13)) <= set(chosen)
    assert 0 <= choose_slice(scan(np.zeros_like(image)), np.random.default_rng(0)) < 20


def test_slices_of_another_size_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"scan\.nii have 32 x 32 pixels; .*64 x 64"):
        SliceViews(ViewSettings(size=64)).draw([noisy_scan()], np.random.default_rng(0))
    with pytest.raises(SettingsError, match="size is 1"):
        SliceViews(ViewSettings(size=1))
