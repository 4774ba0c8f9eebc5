"""Unfinished results never lie among the finished ones, whatever ends a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from napari_medssl.errors import FormatError
from napari_medssl.explore.cohort.staging import move_in, staging

NO_PROCESS = 2**22 + 1  # above the largest process number Linux gives


def test_what_is_unfinished_goes_with_the_run(tmp_path: Path) -> None:
    def interrupted() -> None:
        with staging(tmp_path / "out") as folder:
            (folder / "half").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_run_is_swept_up_and_a_living_one_respected(tmp_path: Path) -> None:
    with staging(tmp_path) as folder:
        host_and_token = re.match(r"(\.unfinished-.*)-\d+-([0-9a-f]{8})$", folder.name)
        assert host_and_token
        name = f"{host_and_token[1]}-%d-{host_and_token[2]}"
    dead, elsewhere = tmp_path / (name % NO_PROCESS), tmp_path / ".unfinished-otherhost-7-01234567"
    dead.mkdir()
    elsewhere.mkdir()
    with staging(tmp_path):
        assert not dead.exists()
        assert elsewhere.exists()
    living = tmp_path / (name % 1)  # the first process of a system never ends
    living.mkdir()
    with pytest.raises(FormatError, match=r"process 1\) is writing"), staging(tmp_path):
        pass
    assert living.exists()


def test_folders_and_files_take_the_place_of_old_ones(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    for place, text in ((source, "new"), (out, "old")):
        (place / "a.zarr").mkdir(parents=True)
        (place / "a.zarr" / text).write_text(text)
        (place / "a.report.json").write_text(text)
    placed = move_in(("a.zarr", "a.report.json"), source, out)
    assert placed == (out / "a.zarr", out / "a.report.json")
    assert [p.name for p in (out / "a.zarr").iterdir()] == ["new"]
    assert (out / "a.report.json").read_text() == "new"
    with pytest.raises(FormatError, match="cannot put a.zarr"):
        move_in(("a.zarr", "a.report.json"), source, out)  # it is not there any more
    assert "unfinished" in (out / "a.report.json").read_text()
