"""A view and a puzzle of another view: repeatable, with a recoverable order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.patches import cut_patches, unjumble
from napari_medssl.pretext.puzzle_views import PuzzleViews
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.views2d import SliceViews, ViewSettings


def _scans() -> list[Scan]:
    images = np.random.default_rng(1).integers(0, 256, (2, 5, 48, 48), dtype=np.uint8)
    return [Scan(image, None, (3.0, 1.0, 1.0), f"{i}.nii", "group", str(i)) for i, image in enumerate(images)]


def _task(patch: int = 8, channels: int = 3) -> PuzzleViews:
    return PuzzleViews(SliceViews(ViewSettings(size=48), channels=channels), patch=patch)


def _batch(task: PuzzleViews, count: int = 4) -> dict[str, torch.Tensor]:
    drawn = [task.draw(_scans(), np.random.default_rng([7, n])) for n in range(count)]
    return {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}


def test_shapes_and_ranges() -> None:
    task = _task()
    prepared = task.prepare(_batch(task))
    assert prepared["image"].shape == (4, 3, 48, 48)
    assert prepared["patches"].shape == (4, 9, 3, 8, 8)
    for name in ("image", "patches"):
        assert prepared[name].dtype == torch.float32
        assert float(prepared[name].min()) >= 0
        assert float(prepared[name].max()) <= 1


def test_same_seed_same_example() -> None:
    task = _task()
    first, second = task.prepare(_batch(task)), task.prepare(_batch(task))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["order"][0], first["order"][1])


def test_patches_lie_where_the_parameters_say() -> None:
    task = _task()
    batch = _batch(task)
    prepared = task.prepare(batch)
    view = task.views.prepare({k: v for k, v in batch.items() if k not in ("order", "corner")})["view2"]
    for b in range(4):
        assert sorted(prepared["order"][b].tolist()) == list(range(9))
        for slot, part in enumerate(prepared["order"][b].tolist()):
            y, x = (16 * at + int(c) for at, c in zip(divmod(part, 3), batch["corner"][b, part], strict=True))
            assert torch.equal(prepared["patches"][b, slot], view[b, :, y : y + 8, x : x + 8])


def test_the_order_undoes_the_puzzle() -> None:
    task = _task(patch=16)  # no room: the whole part
    batch = _batch(task)
    prepared = task.prepare(batch)
    view = task.views.prepare({k: v for k, v in batch.items() if k not in ("order", "corner")})["view2"]
    assert torch.equal(unjumble(prepared["patches"], prepared["order"]), cut_patches(view))


def test_a_patch_must_fit_its_part() -> None:
    with pytest.raises(SettingsError, match="patch is 17; it must be at most 16"):
        _task(patch=17)
