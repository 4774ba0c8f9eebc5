"""How much memory a run needs and how much there is, asked before the run begins."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_medssl.errors import OutOfMemoryError

MIB = 1 << 20
_FLOAT_COPIES = 3  # float32 copies of the scan that a run for one organ may hold at once: the project's own limit
# Each further organ, in bytes per voxel beside its probability map. Within one scan 512 x 512 x 400 voxels took 1.0 GiB
# for one organ, 1.8 for three and 2.7 for five, all recognised and revised: 3.7 to 4.3 bytes for each with its map.
# Across scans one and three took 1.1 and 1.7 GiB (features not counted).
_ORGAN_BYTES = 3
# Peak of an encoder at work on one slice, in float32 planes of its input square: 124 for slice-resnet, 56 for the
# feature bank, 317 for the ResNet-101 were measured (resident memory, float32, batch of one).
_PLANES_PER_SLICE = 320
_HEADROOM = 0.95  # of what is free: the rest of the system moves too


@dataclass(frozen=True)
class Estimate:
    """Bytes of host memory one run needs at its peak.

    model: weights. workspace: encoding one slice. features: of the query and every support. volume: working
    copies of the query, more of them with more organs. probability: float16 maps, one per organ.
    """

    model: int
    workspace: int
    features: int
    volume: int
    probability: int = 0

    @property
    def total(self) -> int:
        """All parts together."""
        return self.model + self.workspace + self.features + self.volume + self.probability


def estimate(
    shape: tuple[int, int, int],
    *,
    model_bytes: int,
    input_size: int,
    feature_bytes: int,
    organs: int = 0,
) -> Estimate:
    """What a run on a (Z, Y, X) scan needs.

    model_bytes: of all weights. input_size: side of the encoder's square. feature_bytes: of all feature stacks that
    must be in memory together. organs: how many probability maps come back; 0 for encoding alone, which converts a
    batch of slices at a time and never the whole scan.
    """
    voxels = shape[0] * shape[1] * shape[2]
    return Estimate(
        model=model_bytes,
        workspace=_PLANES_PER_SLICE * input_size * input_size * 4,
        features=feature_bytes,
        volume=(_FLOAT_COPIES * 4 + _ORGAN_BYTES * (organs - 1)) * voxels if organs else 0,
        probability=organs * voxels * 2,
    )


def require(need: Estimate, *, what: str, available: int | None = None) -> None:
    """Raise OutOfMemoryError when `need` is more than what is free.

    what: the work, for the message ("segmenting a scan of 400 x 512 x 512 voxels"). available: bytes; measured when
    None. Where nothing can be measured nothing is refused.
    """
    free = available_bytes() if available is None else available
    if free is None or need.total <= free * _HEADROOM:
        return
    raise OutOfMemoryError(
        f"{what} needs about {_gib(need.total)} of memory but {_gib(free)} is free "
        f"(scan {_gib(need.volume + need.probability)}, features {_gib(need.features)}, "
        f"weights and workspace {_gib(need.model + need.workspace)}); "
        "close other programs, crop or downsample the scan, or label fewer organs at once"
    )


def batch_that_fits(per_item: int, wanted: int, *, available: int | None = None) -> int:
    """At most `wanted` items, fewer when their workspace of `per_item` bytes each would fill half of what is free."""
    free = available_bytes() if available is None else available
    if free is None:
        return wanted
    return max(1, min(wanted, free // 2 // max(1, per_item)))


def workspace_bytes(input_size: int) -> int:
    """Peak bytes of encoding one slice of a square of `input_size` pixels."""
    return _PLANES_PER_SLICE * input_size * input_size * 4


def available_bytes(root: Path = Path("/")) -> int | None:
    """Bytes of host memory that can be taken now without swapping, or None when the system does not say.

    The smaller of what the machine and what the container (Linux control group) allows. root: where the system's
    files are, for tests.
    """
    known = [n for n in (_machine_bytes(root), _control_group_bytes(root)) if n is not None]
    return min(known) if known else None


def _machine_bytes(root: Path) -> int | None:
    meminfo = root / "proc" / "meminfo"
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in fields:
            return int(fields["MemAvailable"].split()[0]) * 1024
    if sys.platform == "win32":
        return _windows_bytes()
    names: Any = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and sys.platform == "darwin":
        # macOS does not tell what is free without its own libraries; half of the machine is a careful guess.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _control_group_bytes(root: Path) -> int | None:
    """Limit minus use of this process' control group and its parents, versions 1 and 2; None without a limit."""
    listing = root / "proc" / "self" / "cgroup"
    if not listing.is_file():
        return None
    found: list[int] = []
    for line in listing.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = mount / path.lstrip("/")
        # Inside a container the path is the host's and does not exist here: the limit then lies at the mount itself.
        for folder in (group, *group.parents):
            free = _group_free(folder, *names)
            if free is not None:
                found.append(free)
            if folder == mount:
                break
    return min(found) if found else None


def _group_free(folder: Path, limit_name: str, use_name: str, reclaimable: str) -> int | None:
    try:
        limit_text = (folder / limit_name).read_text().strip()
        used = int((folder / use_name).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit_text == "max" or int(limit_text) >= 1 << 60:  # version 1 writes a huge number for "no limit"
        return None
    # Page cache counts as used but is given back on demand.
    return max(0, int(limit_text) - used + int(statistics.get(reclaimable, 0)))


def _windows_bytes() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "page", "free_page", "virtual", "free_virtual")),
            ("free_extended", ctypes.c_ulonglong),
        ]

    status = Status()
    status.length = ctypes.sizeof(Status)
    windll: Any = getattr(ctypes, "windll", None)
    if windll is None or not windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.free)


def _gib(n: int) -> str:
    return f"{n / 1024**3:.1f} GiB" if n >= 100 * MIB else f"{n / MIB:.0f} MiB"
