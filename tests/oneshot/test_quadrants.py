"""Quadrants in patient coordinates: same patient side for every orientation, sources, margin, warnings."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot.quadrants import (
    QuadrantSettings,
    anatomy_side,
    occupied_quadrants,
    organ_region,
    parse_quadrants,
    plane_directions,
    quadrant_weight,
)
from napari_medssl.volume import Volume

SHAPE = (4, 20, 30)


def axial(*, x_left: bool = True, y_back: bool = True) -> Volume:
    """An axial volume with 5 x 2 x 1 mm voxels; by default x grows to the patient's left and y to the back."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 5.0, -2.0 if y_back else 2.0, -1.0 if x_left else 1.0, 1.0
    return Volume(np.zeros(SHAPE, np.float32), affine)


def coronal() -> Volume:
    affine = np.zeros((4, 4))
    affine[1, 0], affine[2, 1], affine[0, 2], affine[3, 3] = -5.0, -1.0, -1.0, 1.0
    return Volume(np.zeros(SHAPE, np.float32), affine)


def test_plane_directions() -> None:
    assert plane_directions(axial()) == (("A", "P"), ("R", "L"))
    assert plane_directions(axial(x_left=False, y_back=False)) == (("P", "A"), ("L", "R"))
    assert plane_directions(coronal()) == (("S", "I"), ("R", "L"))


@pytest.mark.parametrize("x_left", [True, False])
@pytest.mark.parametrize("y_back", [True, False])
def test_every_orientation_gives_the_same_patient_side(x_left: bool, y_back: bool) -> None:
    reference, other = axial(), axial(x_left=x_left, y_back=y_back)
    weight = organ_region(reference, QuadrantSettings(source="manual", manual="RP"), organ="kidney").weight
    turned = organ_region(other, QuadrantSettings(source="manual", manual="RP"), organ="kidney").weight
    assert weight is not None
    assert turned is not None
    back = turned[:: 1 if y_back else -1, :: 1 if x_left else -1]
    assert np.array_equal(back, weight)
    assert weight[15, 3] == 1
    assert weight.sum() == 10 * 15


def test_a_mask_moves_from_one_orientation_to_another() -> None:
    support, query = axial(), axial(x_left=False)
    mask = np.zeros(SHAPE, bool)
    mask[2, 12:18, 2:9] = True  # right posterior in the labelled scan
    region = organ_region(query, QuadrantSettings(source="support"), organ="right kidney", supports=[(support, mask)])
    assert region.quadrants == {frozenset("RP")}
    assert region.weight is not None
    assert region.weight[15, 25] == 1
    assert region.weight[15, 3] == 0
    assert region.warnings == ()


def test_occupied_quadrants_and_the_least_share() -> None:
    volume, mask = axial(), np.zeros(SHAPE, bool)
    mask[1, 2:9, 2:14] = True
    mask[1, 2, 16] = True  # one pixel across the midline
    assert occupied_quadrants(volume, mask) == {frozenset("RA"), frozenset("LA")}
    assert occupied_quadrants(volume, mask, QuadrantSettings(least_share=0.05)) == {frozenset("RA")}


def test_midline_organs_are_left_alone_with_a_warning() -> None:
    volume, mask = axial(), np.zeros(SHAPE, bool)
    mask[1, 2:9, 2:20] = True
    region = organ_region(volume, QuadrantSettings(source="support"), organ="liver", supports=[(volume, mask)])
    assert region.weight is None
    assert "midline" in region.warnings[0]
    kept = organ_region(
        volume, QuadrantSettings(source="support", midline="keep"), organ="liver", supports=[(volume, mask)]
    )
    assert kept.weight is not None
    assert kept.weight[:10].all()
    assert not kept.weight[10:].any()


def test_anatomy_table() -> None:
    volume = axial()
    weight = organ_region(volume, QuadrantSettings(source="anatomy"), organ="Right kidney").weight
    assert weight is not None
    assert weight[:, :15].all()
    assert not weight[:, 15:].any()
    liver = organ_region(volume, QuadrantSettings(source="anatomy"), organ="liver")
    assert liver.weight is None
    assert "midline" in liver.warnings[0]
    unknown = organ_region(volume, QuadrantSettings(source="anatomy"), organ="organ 1")
    assert unknown.weight is None
    assert "does not know" in unknown.warnings[0]


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("left kidney", "L"), ("kidney_l", "L"), ("kidney_right", "R"), ("spleen", "L"), ("gallbladder", "R"),
        ("urinary bladder", "midline"), ("left ventricle", "midline"), ("aorta", "midline"), ("thing", "unknown"),
    ],
)  # fmt: skip
def test_sides_by_name(name: str, side: str) -> None:
    assert anatomy_side(name) == side


def test_margin_is_in_millimetres_along_each_axis() -> None:
    volume = axial()  # 2 mm rows, 1 mm columns
    right = parse_quadrants("R", volume)
    weight = quadrant_weight(volume, right, QuadrantSettings(margin_mm=4.0))
    assert weight[5, 13:20] == pytest.approx([1, 1, 0.75, 0.5, 0.25, 0, 0])
    front = quadrant_weight(volume, parse_quadrants("A", volume), QuadrantSettings(margin_mm=4.0))
    assert front[8:13, 5] == pytest.approx([1, 1, 0.5, 0, 0])


def test_body_centre_follows_a_patient_off_centre() -> None:
    volume = axial()
    volume.data[:, 2:18, 14:30] = 100.0
    weight = quadrant_weight(volume, parse_quadrants("R", volume), QuadrantSettings(centre="body"))
    assert weight[5].sum() == 22  # the body's middle column is 21.5


def test_other_planes_use_their_own_directions() -> None:
    assert parse_quadrants("RI", coronal()) == {frozenset("RI")}
    volume, mask = axial(), np.zeros(SHAPE, bool)
    mask[1, 12, 3] = True
    region = organ_region(coronal(), QuadrantSettings(source="support"), organ="kidney", supports=[(volume, mask)])
    assert region.weight is None
    assert "another plane" in region.warnings[0]


@pytest.mark.parametrize("text", ["", "S", "RL", "Q", "RPX"])
def test_bad_manual_quadrants_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="quadrant"):
        parse_quadrants(text, axial())


def test_unknown_orientation_warns() -> None:
    region = organ_region(
        axial(), QuadrantSettings(source="manual", manual="R"), organ="kidney", orientation_known=False
    )
    assert "may be wrong" in region.warnings[0]
    assert organ_region(axial(), QuadrantSettings(), organ="kidney").weight is None
