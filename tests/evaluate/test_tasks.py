"""Targets of the downstream tasks against what the scans hold."""

import dataclasses

import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.evaluate.data import spread, square
from napari_medssl.evaluate.exams import exams
from napari_medssl.evaluate.presence import position, presence


def test_presence_is_what_the_masks_show(scans):
    found = presence(scans, slices_per_scan=5)
    assert found.labels == ("1", "2")
    assert len(found) == 30
    assert not found.bags
    for n in range(len(found)):
        labels = scans[found.scan[n]].labels[found.slices[n][0]]
        assert found.targets[n].tolist() == [(labels == 1).any(), (labels == 2).any()]
        assert found.subjects[n] == scans[found.scan[n]].subject


def test_small_areas_do_not_count(scans):
    assert presence(scans, least_mm2=401.0).labels == ("1",)  # organ 2 has 100 pixels of 4 mm2
    assert presence(scans, least_mm2=400.0).labels == ("1", "2")
    with pytest.raises(FormatError, match="none of the 6 scans"):
        presence(scans, least_mm2=1000.0)


def test_organs_of_one_person_cannot_be_learned_from_others(scans):
    with pytest.raises(FormatError, match="two people"):
        presence(scans[:1])
    unlabelled = [dataclasses.replace(s, labels=None) for s in scans]
    with pytest.raises(FormatError, match="images/ and labels/"):
        presence(unlabelled)
    assert set(presence([*unlabelled[:2], *scans[2:]]).scan) == {2, 3, 4, 5}


def test_organs_of_known_sets_have_names(scans):
    named = presence([dataclasses.replace(s, group="chaos_t2") for s in scans])
    assert named.labels == ("liver", "right kidney")


def test_position_runs_from_0_to_1(scans):
    found = position(scans, slices_per_scan=10)
    np.testing.assert_allclose(found.targets[:10, 0], np.arange(10) / 9, rtol=1e-6)


@pytest.fixture
def table(tmp_path):
    def write(rows, head="file,subject,group"):
        path = tmp_path / "exams.csv"
        path.write_text("\n".join([head, *rows]) + "\n")
        return path

    return write


def test_exams_have_all_slices_and_their_group(scans, table):
    path = table([f"scan_{n}.nii.gz,s{n},{'ill' if n % 2 else 'well'}" for n in range(5)])
    found = exams(scans, path, slices_per_scan=4)
    assert found.labels == ("ill", "well")
    assert found.targets.argmax(1).tolist() == [1, 0, 1, 0, 1]
    assert found.subjects.tolist() == [f"s{n}" for n in range(5)]
    assert [len(s) for s in found.slices] == [4] * 5
    assert found.bags


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        (["scan_0.nii.gz,a"], "file,diagnosis", "no column 'group'; it has: file, diagnosis"),
        (["other.nii.gz,s,a"], "file,subject,group", "names none of the 6 scans"),
        (["scan_0.nii.gz,s,a", "scan_1.nii.gz,s,b"], "file,subject,group", "puts s into the groups a and b"),
        (["scan_0.nii.gz,s,a", "scan_1.nii.gz,t,b"], "file,subject,group", "two groups with two people"),
    ],
)
def test_bad_tables_are_explained(scans, table, rows, head, message):
    with pytest.raises(FormatError, match=message):
        exams(scans, table(rows, head))


def test_missing_table(scans, tmp_path):
    with pytest.raises(FormatError, match="must be a CSV file"):
        exams(scans, tmp_path / "none.csv")


def test_squares_keep_the_middle(scans):
    small, large = square(scans[0], 16), square(scans[0], 40)
    np.testing.assert_array_equal(small.image, scans[0].image[:, 8:24, 8:24])
    np.testing.assert_array_equal(large.labels[:, 4:36, 4:36], scans[0].labels)
    assert large.image[:, :4].max() == 0


def test_slices_are_spread_without_repeats():
    for depth in range(1, 40):
        for count in (1, 3, 8, 50):
            z = spread(count, depth)
            assert len(set(z.tolist())) == len(z) == min(count, depth)
            assert z.min() >= 0
            assert z.max() < depth
