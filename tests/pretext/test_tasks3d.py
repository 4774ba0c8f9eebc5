"""The pretext tasks in 3D: label spaces, labels that can be told from the sample, the same seed the same sample."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import default_collate

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.genesis import DistortedCrops
from napari_medssl.pretext.jigsaw3d import CubeGrid, Jigsaw3d
from napari_medssl.pretext.patches import arrange, unjumble
from napari_medssl.pretext.pcrl import N_CONDITIONS, ConditionedViews
from napari_medssl.pretext.relative_location import N_NEIGHBOURS, RelativeLocation, neighbour
from napari_medssl.pretext.rotation3d import TURNS, Turns, turn_back, turn_cubes
from napari_medssl.pretext.rubik import RubiksCube, turned, unpacked
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example, Task
from napari_medssl.pretext.views3d import OverlappingCrops, draw_pair, overlap
from napari_medssl.transforms.genesis import UNDISTORTED, GenesisRates
from napari_medssl.transforms.volume_affine import VolumeAffineRange

CUBE = (8, 16, 16)


def grid(gap: int = 3) -> CubeGrid:
    return CubeGrid(CUBE, orders=10, gap=gap)


TASKS: dict[str, Callable[[], Task]] = {
    "turns": lambda: Turns((8, 16, 16), cube=16),
    "relative location": lambda: RelativeLocation(CUBE),
    "jigsaw": lambda: Jigsaw3d(grid()),
    "rubik": lambda: RubiksCube(grid()),
    "rubik plus": lambda: RubiksCube(grid(), masking=True),
    "autoencoder": lambda: DistortedCrops((16, 16, 24)),
    "genesis": lambda: DistortedCrops((16, 16, 24), GenesisRates()),
    "pairs": lambda: OverlappingCrops((16, 16, 24)),
    "conditioned views": lambda: ConditionedViews((16, 16, 24)),
}


def make_scan(shape: tuple[int, int, int] = (40, 60, 70), seed: int = 0) -> Scan:
    image = np.random.default_rng(seed).integers(30, 256, shape, dtype=np.uint8)
    image.flags.writeable = False
    return Scan(image, None, (2.0, 2.0, 2.0), f"{seed}.nii", "group", f"subject {seed}")


def drawn(task: Task, count: int, scan: Scan | None = None) -> Example:
    scans = [scan or make_scan()]
    batch: Example = default_collate([task.draw(scans, np.random.default_rng([0, n])) for n in range(count)])
    return batch


@pytest.mark.parametrize("name", TASKS)
def test_the_same_seed_gives_the_same_sample(name: str) -> None:
    scans = [make_scan(), make_scan((30, 40, 90), 1)]
    first, second = ([TASKS[name]().draw(scans, np.random.default_rng([4, n])) for n in range(6)] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(first[0][key], first[1][key]) for key in first[0])


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("shape", [(40, 60, 70), (5, 9, 60), (1, 1, 1)])
def test_any_scan_gives_images_in_range(name: str, shape: tuple[int, int, int]) -> None:
    task = TASKS[name]()
    raw = drawn(task, 4, make_scan(shape))
    batch = task.prepare(raw)
    images = [v for k, v in batch.items() if k in {"image", "patches", "target", "view1", "view2"}]
    assert images
    for image in images:
        assert image.dtype == torch.float32
        assert image.shape[0] == 4
        assert image.ndim == (6 if "patches" in batch else 5)
        assert image.shape[-4] == 1
        assert image.min() >= 0
        assert image.max() <= 1
    assert all(v.dtype != torch.float64 for v in raw.values())
    assert all(torch.equal(a, b) for a, b in zip(batch.values(), task.prepare(raw).values(), strict=True))


def test_there_are_ten_different_turns_and_each_can_be_undone() -> None:
    cubes = torch.rand(1, 1, 8, 8, 8).expand(10, 1, 8, 8, 8).contiguous()
    labels = torch.arange(10)
    turns = turn_cubes(cubes, labels)
    assert len(turns.unique(dim=0)) == len(TURNS) == 10
    torch.testing.assert_close(turns[0], cubes[0])
    torch.testing.assert_close(turn_back(turns, labels), cubes)
    for first in (1, 4, 7):  # 90, 180 and 270 degrees about x, then y, then z
        axis = {1: 4, 4: 3, 7: 2}[first]
        along = turns.sum([d for d in (2, 3, 4) if d != axis])[:, 0]
        torch.testing.assert_close(along[first : first + 3], along[:1].expand(3, -1))
        again = turn_cubes(turns[first : first + 1], labels[first : first + 1])
        torch.testing.assert_close(again[0], turns[first + 1])


def test_turns_of_a_cube_restore_the_crop() -> None:
    task = Turns((16, 16, 16))
    raw = drawn(task, 40)
    batch = task.prepare(raw)
    assert set(raw["label"].tolist()) == set(range(10))
    torch.testing.assert_close(turn_back(batch["image"], batch["label"])[:, 0], raw["crop"] / 255)


def test_a_crop_that_is_no_cube_is_resized_before_it_is_turned() -> None:
    task = Turns((8, 16, 16))
    raw = drawn(task, 12)
    batch = task.prepare(raw)
    assert batch["image"].shape == (12, 1, 16, 16, 16)
    back = torch.nn.functional.avg_pool3d(turn_back(batch["image"], batch["label"]), (2, 1, 1))
    torch.testing.assert_close(back.mean(), (raw["crop"] / 255).mean(), atol=1e-3, rtol=0)
    correlation = torch.corrcoef(torch.stack([back.flatten(), raw["crop"].float().flatten()]))[0, 1]
    assert correlation > 0.9


def test_the_26_neighbours_are_all_but_the_centre() -> None:
    places = {neighbour(n) for n in range(N_NEIGHBOURS)}
    assert len(places) == 26
    assert (0, 0, 0) not in places
    assert set(drawn(RelativeLocation(CUBE), 250)["label"].tolist()) == set(range(26))


def test_the_neighbour_lies_where_its_label_says_and_never_touches() -> None:
    scan = make_scan()
    raw = drawn(RelativeLocation(CUBE, gap=3, jitter=1), 60, scan)
    for cubes, label, corners in zip(raw["cubes"], raw["label"], raw["corners"], strict=True):
        offset = (corners[1] - corners[0]).numpy()
        np.testing.assert_array_equal(np.sign(np.round(offset / np.array(CUBE))), neighbour(int(label)))
        assert ((np.abs(offset) <= 2) | (np.abs(offset) >= np.array(CUBE) + 1)).all()
        for cube, (z, y, x) in zip(cubes, corners.tolist(), strict=True):
            np.testing.assert_array_equal(cube, scan.image[z : z + 8, y : y + 16, x : x + 16])


def test_the_place_of_the_centre_says_nothing_about_the_label() -> None:
    scan = make_scan((30, 54, 54))  # just the grid
    raw = drawn(RelativeLocation(CUBE, jitter=0), 40, scan)
    assert len(raw["corners"][:, 0].unique(dim=0)) == 1


@pytest.mark.parametrize("name", ["turns", "relative location", "jigsaw", "rubik"])
@pytest.mark.parametrize("shape", [(9, 60, 60), (30, 13, 12), (4, 60, 60)])
def test_no_padding_tells_the_label(name: str, shape: tuple[int, int, int]) -> None:
    prepared = TASKS[name]().prepare(drawn(TASKS[name](), 6, make_scan(shape)))
    assert (prepared["image" if name == "turns" else "patches"] > 0).all()  # the scan has no zeros


def test_too_much_jitter_is_refused() -> None:
    with pytest.raises(SettingsError, match="jitter is 2 with a gap of 3"):
        RelativeLocation(CUBE, jitter=2)


def test_orders_are_distinct_permutations_far_apart() -> None:
    orders = CubeGrid(CUBE, orders=100).orders
    assert orders.shape == (100, 8)
    assert (np.sort(orders, 1) == np.arange(8)).all()
    assert min((a != b).sum() for i, a in enumerate(orders) for b in orders[:i]) >= 5
    np.testing.assert_array_equal(orders, CubeGrid(CUBE, orders=100).orders)
    assert (orders != CubeGrid(CUBE, orders=100, seed=1).orders).any()


def test_reassembled_cubes_are_the_volume() -> None:
    scan = make_scan((16, 32, 32))  # just the grid
    task = Jigsaw3d(grid(gap=0))
    batch = task.prepare(drawn(task, 60, scan))
    assert set(batch["label"].tolist()) == set(range(10))
    np.testing.assert_array_equal(batch["order"], task.grid.orders[batch["label"]])
    cubes = unjumble(batch["patches"], batch["order"])[:, :, 0].reshape(60, 2, 2, 2, *CUBE)
    volumes = cubes.permute(0, 1, 4, 2, 5, 3, 6).reshape(60, *scan.shape)
    torch.testing.assert_close(volumes, torch.tensor(scan.image / 255, dtype=torch.float32).expand(60, -1, -1, -1))


def test_place_i_shows_cube_order_i() -> None:
    cubes = torch.arange(8)[None, :, None].expand(2, 8, 3)
    order = torch.stack([torch.randperm(8, generator=torch.Generator().manual_seed(n)) for n in (0, 1)])
    assert torch.equal(arrange(cubes, order)[..., 0], order)
    assert torch.equal(unjumble(arrange(cubes, order), order), cubes)


@pytest.mark.parametrize("gap", [1, 4])
def test_cubes_lie_in_their_cells_with_a_gap(gap: int) -> None:
    ramp = np.arange(40 * 60 * 60, dtype=np.int32).reshape(40, 60, 60)
    scan = Scan(ramp, None, (1, 1, 1), "", "", "")  # type: ignore[arg-type]
    firsts = CubeGrid(CUBE, orders=2, gap=gap).draw(scan, np.random.default_rng(0))[:, 0, 0, 0]
    z, y, x = (a.reshape(2, 2, 2) for a in np.unravel_index(firsts, ramp.shape))
    for start, cube, axis in ((z, 8, 0), (y, 16, 1), (x, 16, 2)):
        between = np.diff(start, axis=axis) - cube
        assert (between >= 0).all()
        assert (between <= 2 * gap).all()


def test_a_bad_grid_is_refused() -> None:
    with pytest.raises(SettingsError, match="n = 1"):
        CubeGrid(CUBE, n=1)


def test_labels_of_the_cube_are_8_of_each_and_undo_its_turns() -> None:
    task = RubiksCube(grid(gap=0))
    scan = make_scan((16, 32, 32))
    raw = drawn(task, 40, scan)
    batch = task.prepare(raw)
    x, z = batch["turned_x"], batch["turned_z"]
    assert x.shape == z.shape == (40, 8)
    assert not (x * z).any()
    assert [float(v.mean()) for v in (x, z)] == pytest.approx([1 / 3, 1 / 3], abs=0.1)
    undone = turned(batch["patches"][:, :, 0], (x + 2 * z).long())
    torch.testing.assert_close(unjumble(undone, batch["order"]), raw["cubes"] / 255)


def test_half_turns_are_about_x_and_z() -> None:
    cubes = torch.rand(1, 3, 4, 6, 8)
    out = turned(cubes, torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(out[0, 0], cubes[0, 0])
    torch.testing.assert_close(out[0, 1], torch.rot90(cubes[0, 1], 2, (0, 1)))
    torch.testing.assert_close(out[0, 2], torch.rot90(cubes[0, 2], 2, (1, 2)))


def test_half_of_the_voxels_of_half_of_the_cubes_are_masked() -> None:
    task = RubiksCube(grid(), masking=True)
    batch = task.prepare(drawn(task, 30))
    dark = (batch["patches"] == 0).float().mean((2, 3, 4, 5))
    masked = batch["masked"].bool()
    assert masked.shape == (30, 8)
    assert masked.float().mean() == pytest.approx(0.5, abs=0.1)
    assert (dark[~masked] == 0).all()
    assert (dark[masked] - 0.5).abs().max() < 0.06
    bits = np.random.default_rng(0).integers(0, 256, (2, 3), dtype=np.uint8)
    np.testing.assert_array_equal(unpacked(torch.from_numpy(bits)), np.unpackbits(bits, axis=1))


def test_the_autoencoder_sees_its_target_and_genesis_a_distorted_one() -> None:
    plain = DistortedCrops((16, 16, 24), UNDISTORTED)
    batch = plain.prepare(drawn(plain, 3))
    assert torch.equal(batch["image"], batch["target"])
    genesis = DistortedCrops((16, 16, 24), GenesisRates())
    batch = genesis.prepare(drawn(genesis, 10))
    assert ((batch["image"] != batch["target"]).flatten(1).float().mean(1) > 0.1).float().mean() > 0.7


@pytest.mark.parametrize("least", [0.0, 0.25, 0.6, 0.95])
@pytest.mark.parametrize("shape", [(40, 60, 70), (9, 60, 20)])
def test_pairs_always_overlap_enough(least: float, shape: tuple[int, int, int]) -> None:
    image, size = make_scan(shape).image, (16, 24, 24)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        first, second = draw_pair(image, size, rng, min_iou=least)
        found.append(counted_iou(first, second, size))
        assert found[-1] == pytest.approx(overlap(first, second, size))
        for corner in (first, second):  # inside the scan, or, where the scan is shorter, around it
            assert all(min(0, n - s) <= c <= max(0, n - s) for c, n, s in zip(corner, shape, size, strict=True))
    assert min(found) > least
    if least <= 0.25:  # the small boxes of this test cannot be shifted by a few per cent
        assert len(set(found)) > 10
        assert min(found) < least + 0.2


def counted_iou(first: tuple[int, ...], second: tuple[int, ...], size: tuple[int, ...]) -> float:
    """By painting both boxes."""
    low = np.minimum(first, second)
    space = np.zeros((2, *(np.maximum(first, second) - low + size)), bool)
    for painted, corner in zip(space, (first, second), strict=True):
        painted[tuple(slice(c, c + s) for c, s in zip(np.array(corner) - low, size, strict=True))] = True
    return float((space[0] & space[1]).sum() / (space[0] | space[1]).sum())


def test_views_without_changes_show_the_scan() -> None:
    scan = make_scan()
    task = OverlappingCrops((16, 16, 24), affine=VolumeAffineRange())
    raw = drawn(task, 3, scan) | {"blur1": torch.zeros(3), "blur2": torch.zeros(3)}
    batch = task.prepare(raw)
    for i in ("1", "2"):
        for view, (z, y, x) in zip(batch[f"view{i}"], raw[f"corner{i}"].tolist(), strict=True):
            seen = scan.image[z : z + 16, y : y + 16, x : x + 24] / 255
            torch.testing.assert_close(view[0], torch.tensor(seen, dtype=torch.float32), atol=1e-4, rtol=0)


def test_conditioned_targets_are_the_crop_under_the_change_that_is_told() -> None:
    task = ConditionedViews((16, 16, 24))
    raw = drawn(task, 12)
    batch = task.prepare(raw)
    assert batch["condition1"].shape == (12, N_CONDITIONS)
    for n in range(12):
        curve = raw["curve2"][n].numpy()
        told = batch["condition2"][n].numpy()
        np.testing.assert_allclose(told[:6] * 255, curve[::51], atol=1e-4)
        expected = ndimage.gaussian_filter(curve[raw["crop2"][n].numpy()] / 255, told[6], mode="nearest", radius=3)
        np.testing.assert_allclose(batch["target2"][n, 0].numpy(), expected, atol=1e-5)
    assert len(batch["mix"].unique()) == 12


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_an_impossible_overlap_is_refused(value: float) -> None:
    with pytest.raises(SettingsError, match="min_iou"):
        OverlappingCrops((16, 16, 16), min_iou=value)
