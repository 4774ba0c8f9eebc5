"""A library file: the same again after reading, a sentence for what is no library, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from napari_medssl.errors import FormatError
from napari_medssl.library import Library
from tests.library.conftest import scan, support


@pytest.fixture
def path(library, tmp_path) -> Path:
    library.save(tmp_path / "organs.medssl")
    return tmp_path / "organs.medssl"


def rewrite(path: Path, *, tensors=None, card=None, **meta) -> None:
    """The file with some of its parts replaced, as an editor without our checks would."""
    with safe_open(path, "np") as f:
        old = f.metadata()
    facts = json.loads(old["card"])
    if card:
        card(facts)
    save_file({**load_file(path), **(tensors or {})}, path, {**old, "card": json.dumps(facts), **meta})


def test_the_same_again(library, path):
    again = Library.load(path)
    assert again.sha256 == library.sha256
    assert len(again.scans) == 2
    for a, b in zip(again.examples, library.examples, strict=True):
        assert (a.name, a.organ, a.note, a.licence, a.slices) == (b.name, b.organ, b.note, b.licence, b.slices)
        assert a.scan.scanner == "1.5 T"
        assert a.scan.volume().content_hash == b.scan.volume().content_hash
        np.testing.assert_array_equal(a.planes(), b.planes())


def test_the_file_names_no_patient_and_no_path(tmp_path):
    volume = scan()
    object.__setattr__(volume, "source", Path("/data/Doe_Jane_1970-01-01/scan.nii.gz"))
    Library().add(support(volume, 6)).save(tmp_path / "a.medssl")
    content = (tmp_path / "a.medssl").read_bytes()
    assert b"liver" in content
    assert b"Doe" not in content
    assert b"scan.nii" not in content


def test_adding_to_a_file_keeps_what_is_there(library, path):
    more = Library.load(path).add(support(scan(5), 6)).save(path)
    assert [e.name for e in more.examples] == [*(e.name for e in library.examples), "liver 3", "spleen 3"]
    assert Library.load(path).sha256 == more.sha256


def test_a_file_that_changed_meanwhile_is_not_overwritten(path):
    mine, theirs = Library.load(path), Library.load(path)
    theirs.add(support(scan(5), 6)).save(path)
    with pytest.raises(FormatError, match="has changed since it was read"):
        mine.add(support(scan(6), 6)).save(path)
    assert len(Library.load(path).examples) == 6
    with pytest.raises(FormatError, match="exists already"):
        Library().add(support(scan(6), 6)).save(path)
    Library().add(support(scan(6), 6)).save(path, overwrite=True)
    assert len(Library.load(path).examples) == 2
    assert [p.name for p in path.parent.iterdir()] == ["organs.medssl"]


def test_a_failing_disk_leaves_the_old_file(path, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_medssl.io.atomic._flush", full)
    with pytest.raises(FormatError, match="the disk is full"):
        Library.load(path).add(support(scan(5), 6)).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["organs.medssl"]


def test_an_empty_library_can_be_kept(library, path):
    emptied = Library.load(path).remove(*(e.name for e in library.examples)).save(path)
    assert emptied.examples == ()


def test_the_ending_is_ours(library, tmp_path):
    with pytest.raises(FormatError, match=r"call it organs.medssl"):
        library.save(tmp_path / "organs.zip")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_file_cut_off(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FormatError, match="cut off or damaged"):
        Library.load(path)


def test_foreign_files(path, tmp_path):
    with pytest.raises(FormatError, match="there is no library at"):
        Library.load(tmp_path / "absent.medssl")
    (tmp_path / "text.medssl").write_text("dear diary")
    with pytest.raises(FormatError, match="is no library, or it is cut off"):
        Library.load(tmp_path / "text.medssl")
    save_file({"a": np.zeros(3)}, tmp_path / "w.medssl", {"format": "1", "modules": "{}"})
    with pytest.raises(FormatError, match="holds weights, not a library"):
        Library.load(tmp_path / "w.medssl")
    save_file({"a": np.zeros(3)}, tmp_path / "f.medssl")
    with pytest.raises(FormatError, match="no library of napari-medssl"):
        Library.load(tmp_path / "f.medssl")


def test_a_newer_file(path):
    rewrite(path, version="2")
    with pytest.raises(FormatError, match=r"version '2', this program reads up to 1; update"):
        Library.load(path)


def _voxel(path: Path) -> dict[str, np.ndarray]:
    detail = load_file(path)["scan.0.detail"]
    detail[0, 0, 0] += 1
    return {"scan.0.detail": detail}


def _mask(path: Path) -> dict[str, np.ndarray]:
    mask = load_file(path)["example.0.mask"]
    mask[0, 0] = True
    return {"example.0.mask": mask}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (_voxel, "voxels of scan 0 are not those that were saved"),
        (_mask, "not the one that was saved"),
        (lambda _: {"scan.0.detail": np.zeros((2, 2), np.int16)}, "voxels have the shape"),
        (lambda _: {"scan.0.overview": np.zeros((1, 1, 1), np.int16)}, "another size"),
        (lambda _: {"example.0.mask": np.zeros((3, 2, 2), np.float32)}, "one plane per labelled slice"),
    ],
)
def test_damaged_arrays(path, tensors, message):
    rewrite(path, tensors=tensors(path))
    with pytest.raises(FormatError, match=f"is damaged .*{message}"):
        Library.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card["examples"][0].update(scan=9), "IndexError"),
        (lambda card: card["examples"][0].update(scan=-1), "whole numbers belong"),
        (lambda card: card["examples"][1].update(name="LIVER 1"), "same name"),
        (lambda card: card["examples"][1]["organ"].update(value=1), "share a value or a name"),
        (lambda card: card["examples"][0].update(corner=[999, 0]), "reaches out"),
        (lambda card: card["scans"][0].pop("affine"), "KeyError: 'affine'"),
        (lambda card: card["scans"][0].update(shape=[10**9] * 3), "another size"),
        (lambda card: card.update(scans=None), "cannot be understood"),
    ],
)
def test_damaged_cards(path, change, message):
    rewrite(path, card=change)
    with pytest.raises(FormatError, match=message):
        Library.load(path)
