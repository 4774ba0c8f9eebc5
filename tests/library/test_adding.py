"""Labelled slices become examples; organs and names are met, nothing is doubled or lost."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.library import KeepSettings, Library
from napari_medssl.library.adding import add_examples, spread_slices
from tests.library.conftest import LIVER, SPLEEN, labels, scan, support


def test_one_example_for_each_organ_on_one_kept_scan():
    made = Library().add(support(scan(), 5, 7), note="healthy", licence="CC0-1.0", scanner="3 T")
    assert [e.name for e in made.examples] == ["liver 1", "spleen 1"]
    assert made.organs == (LIVER, SPLEEN)
    liver, spleen = made.examples
    assert liver.scan is spleen.scan
    assert (liver.slices, liver.scan.slices) == ((5, 7), (4, 5, 6, 7, 8))
    assert (liver.note, liver.licence, liver.scan.scanner) == ("healthy", "CC0-1.0", "3 T")
    np.testing.assert_array_equal(liver.planes(), labels()[[5, 7]] == 1)
    both = np.zeros((12, 24, 28), np.uint8)
    liver.put_into(both)
    assert not spleen.overlaps(both)
    assert liver.overlaps(both)
    spleen.put_into(both)
    np.testing.assert_array_equal(both[[5, 7]], labels()[[5, 7]])
    assert not np.delete(both, [5, 7], 0).any()


def test_an_organ_is_known_by_its_name_and_values_do_not_clash():
    first = Library().add(support(scan(0), 6))
    other = Label(1, "Spleen", (1, 2, 3))
    added = add_examples(first.examples, support(scan(1), 6, organs=(other, Label(2, "tumour", (9, 9, 9)))))
    spleen, tumour = added.new
    assert spleen.organ == SPLEEN
    assert tumour.organ == Label(3, "tumour", (9, 9, 9))
    assert added.notes == ("tumour has the value 3 in the library, because spleen has 2",)


def test_names_are_given_or_counted_and_unique():
    made = Library().add(support(scan(0), 6), name="young")
    made = made.add(support(scan(1), 6, organs=(LIVER,)), name="old").add(support(scan(2), 6, organs=(LIVER,)))
    assert [e.name for e in made.examples] == ["young liver", "young spleen", "old", "liver 1"]
    with pytest.raises(SupportError, match="called 'OLD' already"):
        made.add(support(scan(3), 6, organs=(LIVER,)), name="OLD")


def test_what_is_there_is_not_doubled():
    made = Library().add(support(scan(), 6, organs=(LIVER,)))
    with pytest.raises(SupportError, match="nothing was added: liver on these slices .* as 'liver 1'"):
        made.add(support(scan(), 6, organs=(LIVER,)))
    added = add_examples(made.examples, support(scan(), 6))
    assert [e.name for e in added.new] == ["spleen 1"]
    assert "in the library already" in added.notes[0]


def test_of_a_scan_that_is_there_more_is_kept_never_less():
    crop = KeepSettings("crop", margin_mm=0.0)
    made = Library().add(support(scan(), 5, organs=(SPLEEN,)), keep=crop, scanner="3 T")
    before = made.examples[0].scan
    made = made.add(support(scan(), 8, organs=(LIVER,)), keep=crop)
    (kept,) = made.scans
    assert kept.slices == (4, 5, 6, 7, 8, 9)
    assert kept.box[0] <= before.box[0]
    assert kept.box[3] >= before.box[3]
    assert kept.scanner == "3 T"
    assert made.example("SPLEEN 1").scan is kept


def test_removing():
    made = Library().add(support(scan(0), 6)).add(support(scan(1), 6))
    fewer = made.remove("liver 2", "Spleen 1")
    assert [e.name for e in fewer.examples] == ["liver 1", "spleen 2"]
    assert len(made.examples) == 4
    with pytest.raises(SupportError, match="no example called 'lever 1'; did you mean 'liver 1'"):
        made.remove("lever 1")


def test_slices_are_the_middles_of_equal_parts():
    mask = np.zeros((12, 4, 4), np.uint8)
    mask[1:10, :2] = 1
    mask[4:6, 2:] = 7
    chosen = spread_slices(mask, 3)
    assert np.flatnonzero((chosen == 1).any((1, 2))).tolist() == [2, 5, 8]
    assert np.flatnonzero((chosen == 7).any((1, 2))).tolist() == [4, 5]
    np.testing.assert_array_equal(chosen[5], mask[5])
