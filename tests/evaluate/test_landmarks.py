"""Points of one scan found in another, against the truth of the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.errors import FormatError
from napari_medssl.evaluate.landmarks import BOXES, LandmarkSettings, _centres, landmarks_steps
from napari_medssl.evaluate.run import cases_of
from napari_medssl.evaluate.volume_encoders import JudgedVolumes
from napari_medssl.evaluate.voxels import HAND
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.progress import finish
from tests.evaluate.volumes_on_disk import make_folder, person


def test_centres_are_in_millimetres() -> None:
    _, labels = person(1)
    zyx = np.argwhere(labels.data == 2).mean(0)
    np.testing.assert_allclose(_centres(labels)[2], labels.affine[:3, :3] @ zyx + labels.affine[:3, 3])


def test_rows_of_every_way(tmp_path: Path) -> None:
    cases = cases_of(make_folder(tmp_path / "toy", people=2), labelled=True)
    config = {"width": 0.0625, "norm": "group"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder3d("unet3d", **config).requires_grad_(False)
    narrow = JudgedVolumes("narrow", "unet3d", config, encoder, 3.0, {}, "0" * 64)
    rows = finish(landmarks_steps([narrow], cases, LandmarkSettings(stages=(2, 3), resamples=20), data="toy"))
    assert [r.features for r in rows if r.how == BOXES] == ["none"]
    assert {r.features for r in rows} == {"none", HAND, "narrow", "unet3d, first weights"}
    assert all(r.count == 4 for r in rows)  # two organs, there and back
    assert all(set(r.by_organ) == {"1", "2"} for r in rows)
    boxes = next(r for r in rows if r.how == BOXES)
    assert boxes.mean < 10  # the body moved by 20 mm, the organs in it by a voxel
    for row in rows:
        assert row.median >= 0
        assert row.found == pytest.approx(row.found)
        assert row.interval is not None
    trained, first = ([r.mean for r in rows if r.features == name] for name in ("narrow", "unet3d, first weights"))
    assert trained == first  # the same seed: the rows are of the same weights


def test_one_person_is_refused(tmp_path: Path) -> None:
    cases = cases_of(make_folder(tmp_path / "toy", people=1), labelled=True)
    with pytest.raises(FormatError, match="two labelled people"):
        finish(landmarks_steps([], cases, data="toy"))
