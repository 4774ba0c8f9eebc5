"""Sizes a header may claim, checked before any memory is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from napari_medssl.errors import FormatError

# 2**32 voxels are 8 GiB as int16, eight times a whole-body CT of 512 x 512 x 2000.
MAX_VOXELS = 2**32
# Deflate cannot shrink more than 1032 times (RFC 1951: 258 bytes from 2 bits).
MAX_DEFLATE = 1032


def check_claim(path: Path, shape: Sequence[int], itemsize: int, *, stored_bytes: int, compressed: bool) -> None:
    """Raise FormatError when a header claims more voxels than the file can hold, or than is sensible.

    shape: every axis of the file, 4D included. itemsize: bytes per voxel. stored_bytes: size of the pixel data on disk.
    """
    if any(n < 1 for n in shape):
        raise FormatError(f"{path} claims the size {_times(shape)}; every axis needs at least one voxel")
    voxels = math.prod(int(n) for n in shape)
    capacity = stored_bytes * (MAX_DEFLATE if compressed else 1)
    if voxels * itemsize > capacity or voxels > MAX_VOXELS * 64:
        raise FormatError(
            f"{path} claims {_times(shape)} voxels ({_bytes(voxels * itemsize)}) but can hold at most "
            f"{_bytes(capacity)}; the header is damaged or the file is cut off. Copy it again from its source"
        )
    if math.prod(int(n) for n in shape[:3]) > MAX_VOXELS:
        raise FormatError(f"{path} has {_times(shape)} voxels, more than fit in memory; crop or downsample it first")


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(int(n)) for n in shape)


def _bytes(n: int) -> str:
    if n >= 2**30:
        return f"{n / 2**30:.1f} GiB"
    return f"{n / 2**20:.1f} MiB" if n >= 2**20 else f"{n} bytes"
