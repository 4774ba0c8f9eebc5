"""Volumes, extents and Dice of organs."""

import numpy as np
import pytest

from napari_medssl.cli.console import Console
from napari_medssl.cli.organ_table import dice, organ_rows, print_rows
from napari_medssl.labels import Label
from napari_medssl.volume import Volume

LIVER, SPLEEN = Label(1, "liver", (1, 2, 3)), Label(2, "spleen", (4, 5, 6))


def test_a_cube_of_ten_mm_is_one_ml():
    data = np.zeros((20, 20, 20), np.uint8)
    data[5:15, 5:15, 5:15] = 1
    (row,) = organ_rows(Volume(data, np.eye(4), labels=(LIVER,)))
    assert (row.voxels, row.volume_ml, row.first, row.last, row.dice) == (1000, pytest.approx(1.0), 5, 14, None)


def test_an_organ_that_was_not_found_has_no_extent(capsys):
    rows = organ_rows(Volume(np.zeros((2, 3, 3), np.uint8), np.eye(4), labels=(LIVER, SPLEEN)))
    assert rows[1].first is None
    print_rows(Console(), rows, 1.25)
    out = capsys.readouterr().out.splitlines()
    assert out[2].split() == ["liver", "0", "0.0", "not", "found"]
    assert out[-1].split() == ["all", "0", "0.0", "1.2"]


def test_dice_leaves_the_labelled_slice_out():
    truth = np.zeros((3, 4, 4), np.uint8)
    truth[:, :2] = 1
    found = truth.copy()
    found[1] = 0
    assert dice(found == 1, truth == 1) == pytest.approx(2 * 16 / (16 + 24))
    assert dice(found == 1, truth == 1, without=(1,)) == 1.0
    (row,) = organ_rows(Volume(found, np.eye(4), labels=(LIVER,)), truth=truth, labelled={1: (0, 1)})
    assert row.dice == 1.0
    assert row.facts()["labelled"] == (0, 1)


def test_two_empty_masks_agree():
    assert dice(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool)) == 1.0
