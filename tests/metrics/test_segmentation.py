"""Measures of masks against closed forms, distance transforms of scipy, and MONAI's own metrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from napari_medssl.metrics.segmentation import dice, segmentation_scores, surface_scores, volume_percent

SPACING = (4.0, 1.5, 1.0)


def box(shape, *ranges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def ball(radius_mm, spacing=SPACING, side_mm=48.0):
    axes = [np.arange(-side_mm / 2, side_mm / 2 + 1e-9, s) for s in spacing]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 <= radius_mm**2


def blob(seed, shape=(7, 14, 16)):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, (1, 2, 2)) > 0.02


def values(found, truth, **options):
    return {name: m.value for name, m in segmentation_scores(found, truth, spacing_mm=SPACING, **options).items()}


@pytest.mark.parametrize(("axis", "step"), [(0, 1), (1, 2), (2, 3), (2, 5)])
def test_a_shifted_box(axis, step):
    """Overlap falls by the share moved out; the 95th percentile and the surface are those of the two end faces."""
    sides = (8, 10, 12)
    truth = box((14, 20, 24), *((3, 3 + s) for s in sides))
    found = np.roll(truth, step, axis)
    moved = step * SPACING[axis]
    got = values(found, truth, tolerance_mm=moved)
    assert got["dice"] == pytest.approx(1 - step / sides[axis])
    assert got["volume_percent"] == 0
    assert got["hd95_mm"] == pytest.approx(moved)  # an end face is more than 5 % of the edge voxels
    assert got["surface_dice"] == pytest.approx(1)  # a distance of exactly the tolerance is within it
    near = values(found, truth, tolerance_mm=0.9)["surface_dice"]
    # Faces along the shift stay in place but for the parts moved out; the two end faces move as a whole.
    lengths = [s * mm for s, mm in zip(sides, SPACING, strict=True)]
    across = np.prod(lengths) / lengths[axis]
    along = 2 * sum(np.prod(lengths) / n for i, n in enumerate(lengths) if i != axis)
    stays = along * (1 - step / sides[axis]) / (along + 2 * across)
    assert near == pytest.approx(
        stays, abs=0.09
    )  # the sub-voxel surface has rounded corners and reaches half a voxel on


@pytest.mark.parametrize("grown_mm", [2.0, 4.0])
def test_a_ball_in_a_larger_ball(grown_mm):
    small, large = ball(12.0, (1.0, 1.0, 1.0)), ball(12.0 + grown_mm, (1.0, 1.0, 1.0))
    scores = {
        n: m.value
        for n, m in segmentation_scores(large, small, spacing_mm=(1, 1, 1), tolerance_mm=grown_mm + 1).items()
    }
    assert scores["hd95_mm"] == pytest.approx(grown_mm, abs=0.75)
    assert scores["surface_dice"] == 1
    assert scores["volume_percent"] == pytest.approx(100 * ((1 + grown_mm / 12) ** 3 - 1), rel=0.05)
    assert scores["dice"] == pytest.approx(2 / (1 + (1 + grown_mm / 12) ** 3), rel=0.03)
    tight = surface_scores(large, small, spacing_mm=(1, 1, 1), tolerance_mm=grown_mm - 1.0)
    assert tight["surface_dice"].value < 0.2  # a few corners of the steps


def test_distances_are_in_mm_along_each_axis():
    """One voxel of difference weighs as much as it is long."""
    truth = ball(14.0)
    for axis, mm in enumerate(SPACING):
        assert surface_scores(np.roll(truth, 1, axis), truth, spacing_mm=SPACING)["hd95_mm"].value <= mm + 1e-6
    assert values(np.roll(truth, 1, 0), truth, tolerance_mm=1.0)["surface_dice"] < 0.9
    assert values(np.roll(truth, 1, 2), truth, tolerance_mm=1.0)["surface_dice"] == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("without", [(), (3,), (0, 4)])
def test_hd95_against_distance_transforms(seed, without):
    found, truth = blob(seed), blob(seed + 100)
    got = surface_scores(found, truth, spacing_mm=SPACING, without=without)["hd95_mm"].value
    edges = [m & ~ndimage.binary_erosion(np.pad(m, 1))[1:-1, 1:-1, 1:-1] for m in (found, truth)]
    judged = np.isin(np.arange(len(truth)), without, invert=True)[:, None, None]
    expected = []
    for own, other in (edges, edges[::-1]):
        expected.append(np.percentile(ndimage.distance_transform_edt(~other, sampling=SPACING)[own & judged], 95))
    assert got == pytest.approx(max(expected), rel=1e-6)


@pytest.mark.filterwarnings("ignore:monai:FutureWarning")  # MONAI deprecates an argument that it gives itself
@given(first=st.integers(0, 500), second=st.integers(0, 500), tolerance=st.sampled_from([0.5, 1.7, 4.1]))
@settings(max_examples=15, deadline=None)
def test_the_whole_volume_is_what_monai_says(first, second, tolerance):
    found, truth = blob(first), blob(second)
    got = values(found, truth, tolerance_mm=tolerance)
    y_pred, y = (torch.from_numpy(m)[None, None].float() for m in (found, truth))
    assert got["dice"] == pytest.approx(float(compute_dice(y_pred, y)), abs=1e-6)
    hd95 = compute_hausdorff_distance(y_pred, y, include_background=True, percentile=95, spacing=SPACING)
    assert got["hd95_mm"] == pytest.approx(float(hd95), abs=1e-4)
    nsd = compute_surface_dice(y_pred, y, [tolerance], include_background=True, spacing=SPACING, use_subvoxels=True)
    assert got["surface_dice"] == pytest.approx(float(nsd), abs=1e-4)


def test_slices_left_out_are_not_judged():
    """What is wrong on a labelled slice alone does not count, and the slice does not part the organ."""
    truth = box((9, 20, 20), (1, 8), (4, 16), (4, 16))
    found = truth.copy()
    found[4] = np.roll(found[4], 6, 1)
    assert values(found, truth)["dice"] < 1
    assert values(found, truth, without=(4,))["dice"] == 1
    kept = values(truth, truth, without=(4,))
    assert kept == {"dice": 1, "hd95_mm": 0, "surface_dice": 1, "volume_percent": 0}
    only_labelled = np.zeros_like(truth)
    only_labelled[4] = truth[4]
    lost = values(only_labelled, truth, without=(4,), tolerance_mm=2.0)
    assert lost["dice"] == 0
    assert lost["volume_percent"] == -100
    assert lost["hd95_mm"] == pytest.approx(3 * SPACING[0])  # the end of the organ, three slices from what was found
    assert 0 < lost["surface_dice"] < 0.4  # the labelled slice's own side wall beside its neighbours


def test_empty_masks():
    organ, nothing = ball(10.0), np.zeros(ball(10.0).shape, bool)
    both = segmentation_scores(nothing, nothing, spacing_mm=SPACING)
    assert [m.value for m in both.values()] == [None] * 4
    assert all(m.reason for m in both.values())
    missed = segmentation_scores(nothing, organ, spacing_mm=SPACING)
    assert {n: m.value for n, m in missed.items()} == {
        "dice": 0, "hd95_mm": None, "surface_dice": 0, "volume_percent": -100
    }  # fmt: skip
    assert "not found" in missed["hd95_mm"].reason
    invented = segmentation_scores(organ, nothing, spacing_mm=SPACING)
    assert {n: m.value for n, m in invented.items()} == {
        "dice": 0, "hd95_mm": None, "surface_dice": 0, "volume_percent": None
    }  # fmt: skip
    alone = box((5, 8, 8), (2, 3), (2, 6), (2, 6))
    judged_elsewhere = segmentation_scores(alone, alone, spacing_mm=SPACING, without=(2,))
    assert judged_elsewhere["hd95_mm"].value is None
    assert judged_elsewhere["dice"].value is None


def test_an_organ_cut_off_by_the_scan_has_a_surface_there():
    truth = box((4, 10, 10), (0, 4), (0, 10), (0, 5))
    shorter = box((4, 10, 10), (0, 3), (0, 10), (0, 5))
    assert surface_scores(shorter, truth, spacing_mm=SPACING)["hd95_mm"].value == SPACING[0]


def test_signed_volume():
    truth = box((4, 10, 10), (0, 4), (0, 10), (0, 5))
    assert volume_percent(truth[:, :, :4], truth[:, :, :4]).value == 0
    less = truth.copy()
    less[:, :, 4] = False
    assert volume_percent(less, truth).value == pytest.approx(-20)
    assert volume_percent(truth, less).value == pytest.approx(25)
    assert dice(truth, less).value == dice(less, truth).value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing_mm": (0.0, 1.0, 1.0)}, "positive"),
        ({"tolerance_mm": float("nan")}, "positive"),
        ({"found": np.zeros((2, 2, 2), bool)}, "shapes"),
    ],
)
def test_wrong_calls(change, words):
    arguments = {"found": ball(5.0), "truth": ball(5.0), "spacing_mm": SPACING} | change
    with pytest.raises(ValueError, match=words):
        segmentation_scores(arguments.pop("found"), arguments.pop("truth"), **arguments)
