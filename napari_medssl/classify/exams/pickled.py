"""Arrays out of pickle files, read without running anything that is in them."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError

_NUMBERS = re.compile(r"[biuf][1248]\Z")
_MAX_BYTES = 2**32


def load_pickled_array(path: Path) -> npt.NDArray[Any]:
    """The one array of numbers in a pickle file, of Python 2 or 3, protocols 0 to 5.

    A pickle is a program, and the usual way of reading one runs whatever it names. Here nothing of it is run: the few
    names a pickled array needs stand for records that only take notes, every other name is refused, and the array is
    made afterwards from what was noted. KneeMRI comes as such files (.pck).

    Raises FormatError when the file cannot be read, names anything else, or holds no array of plain numbers.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise FormatError(f"{path} has {size / 2**30:.1f} GiB, too much for one scan; check the file")
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        found = _Reader(io.BytesIO(content), encoding="latin1").load()
        if not isinstance(found, _Array):
            raise pickle.UnpicklingError(f"it holds a {type(found).__name__}")
        return found.array()
    except _DAMAGE as error:
        raise FormatError(
            f"{path} is no pickled array of numbers ({error}); only such files are read, because a pickle can run "
            "any program"
        ) from error


_DAMAGE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError,
    MemoryError, UnicodeError,
)  # fmt: skip


class _Dtype:
    """What a pickled dtype says: its code, and in its state the byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = str(code), "|"

    def __setstate__(self, state: Any) -> None:
        self.order = str(state[1])

    def dtype(self) -> np.dtype[Any]:
        if not _NUMBERS.match(self.code) or self.order not in "<>|=":
            raise ValueError(f"values of the type {self.code!r} are no plain numbers")
        return np.dtype(("" if self.order == "|" else self.order) + self.code)


class _Array:
    """What a pickled array says: shape, type, order of axes, bytes."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.kind: Any = None
        self.columns_first = False
        self.content: Any = None

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.columns_first, self.content = state

    def array(self) -> npt.NDArray[Any]:
        if not isinstance(self.kind, _Dtype) or not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise ValueError("the array is incomplete or empty")
        content = self.content.encode("latin1") if isinstance(self.content, str) else self.content
        if not isinstance(content, (bytes, bytearray)):
            raise ValueError("the array holds objects instead of numbers")
        flat = np.frombuffer(content, self.kind.dtype())
        return flat.reshape(self.shape, order="F" if self.columns_first else "C").copy()


class _NdarrayName:
    """Stands for the class itself, which older pickles hand to `_reconstruct`."""


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _frombuffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    found = _Array()
    found.__setstate__((1, shape, kind, order == "F", bytes(content)))
    return found


def _encode(text: Any, encoding: Any) -> bytes:
    """How protocol 2 writes bytes; other codecs than this one do more than they seem to."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise pickle.UnpicklingError(f"text in the encoding {encoding!r}")
    return text.encode("latin1")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    # What it can name is listed above, and none of that acts.
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _NAMES[module, name]
