"""Folders for results are made, or refused before the work begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_medssl.errors import FormatError
from napari_medssl.io.folders import make_folder, try_folder


def test_a_folder_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(make_folder(tmp_path / "a" / "b").iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(FormatError, match=r"a is a file; give a folder"):
        make_folder(tmp_path / "a")
    with pytest.raises(FormatError, match=r"cannot make the folder .* \(Not a directory\); choose another"):
        make_folder(tmp_path / "a" / "b")


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(FormatError, match=r"cannot write into the folder .* \(Read-only file system\); choose another"):
        try_folder(tmp_path)
