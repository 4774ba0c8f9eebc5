"""Slices that were made square with bars, and what tasks see of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.pretext.bars import content_box, without_bars
from napari_medssl.pretext.geometric import QuarterTurns, RotationSettings
from napari_medssl.pretext.jumpat import JumbledPatches, JumpatSettings
from napari_medssl.pretext.scan import Scan, slice_stack


def framed(rows: slice, columns: slice, size: int = 48) -> Scan:
    image = np.zeros((5, size, size), np.uint8)
    image[:, rows, columns] = np.random.default_rng(0).integers(60, 255, image[:, rows, columns].shape)
    return Scan(image, None, (3.0, 1.0, 1.0), "scan.nii", "group", "subject")


def test_bars_are_found_and_an_empty_scan_has_none() -> None:
    assert content_box(framed(slice(0, 48), slice(6, 42))) == (slice(0, 48), slice(6, 42))
    assert content_box(framed(slice(0, 0), slice(0, 0))) == (slice(0, 48), slice(0, 48))


@pytest.mark.parametrize(("how", "rows"), [("stretch", slice(0, 48)), ("square", slice(12, 36))])
def test_the_part_between_the_bars_fills_the_square(how: str, rows: slice) -> None:
    scan = framed(slice(0, 48), slice(12, 36))
    shown = without_bars(slice_stack(scan, 2, 3), scan, how)  # type: ignore[arg-type]
    assert shown.shape == (3, 48, 48)
    assert shown.dtype == torch.uint8
    assert (shown > 0).all()
    means = shown.float().mean((1, 2)).numpy(), scan.image[1:4, rows, 12:36].mean((1, 2))
    np.testing.assert_allclose(*means, rtol=0.03)


def test_slices_without_bars_stay_as_they_are() -> None:
    scan = framed(slice(0, 48), slice(0, 48))
    slices = slice_stack(scan, 0)
    assert without_bars(slices, scan, "stretch") is slices
    assert without_bars(slices, scan, "square").equal(slices)


def test_no_bars_tell_the_label() -> None:
    scan = framed(slice(0, 48), slice(8, 40))
    puzzle = JumbledPatches(JumpatSettings(size=48, patch=8, classes=20, noise_variance=0.0))
    turns = QuarterTurns(RotationSettings(size=48, keep=1.0))
    for task, name in ((puzzle, "patches"), (turns, "image")):
        example = task.draw([scan], np.random.default_rng(1))
        prepared = task.prepare({k: v[None] for k, v in example.items()})
        assert (prepared[name] > 0.2).all()
