"""A scan prepared for training: 8-bit voxels on a known grid, perhaps on disk."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume ready for drawing training examples.

    image: (Z, Y, X) uint8, the intensity window of the scan spread over 0..255; may be a read-only memory map.
    labels: (Z, Y, X) uint8 on the same grid, or None when unlabelled.
    spacing_mm: distances of voxels along z, y and x.
    name: file name. group: the data set it belongs to. subject: the person; scans of one subject never lie on both
        sides of a split.
    """

    image: np.ndarray
    labels: np.ndarray | None
    spacing_mm: tuple[float, float, float]
    name: str
    group: str
    subject: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        z, y, x = self.image.shape
        return int(z), int(y), int(x)

    # Where processes do not share memory from the start, each loader process gets a pickled copy of all scans. Of those
    # on disk it is their places; numpy would pickle the voxels.
    def __getstate__(self) -> dict[str, Any]:
        return {name: _Mapped.of(value) for name, value in self.__dict__.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({k: v.opened() if isinstance(v, _Mapped) else v for k, v in state.items()})


@dataclass(frozen=True)
class _Mapped:
    """Where the voxels of a memory map lie."""

    file: str
    offset: int
    shape: tuple[int, ...]
    dtype: str

    @staticmethod
    def of(value: Any) -> Any:
        """The place of a memory map of a whole array; anything else as it is."""
        whole = isinstance(getattr(value, "base", None), mmap.mmap)
        if whole and isinstance(value, np.memmap) and value.filename:
            return _Mapped(str(value.filename), value.offset, value.shape, value.dtype.str)
        return value

    def opened(self) -> np.ndarray:
        return np.memmap(self.file, np.dtype(self.dtype), "r", self.offset, self.shape)


def slice_stack(scan: Scan, z: int, channels: int = 1) -> Tensor:
    """(channels, Y, X) uint8: slice `z` in the middle of its neighbours; at the ends the outermost slice repeats."""
    return neighbours(scan.image, z, channels)


def neighbours(planes: np.ndarray, z: int, count: int) -> Tensor:
    """(count, Y, X): as `slice_stack`, of any (Z, Y, X) planes, such as a label map."""
    around = np.arange(count) - count // 2 + z
    return torch.from_numpy(planes[np.clip(around, 0, len(planes) - 1)])


def pick_scan(scans: Sequence[Scan], rng: np.random.Generator) -> Scan:
    """One scan; every data set counts by the square root of its number of scans, so that a large one does not rule."""
    groups: dict[str, list[int]] = {}
    for i, scan in enumerate(scans):
        groups.setdefault(scan.group, []).append(i)
    weights = np.sqrt([len(members) for members in groups.values()])
    members = list(groups.values())[int(rng.choice(len(weights), p=weights / weights.sum()))]
    return scans[members[int(rng.integers(len(members)))]]


def to_float(voxels: Tensor) -> Tensor:
    """Voxels in [0, 1] float32 from the 8-bit ones of a scan."""
    return voxels.to(torch.float32) / 255
