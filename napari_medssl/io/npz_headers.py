"""What the headers of a NumPy archive claim, read before any array is allocated."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from numpy.lib import format as npy

from napari_medssl.io.limits import check_claim


@dataclass(frozen=True)
class ArrayClaim:
    """One array of an archive: its shape, bytes per element, and its bytes in the file."""

    shape: tuple[int, ...]
    itemsize: int
    stored_bytes: int
    compressed: bool

    def check(self, path: Path, shape: tuple[int, ...] | None = None) -> None:
        """Raise FormatError when it is more than the file can hold, or than is sensible. shape: instead of its own."""
        check_claim(
            path, shape or self.shape, self.itemsize, stored_bytes=self.stored_bytes, compressed=self.compressed
        )


def array_claims(path: Path) -> Iterator[ArrayClaim]:
    """The claim of each array of an archive; raises what zipfile and NumPy raise for one that is damaged."""
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            with archive.open(part) as stream:
                version = npy.read_magic(stream)
                reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, kind = reader(stream)
            yield ArrayClaim(shape, kind.itemsize, part.compress_size, part.compress_type != zipfile.ZIP_STORED)
