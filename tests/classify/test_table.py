"""Tables of labels: what they say, and that every bad row is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_medssl.classify.table import read_label_table
from napari_medssl.errors import FormatError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        (tmp_path / name).touch()
    return tmp_path


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_one_column_of_words_is_classes(folder: Path) -> None:
    read = read_label_table(table(folder, "file,subject,group\na.nii.gz,p1,ill\nb.nii.gz,p2,well\n"))
    assert (read.kind, read.labels) == ("one", ("ill", "well"))
    assert np.array_equal(read.targets, [[1, 0], [0, 1]])
    assert [(r.exam, r.person, r.file.name) for r in read.rows] == [("a", "p1", "a.nii.gz"), ("b", "p2", "b.nii.gz")]


def test_several_yes_or_no_columns(folder: Path) -> None:
    text = "file,age,acl,meniscus,slice\na.nii.gz,31,1,no,4\nb.nii.gz,40,0,YES,\n"
    read = read_label_table(table(folder, text))
    assert (read.kind, read.labels) == ("several", ("acl", "meniscus"))
    assert np.array_equal(read.targets, [[1, 0], [0, 1]])
    assert [r.slice for r in read.rows] == [4, None]


def test_chosen_columns_and_names(folder: Path) -> None:
    text = "file,subject,phase,group\na.nii.gz,p1,ED,x\nb.nii.gz,p1,ES,x\nc.nii.gz,p2,ED,y\n"
    path = table(folder, text)
    with pytest.raises(FormatError, match="--label"):
        read_label_table(path)
    read = read_label_table(path, labels=["group"], exam="subject", plane="phase")
    assert [(r.exam, r.plane) for r in read.rows] == [("p1", "ED"), ("p1", "ES"), ("p2", "ED")]
    with pytest.raises(FormatError, match="no column 'grup'"):
        read_label_table(path, labels=["grup"])


def test_every_bad_row_is_named(folder: Path) -> None:
    text = "file,ill\na.nii.gz,1\nb.nii.gz,\nc.nii.gz,maybe\nmissing.nii.gz,0\na.nii.gz,1\n"
    with pytest.raises(FormatError) as caught:
        read_label_table(table(folder, text), labels=["ill"])
    # "maybe" makes it a column of classes, so only what is empty, missing or there twice is wrong.
    assert "3 of the 5 rows" in str(caught.value)
    for part in ("line 3: no ill", "line 5", "is not there", "line 6: a.nii.gz stands on line 2 already"):
        assert part in str(caught.value)
    two = "file,ill,old\na.nii.gz,1,0\nb.nii.gz,2,1\n"
    with pytest.raises(FormatError, match="line 3: ill is '2', neither 0 nor 1"):
        read_label_table(table(folder, two), labels=["ill", "old"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"), ("file,ill\n", "no rows"), ("name,ill\na,1\n", "no column 'file'"),
        ("file\na.nii.gz\n", "no column with labels"), ("file,ill,ill\na.nii.gz,1,1\n", "two columns"),
        ("file,exam,ill\na.nii.gz,x,1\nb.nii.gz,x,1\n", "the exam x stands on line 2 already"),
        ("file,exam,plane,ill\na.nii.gz,x,s,1\nb.nii.gz,x,t,0\n", "other labels on line 2"),
        ("file,exam,plane,person,ill\na.nii.gz,x,s,p,1\nb.nii.gz,x,t,q,1\n", "is of q, on line 2 of p"),
        ("file,person,ill\na.nii.gz,,1\n", "line 2: no person"), ("file,slice,ill\na.nii.gz,x,1\n", "no whole number"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(folder: Path, text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        read_label_table(table(folder, text))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xff\xfe\x00file")
    with pytest.raises(FormatError, match="CSV file in UTF-8"):
        read_label_table(path)
