"""The jigsaw puzzle: undone exactly, label recoverable, no voids, draws from the stated sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.arrangements import least_hamming
from napari_medssl.pretext.jumpat import JumbledPatches, JumpatSettings
from napari_medssl.pretext.patches import Moves, cut_patches, join_patches, move, unjumble
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example

PLAIN = JumpatSettings(size=25, patch=8, classes=50, moves="none", noise_variance=0.0)


def scan(size: int, value: int | None = None) -> Scan:
    image = np.random.default_rng(1).integers(0, 256, (4, size, size), dtype=np.uint8)
    if value is not None:
        image[:] = value
    return Scan(image, None, (1.0, 1.0, 1.0), "scan.nii", "group", "subject")


def batch_of(task: JumbledPatches, scans: list[Scan], count: int = 6) -> tuple[Example, Example]:
    """Drawn and prepared examples."""
    drawn = [task.draw(scans, np.random.default_rng([5, n])) for n in range(count)]
    raw = {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}
    return raw, task.prepare(raw)


def test_the_inverse_arrangement_restores_the_image() -> None:
    task = JumbledPatches(PLAIN, channels=3)
    raw, batch = batch_of(task, [scan(25)])
    assert batch["patches"].shape == (6, 9, 3, 8, 8)
    restored = join_patches(unjumble(batch["patches"], batch["arrangement"]))
    torch.testing.assert_close(restored, raw["slices"][..., :24, :24].float() / 255, atol=1e-5, rtol=0)


def test_slot_k_shows_patch_t_of_k_and_the_label_can_be_read() -> None:
    task = JumbledPatches(PLAIN)
    raw, batch = batch_of(task, [scan(25)])
    parts = cut_patches(raw["slices"].float() / 255)
    for i in range(6):
        distance = (batch["patches"][i, :, None] - parts[i][None]).abs().amax((2, 3, 4))
        seen = distance.argmin(1).numpy()
        (label,) = np.flatnonzero((task.arrangements == seen).all(1))
        assert label == int(batch["label"][i])


def test_parts_are_numbered_row_by_row() -> None:
    rows = torch.arange(36.0).view(1, 1, 6, 6)
    assert cut_patches(rows)[0, :, 0, 0, 0].tolist() == [0, 2, 4, 12, 14, 16, 24, 26, 28]
    torch.testing.assert_close(join_patches(cut_patches(rows)), rows)


@pytest.mark.parametrize("moves", ["discrete", "continuous"])
def test_the_same_seed_gives_the_same_puzzle(moves: str) -> None:
    settings = JumpatSettings(size=96, patch=24, classes=20, moves=moves)  # type: ignore[arg-type]  # both are choices
    first, second = (batch_of(JumbledPatches(settings), [scan(96)])[1] for _ in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name])
    assert first["patches"].shape == (6, 9, 1, 24, 24)
    assert 0 <= float(first["patches"].min()) <= float(first["patches"].max()) <= 1


@pytest.mark.parametrize("moves", ["discrete", "continuous"])
def test_moved_patches_have_no_voids(moves: str) -> None:
    settings = JumpatSettings(size=96, patch=32, noise_variance=0.0, moves=moves)  # type: ignore[arg-type]
    _, batch = batch_of(JumbledPatches(settings), [scan(96, 255)])
    assert float(batch["patches"].min()) > 0.999


def test_parameters_come_from_the_stated_sets() -> None:
    task = JumbledPatches(JumpatSettings())
    raw, _ = batch_of(task, [scan(256)], count=40)
    moves = raw["moves"]
    assert set(moves[..., 0].flatten().tolist()) == {-15, 0, 15}
    assert set(moves[..., 1].flatten().tolist()) == set(moves[..., 2].flatten().tolist()) == {-6, 0, 6}
    assert {round(s, 3) for s in moves[..., 3].flatten().tolist()} == {1, 1.2}
    assert set(raw["corner"].flatten().tolist()) == set(range(22))  # 85 - 64 = 21, both ends
    ranged, _ = batch_of(JumbledPatches(JumpatSettings(moves="continuous")), [scan(256)], count=40)
    assert 14 < float(ranged["moves"][..., 0].abs().max()) <= 15
    assert 5.8 < float(ranged["moves"][..., 1:3].abs().max()) <= 6


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_move_agrees_with_another_resampler(mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((40, 40)), 2.0)
    moves = Moves(torch.tensor([15.0]), torch.tensor([[6.0, -3.0]]), torch.tensor([1.2]))
    got = move(_image(image), moves, corner=torch.tensor([[4, 7]]), size=30, mirrored=mirrored)[0, 0]
    # Forward, in y, x: clockwise on the screen; scipy wants the way back.
    a = np.deg2rad(15.0)
    back = np.linalg.inv(1.2 * np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]))
    centre = np.array([19.5, 19.5])
    offset = centre - back @ (centre + np.array([6.0, -3.0]))
    mode = "reflect" if mirrored else "grid-constant"
    expected = ndimage.affine_transform(image, back, offset, order=1, mode=mode)[4:34, 7:37]
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-4)


def _image(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))[None, None]


def test_noise_has_the_stated_variance() -> None:
    settings = JumpatSettings(size=96, patch=32, moves="none")
    _, batch = batch_of(JumbledPatches(settings), [scan(96, 128)])
    assert float(batch["patches"].var()) == pytest.approx(0.01, rel=0.05)


def test_the_two_sets_of_arrangements() -> None:
    assert least_hamming(JumbledPatches(JumpatSettings(classes=100)).arrangements) >= 5
    assert least_hamming(JumbledPatches(JumpatSettings(classes=1000, arrangements="uniform")).arrangements) < 5


def test_a_patch_larger_than_a_third_is_refused() -> None:
    with pytest.raises(SettingsError, match="patch is 64; it must be at most 32"):
        JumbledPatches(JumpatSettings(size=96))
