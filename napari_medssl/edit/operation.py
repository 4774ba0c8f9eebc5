"""What an editing operation is: one organ's mask in, a proposed mask out."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_medssl.edit.box import Box
from napari_medssl.progress import Steps
from napari_medssl.registry import Registry


@dataclass(frozen=True, eq=False)
class Part:
    """What an operation sees of a label map: one organ and what lies around it. Nothing in it may be changed.

    organ: its label. mask: (Z, Y, X) bool, where it is; the box around it is at least a voxel wider, and wider by the
        operation's reach, where the scan goes on.
    free: (Z, Y, X) bool, voxels the organ may take: background, and other organs where these may be overwritten.
    labels: (Z, Y, X) the label map in the box. image, other: scan and second label map in the box, None without.
    painted: slices of the box the user painted this organ on.
    wanted: half-open range of slices of the box that may change.
    chosen: whether the caller chose that range, instead of allowing all slices.
    spacing_mm: along Z, Y, X. Grids are taken as right-angled; on a sheared one (gantry tilt) lengths are those along
        the axes.
    """

    organ: int
    mask: np.ndarray
    free: np.ndarray
    labels: np.ndarray
    spacing_mm: tuple[float, float, float]
    image: np.ndarray | None = None
    other: np.ndarray | None = None
    painted: tuple[int, ...] = ()
    wanted: tuple[int, int] = (0, 0)
    chosen: bool = False


@dataclass(frozen=True, eq=False)
class Proposal:
    """What an operation would have.

    mask: (Z, Y, X) bool on the box of the part, the organ as it should be.
    score: (Z, Y, X) float32, how much it wants each voxel: the highest score gets what several organs claim. None: 0.
    takes: labels the user named to be taken from, whether or not other organs may be overwritten.
    """

    mask: np.ndarray
    score: np.ndarray | None = None
    takes: tuple[int, ...] = ()


class Operation(ABC):
    """A tool with its settings: a frozen dataclass whose fields are the settings.

    title, hint: for people. needs_image: it looks at the scan. takes_other: it can look at a second label map.
    one_organ: it works on a single organ. looks_beyond: with a range of slices chosen it still sees the others, and
    makes those in the range anew; all other operations then see the range alone.
    """

    title: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    needs_image: ClassVar[bool] = False
    takes_other: ClassVar[bool] = False
    one_organ: ClassVar[bool] = False
    looks_beyond: ClassVar[bool] = False

    @property
    def reach_mm(self) -> float:
        """How far from the organ it may add or must look, in mm."""
        return 0.0

    def also(self, labels: np.ndarray, other: np.ndarray | None) -> Steps[Box | None]:
        """The box of what else it works with, None for nothing."""
        yield from ()
        return None

    @abstractmethod
    def propose(self, part: Part) -> Steps[Proposal]:
        """The organ as it should be. Raises SettingsError when the settings do not fit this organ or scan."""


operations: Registry[type[Operation]] = Registry("editing operation")


def name_of(operation: Operation) -> str:
    """The name an operation is registered under."""
    return next(name for name in operations if operations[name] is type(operation))


def describe(operation: Operation) -> str:
    """The operation with all its settings as the command line takes it.

    >>> from napari_medssl.edit import operations
    >>> describe(operations["grow"](mm=2.5))
    'grow mm=2.5 slice_by_slice=false'
    """
    fields = dataclasses.fields(operation)  # type: ignore[arg-type]  # every operation is a dataclass
    return " ".join([name_of(operation), *(f"{f.name}={_text(getattr(operation, f.name))}" for f in fields)])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
