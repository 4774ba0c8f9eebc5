"""Superpixels are cut once: kept in memory, and on disk where the prepared scan lies on disk."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.oneshot.superpixels import SuperpixelSettings, superpixels
from napari_medssl.pretext.scan import Scan
from napari_medssl.samples.phantom import phantom
from napari_medssl.train.episodes import pseudo_masks
from napari_medssl.train.episodes.pseudo_mask_cache import PseudoMaskCache
from napari_medssl.train.episodes.pseudo_masks import PseudoMasks

SETTINGS = SuperpixelSettings(min_size=800)


@pytest.fixture
def scan() -> Scan:
    image, _ = phantom("MR", shape=(6, 64, 64), seed=0)
    voxels = (255 * image.data / image.data.max()).astype(np.uint8)
    return Scan(voxels, None, (4.0, 2.0, 2.0), "p.nii", "set", "p")


@pytest.fixture
def on_disk(scan: Scan, tmp_path: Path) -> Scan:
    np.save(tmp_path / "scan.npy", scan.image)
    return replace(scan, image=np.load(tmp_path / "scan.npy", mmap_mode="r"))


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_masks, "superpixels", lambda *_: pytest.fail("computed again"))


def test_maps_are_those_of_the_slice_and_made_once(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = PseudoMasks(SETTINGS)
    found = masks.of(scan, 3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, superpixels(scan.image[3], SETTINGS))
    assert np.array_equal(masks.planes(scan)[2], superpixels(scan.image[2], SETTINGS))
    forbid(monkeypatch)
    assert masks.of(scan, 3) is found


def test_memory_is_bounded(scan: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_masks, "_KEPT", 2)
    masks = PseudoMasks(SETTINGS)
    first = [masks.of(scan, z).copy() for z in range(4)]
    assert len(masks._kept) == 2
    assert np.array_equal(masks.of(scan, 0), first[0])


def test_another_run_finds_them_on_disk(on_disk: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = PseudoMasks(SETTINGS).of(on_disk, 3)
    assert len(list((tmp_path / "superpixels").iterdir())) == 1
    forbid(monkeypatch)
    assert np.array_equal(PseudoMasks(SETTINGS).of(on_disk, 3), made)


def test_other_settings_are_cut_anew(on_disk: Scan, tmp_path: Path) -> None:
    PseudoMasks(SETTINGS).of(on_disk, 3)
    PseudoMasks(replace(SETTINGS, min_size=2000)).of(on_disk, 3)
    assert len(list((tmp_path / "superpixels").iterdir())) == 2


def test_a_disk_that_refuses_does_not_end_the_run(
    on_disk: Scan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise FormatError("the disk is full")

    monkeypatch.setattr(PseudoMaskCache, "store", full)
    masks = PseudoMasks(SETTINGS)
    with caplog.at_level(logging.WARNING):
        maps = [masks.of(on_disk, z) for z in range(3)]
    assert all(m.any() for m in maps)
    assert [r.getMessage() for r in caplog.records] == ["superpixels are no longer kept on disk: the disk is full"]
