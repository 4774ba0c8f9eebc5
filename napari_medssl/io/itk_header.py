"""The few facts of NRRD and MetaImage headers that SimpleITK does not tell: how the data is stored, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_HEAD_BYTES = 1 << 18


@dataclass(frozen=True)
class Stored:
    """Pixel data on disk: n bytes, deflated or not; itemsize 1 for text, 0 when the voxel type says it."""

    n: int
    compressed: bool
    itemsize: int


def stored_size(path: Path, *, nrrd: bool) -> Stored | None:
    """Size and packing of the pixel data; None when it lies in a list of files or is packed with bzip2."""
    fields = _fields(path, nrrd=nrrd)
    data = fields.get("data file" if nrrd else "elementdatafile", fields.get("datafile", ""))
    encoding = fields.get("encoding", "raw").lower()
    if data and data.upper() != "LOCAL":
        other = path.parent / data
        if not other.is_file():
            return None
        path = other
    if encoding in ("bz2", "bzip2"):
        return None
    compressed = encoding in ("gz", "gzip") if nrrd else fields.get("compresseddata", "").lower() == "true"
    text = encoding in ("txt", "text", "ascii") if nrrd else fields.get("binarydata", "true").lower() == "false"
    return Stored(path.stat().st_size, compressed, 1 if text else 0)


def has_orientation(path: Path, *, nrrd: bool) -> bool:
    """Whether the header names the directions of its axes."""
    fields = _fields(path, nrrd=nrrd)
    if nrrd:
        return "space directions" in fields and ("space" in fields)
    return any(name in fields for name in ("transformmatrix", "rotation", "orientation"))


def _fields(path: Path, *, nrrd: bool) -> dict[str, str]:
    """Field names in lower case and their values, up to the end of the header."""
    with path.open("rb") as handle:
        head = handle.read(_HEAD_BYTES)
    fields = {}
    for line in head.splitlines()[1 if nrrd else 0 :]:
        text = line.decode("utf-8", "replace")
        if nrrd and not text.strip():
            break
        name, mark, value = text.partition(":" if nrrd else "=")
        if mark and not text.startswith("#"):
            fields[name.strip().lower()] = value.strip()
        if not nrrd and name.strip().lower() == "elementdatafile":
            break
    return fields
