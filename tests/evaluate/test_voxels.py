"""The voxel probe: what is drawn, where features are read, what the numbers mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.engine.device import policy_for
from napari_medssl.errors import FormatError, WeightsError
from napari_medssl.evaluate.run import cases_of
from napari_medssl.evaluate.volume_encoders import JudgedVolumes, load_volumes
from napari_medssl.evaluate.voxel_features import Prepared, body_position, encoded_steps, made_by_hand, prepare
from napari_medssl.evaluate.voxel_points import draw_voxels
from napari_medssl.evaluate.voxels import HAND, POSITION, VoxelSettings, _scores, voxels_steps
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.progress import finish
from napari_medssl.train.dataset import Case
from tests.evaluate.volumes_on_disk import make_folder

QUICK = VoxelSettings(per_organ=40, others=60, trainers=2, resamples=20)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return cases_of(make_folder(tmp_path_factory.mktemp("toy") / "toy"), labelled=True)


@pytest.fixture(scope="module")
def narrow() -> JudgedVolumes:
    config = {"width": 0.0625, "norm": "group"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder3d("unet3d", **config).requires_grad_(False)
    return JudgedVolumes("narrow", "unet3d", config, encoder, 3.0, {}, "0" * 64)


def test_voxels_are_in_their_organs_and_stand_for_all_of_them(cases: list[Case]) -> None:
    from napari_medssl.io import read

    drawn = draw_voxels(cases[1], per_organ=30, others=50, seed=0)
    labels = read(cases[1].labels, labels=True)  # type: ignore[arg-type]
    inverse = np.linalg.inv(labels.affine)
    zyx = (drawn.points_mm @ inverse[:3, :3].T + inverse[:3, 3]).round().astype(int)
    assert np.array_equal(labels.data[tuple(zyx.T)], drawn.classes)
    for organ in (1, 2):
        mine = drawn.classes == organ
        assert mine.sum() == 30
        assert drawn.weights[mine].sum() == pytest.approx((labels.data == organ).sum())
    again = draw_voxels(cases[1], per_organ=30, others=50, seed=0)
    assert np.array_equal(again.points_mm, drawn.points_mm)


def test_prepared_points_are_where_the_scan_has_them(cases: list[Case]) -> None:
    drawn = draw_voxels(cases[0], per_organ=60, others=60, seed=0)
    scan = prepare(cases[0], drawn.points_mm, 3.0)
    at = np.clip(scan.at.round().astype(int), 0, np.array(scan.image.shape) - 1)
    seen = scan.image[tuple(at.T)].astype(float)
    assert seen[drawn.classes == 1].mean() > 1.6 * seen[drawn.classes == 2].mean()
    hand = made_by_hand(scan)
    assert hand.shape == (len(drawn.classes), 10)
    assert np.abs(hand[:, 0] * 255 - seen).mean() < 12  # trilinear against nearest
    position = body_position(scan)[:, :3]
    assert position.min() > -0.2
    assert position.max() < 1.2


def test_features_do_not_depend_on_windows(narrow: JudgedVolumes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:
        """Stages of one voxel's reach: any window with a halo gives the same."""

        def __init__(self) -> None:
            self.pool = torch.nn.AvgPool3d(2)

        def parameters(self) -> object:
            return iter([torch.zeros(1)])

        def stages(self, volume: torch.Tensor) -> list[torch.Tensor]:
            return [volume, self.pool(volume)]

    from napari_medssl.evaluate import voxel_features

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (32, 40, 48)).astype(np.uint8)
    at = rng.uniform(4, 27, (50, 3))
    scan = Prepared(image, 3.0, at)
    whole = finish(encoded_steps(Local(), scan))
    monkeypatch.setattr(voxel_features, "WINDOW", (16, 16, 16))
    monkeypatch.setattr(voxel_features, "HALO", (4, 4, 4))
    np.testing.assert_allclose(finish(encoded_steps(Local(), scan)), whole, atol=1e-5)
    assert finish(encoded_steps(narrow.encoder, scan)).shape == (50, sum(narrow.encoder.stage_channels))


def test_rows_with_their_baselines(cases: list[Case], narrow: JudgedVolumes) -> None:
    rows = finish(voxels_steps([narrow], cases, QUICK, data="toy"))
    names = [r.features for r in rows]
    first = "unet3d, first weights"
    assert names == [HAND, f"{HAND} + {POSITION}", POSITION, "narrow", f"narrow + {POSITION}", first,
                     f"{first} + {POSITION}"]  # fmt: skip
    by_name = {r.features: r for r in rows}
    assert by_name[POSITION].accuracy > 0.7  # organs lie at the same place in everybody
    assert by_name[HAND].by_organ["1"] > 0.8 > by_name[HAND].by_organ["2"]  # bright, and as the body
    assert by_name["narrow"].channels == sum(narrow.encoder.stage_channels)
    for row in rows:
        assert 0 <= row.dice <= 1
        assert row.tested == 3
        assert row.accuracy_interval is not None
        assert row.accuracy_interval.low <= row.accuracy <= row.accuracy_interval.high


def test_scores_count_voxels_as_many_as_they_stand_for() -> None:
    truth = np.repeat([0, 1], [20, 10])
    answers = np.concatenate([np.repeat([0, 1], [15, 5]), np.ones(10, int)])
    weights = np.concatenate([np.full(20, 10.0), np.full(10, 1.0)])
    recall, dice = _scores(answers, truth, weights, 2)
    np.testing.assert_allclose(recall, [0.75, 1.0])
    np.testing.assert_allclose(dice, [2 * 10 / (10 + 60)])


def test_one_person_is_refused(cases: list[Case]) -> None:
    with pytest.raises(FormatError, match="learns from one"):
        finish(voxels_steps([], cases[:1], QUICK, data="toy"))


def test_weights_of_slices_are_refused(tmp_path: Path, narrow: JudgedVolumes) -> None:
    policy = policy_for(torch.device("cpu"))
    with pytest.raises(WeightsError, match="no encoder of volumes"):
        load_volumes("none", policy)
    path = tmp_path / "run" / "encoder3d.safetensors"
    path.parent.mkdir()
    save_bundle(path, module_bundle("encoder3d", "unet3d", narrow.encoder, {"settings": {"spacing_mm": 3.0}}))
    found = load_volumes(path, policy)
    assert (found.name, found.kind, found.spacing_mm) == ("run/encoder3d.safetensors", "unet3d", 3.0)
    assert found.first(0).name == "unet3d, first weights"
    assert found.architecture == found.first(0).architecture
