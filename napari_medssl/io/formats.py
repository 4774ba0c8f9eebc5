"""Which module reads and writes which kind of file, found by name first and by content second."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from napari_medssl.errors import FormatError


@dataclass(frozen=True)
class Format:
    """One kind of file.

    module: the sibling module with `read(path, request)`, the parser's own exceptions in PARSER_ERRORS and, when
        `writable`, `write(path, volume)`; imported on first use, because each brings a large library.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    writable: bool = True

    def load(self) -> ModuleType:
        """The module that does the work."""
        return import_module(f"napari_medssl.io.{self.module}")


# Longest suffixes first: `.seg.nrrd` is no plain `.nrrd`.
FORMATS = (
    Format("3D Slicer segmentation", (".seg.nrrd",), "seg_nrrd"),
    Format("NIfTI", (".nii.gz", ".nii"), "nifti"),
    Format("MGH", (".mgz", ".mgh"), "nifti", writable=False),
    Format("NRRD", (".nrrd", ".nhdr"), "itk"),
    Format("MetaImage", (".mha", ".mhd"), "itk"),
    Format("NumPy archive", (".npz",), "npz"),
    Format("DICOM", (".dcm", ".dicom", ".ima"), "dicom", writable=False),
)
DICOM = FORMATS[-1]
_READ_ONLY = (".nhdr",)
WRITABLE = tuple(s for f in FORMATS if f.writable for s in f.suffixes if s not in _READ_ONLY)


def suffix_of(path: Path) -> str:
    """The known suffix of a path in lower case (`.nii.gz`, `.seg.nrrd`...), or its plain one."""
    name = path.name.lower()
    for kind in FORMATS:
        for suffix in kind.suffixes:
            if name.endswith(suffix) and len(name) > len(suffix):
                return suffix
    return path.suffix.lower()


def stem_of(path: Path) -> str:
    """The file name without its known suffix: `a.b.nii.gz` gives `a.b`."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name


def format_to_write(path: Path) -> Format:
    """The format a name asks for. Raises FormatError, naming the supported ones, when it is unknown."""
    suffix = suffix_of(path)
    for kind in FORMATS:
        if suffix in kind.suffixes and kind.writable and suffix not in _READ_ONLY:
            return kind
    raise FormatError(
        f"cannot write {path.name}: the ending {suffix or '(none)'!r} is no format to write; use one of "
        + ", ".join(WRITABLE)
    )


def format_to_read(path: Path) -> Format:
    """The format of an existing file or folder. Raises FormatError when nothing fits."""
    if path.is_dir():
        return DICOM
    suffix = suffix_of(path)
    for kind in FORMATS:
        if suffix in kind.suffixes:
            return kind
    found = _by_content(path)
    if found is None:
        endings = ", ".join(s for f in FORMATS for s in f.suffixes)
        raise FormatError(
            f"{path} is no medical volume: neither its ending {suffix or '(none)'!r} nor its first bytes are known; "
            f"supported are {endings} and folders with DICOM files"
        )
    return found


def _by_content(path: Path) -> Format | None:
    with path.open("rb") as handle:
        head = handle.read(512)
    packed = head[:2] == b"\x1f\x8b"
    if packed:
        head = _peek_gzip(path)
    by_name = {f.name: f for f in FORMATS}
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] == b"n+2\0":
        return by_name["NIfTI"]
    plain = {b"NRRD": "NRRD", b"Obje": "MetaImage", b"NDim": "MetaImage", b"PK\x03\x04": "NumPy archive"}
    if head[:4] in plain and not packed:
        return by_name[plain[head[:4]]]
    return DICOM if _is_dicom(head) and not packed else None


def looks_like_dicom(path: Path) -> bool:
    """Whether the first bytes of a file are those of a DICOM file; False when it cannot be opened."""
    try:
        with path.open("rb") as handle:
            return _is_dicom(handle.read(132))
    except OSError:
        return False


def _is_dicom(head: bytes) -> bool:
    # Files without the preamble start with a group of low number, little or big endian: old archives have them.
    return head[128:132] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02")


def _peek_gzip(path: Path) -> bytes:
    try:
        with gzip.open(path) as handle:
            return handle.read(512)
    except (OSError, EOFError, zlib.error):
        return b""
