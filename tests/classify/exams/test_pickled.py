"""Pickled arrays are read, and nothing in a pickle is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.classify.exams.pickled import load_pickled_array
from napari_medssl.errors import FormatError


class Trap:
    """Writes a file when it is unpickled the usual way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["uint8", "<i2", ">u2", "float32", "float64", "bool"])
def test_arrays_of_every_protocol_come_back(tmp_path: Path, protocol: int, dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(dtype)
    for n, given in enumerate((array, np.asfortranarray(array), array[:, ::2])):
        path = tmp_path / f"{n}.pck"
        path.write_bytes(pickle.dumps(given, protocol=protocol))
        found = load_pickled_array(path)
        assert found.dtype == given.dtype
        assert np.array_equal(found, given)


def test_pickles_of_python_2_come_back(tmp_path: Path) -> None:
    """As KneeMRI's files were written: byte strings, and the core of numpy under its old name."""
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
        b"(I1\n(I1\nI2\nI2\ntp6\ncnumpy\ndtype\np7\n(S'u2'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'<'\np11\n"
        b"NNNI-1\nI-1\nI0\ntp12\nbI00\nS'\\x01\\x00\\xff\\x00\\x00\\x01\\x00\\x02'\np13\ntp14\nb."
    )
    (tmp_path / "v.pck").write_bytes(content)
    assert load_pickled_array(tmp_path / "v.pck").tolist() == [[[1, 255], [256, 512]]]


def test_code_is_refused_and_not_run(tmp_path: Path) -> None:
    written, path = tmp_path / "written", tmp_path / "trap.pck"
    path.write_bytes(pickle.dumps(Trap(written)))
    with pytest.raises(FormatError, match=r"asks for (io|_io)\.open"):
        load_pickled_array(path)
    assert not written.exists()
    pickle.loads(path.read_bytes()).close()  # the guard of this test: the trap works when it is sprung
    assert written.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pickle.dumps(np.array([print, 1], object)), "asks for builtins.print"),
        (pickle.dumps(np.array([{}, 1], object)), "objects|no plain numbers"),
        (pickle.dumps([1, 2]), "holds a list"),
        (pickle.dumps(np.array(["a", "b"])), "no plain numbers"),
        (pickle.dumps(np.ones(3))[:-20], "no pickled array"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "rot13"),
        (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", "no pickled array"),
        (b"", "no pickled array"),
        (b"not a pickle", "no pickled array"),
    ],
)
def test_everything_else_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.pck"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=words):
        load_pickled_array(path)


def test_a_shape_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pck"
    path.write_bytes(pickle.dumps(np.ones((2, 3), np.uint8), protocol=2).replace(b"K\x02K\x03\x86", b"K\x02K\x63\x86"))
    with pytest.raises(FormatError, match="reshape"):
        load_pickled_array(path)
