"""Scans on their way to the processes that draw examples."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np

from napari_medssl.pretext.scan import Scan


def test_a_scan_on_disk_is_sent_as_its_place(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (20, 32, 24), dtype=np.uint8)
    np.save(tmp_path / "scan.npy", voxels)
    scan = Scan(np.load(tmp_path / "scan.npy", mmap_mode="r"), None, (2.0, 1.0, 1.0), "scan.nii", "group", "subject")
    sent = pickle.dumps(scan)
    assert len(sent) < 2000
    received = pickle.loads(sent)
    np.testing.assert_array_equal(received.image, voxels)
    assert not received.image.flags.writeable
    assert (received.labels, received.spacing_mm, received.subject) == (None, (2.0, 1.0, 1.0), "subject")


def test_scans_in_memory_and_parts_of_maps_are_sent_whole(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "scan.npy", voxels)
    part = np.load(tmp_path / "scan.npy", mmap_mode="r")[2:5]
    scan = Scan(part, np.ones((3, 8, 8), np.uint8), (1.0, 1.0, 1.0), "a", "b", "c")
    received = pickle.loads(pickle.dumps(scan))
    np.testing.assert_array_equal(received.image, voxels[2:5])
    assert received.labels.all()
    assert dataclasses.replace(received, name="d").name == "d"
