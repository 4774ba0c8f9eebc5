"""Editing a label map: one operation on some organs of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.box import Box, boxes_steps, joined, widened
from napari_medssl.edit.change import Change
from napari_medssl.edit.claims import Claim, claim_of, settle
from napari_medssl.edit.operation import Operation, Part, name_of
from napari_medssl.edit.scope import Scope, painted_slices
from napari_medssl.errors import GeometryError, SettingsError
from napari_medssl.io.label_values import present
from napari_medssl.progress import Progress, Steps, finish, reporting
from napari_medssl.settings import check
from napari_medssl.volume import Volume

EVERYTHING = Scope()


def edit(
    labels: Volume,
    operation: Operation,
    *,
    scope: Scope = EVERYTHING,
    image: np.ndarray | None = None,
    other: np.ndarray | None = None,
) -> Change:
    """What `operation` changes in a label map, at once; see `edit_steps`."""
    return finish(edit_steps(labels, operation, scope=scope, image=image, other=other))


def edit_steps(
    labels: Volume,
    operation: Operation,
    *,
    scope: Scope = EVERYTHING,
    image: np.ndarray | None = None,
    other: np.ndarray | None = None,
) -> Steps[Change]:
    """What `operation` changes in a label map. Nothing given is changed: apply the change to have it.

    labels: (Z, Y, X) whole numbers; the affine gives the millimetres, `labels.labels` the organs that exist.
    scope: organs and slices to work on, and what must not be touched.
    image: (Z, Y, X) intensities on the same grid, for operations that need them. other: (Z, Y, X) second label map.

    Every organ is worked on as it was before the edit, in the box around it. An organ the operation cannot work on is
    left out and noted; when that is so for all of them, the reason is raised. Raises SettingsError for settings,
    organs or slices that do not fit, GeometryError for arrays on another grid.
    """
    check(operation)
    _check_inputs(labels, operation, scope, {"scan": image, "other label map": other, "painted mask": scope.painted})
    organs = scope.organs or tuple(o.value for o in labels.labels) or present(labels.data)
    _check_organs(organs, operation, labels.data.dtype)
    work = _Work(labels, operation, scope, organs, painted_slices(scope.painted), image, other)
    return (yield from work.steps())


@dataclass(frozen=True, eq=False)
class _Work:
    """An edit under way: what it was given, checked. organs: those worked on. painted: label to its painted slices."""

    labels: Volume
    operation: Operation
    scope: Scope
    organs: tuple[int, ...]
    painted: Mapping[int, Sequence[int]]
    image: np.ndarray | None
    other: np.ndarray | None

    def steps(self) -> Steps[Change]:
        boxes = yield from boxes_steps(self.labels.data, self.organs, low=self._seen[0], high=self._seen[1])
        extra = yield from self.operation.also(self.labels.data, self.other)
        claims: list[Claim] = []
        problems: list[str] = []
        takes: set[int] = set()
        locks = {} if self.scope.change_painted else self.painted
        for at, organ in enumerate(self.organs):
            box = self._box(boxes.get(organ), extra)
            if box is None:
                problems.append(f"organ {organ} has no voxel {self._where}; {name_of(self.operation)} needs some")
                continue
            part = self._part(organ, box)
            try:
                proposal = yield from reporting(self.operation.propose(part), _Share(at, len(self.organs)).of)
            except SettingsError as error:
                problems.append(str(error))
                continue
            takes |= set(proposal.takes)
            claims.append(claim_of(part, proposal, box, self.labels.shape, chosen=self.organs, locks=locks))
        if not claims:
            raise SettingsError(problems[0] if problems else "the label map has no organ; label one first")
        change = settle(claims, self.labels.shape, self.labels.data.dtype, takes=tuple(takes))
        return dataclasses.replace(change, notes=tuple(problems))

    @property
    def _range(self) -> tuple[int, int]:
        """Slices that may change."""
        return self.scope.slices or (0, self.labels.shape[0])

    @property
    def _seen(self) -> tuple[int, int]:
        """Slices the operation sees."""
        return (0, self.labels.shape[0]) if self.operation.looks_beyond else self._range

    @property
    def _where(self) -> str:
        low, high = self._range
        if self.scope.slices is None or self.operation.looks_beyond:
            return "in the label map"
        return f"on slice {low}" if high == low + 1 else f"on slices {low}:{high}"

    def _box(self, own: Box | None, extra: Box | None) -> Box | None:
        """What is worked on for an organ, with the room its operation needs; None for nothing."""
        box = own if extra is None else joined(own, extra)
        if box is None:
            return None
        low, high = self._seen
        z = slice(max(box[0].start, low), min(box[0].stop, high))
        if z.start >= z.stop:
            return None
        _, height, width = self.labels.shape
        within = (slice(low, high), slice(0, height), slice(0, width))
        return widened((z, box[1], box[2]), self.operation.reach_mm, self.labels.spacing_mm, within=within)

    def _part(self, organ: int, box: Box) -> Part:
        near = self.labels.data[box]
        first, last = box[0].start, box[0].stop
        low, high = self._range
        return Part(
            organ,
            mask=near == organ,
            free=~np.isin(near, self.organs) if self.scope.overwrite else near == 0,
            labels=near,
            spacing_mm=self.labels.spacing_mm,
            image=None if self.image is None else self.image[box],
            other=None if self.other is None else self.other[box],
            painted=tuple(z - first for z in self.painted.get(organ, ()) if first <= z < last),
            wanted=(max(0, low - first), max(0, min(last, high) - first)),
            chosen=self.scope.slices is not None,
        )


@dataclass(frozen=True)
class _Share:
    """The progress of one organ as progress of all."""

    at: int
    count: int

    def of(self, progress: Progress) -> Progress:
        total = progress.total or 1
        return dataclasses.replace(progress, done=self.at * total + progress.done, total=self.count * total)


def _check_organs(organs: Sequence[int], operation: Operation, dtype: np.dtype) -> None:
    if operation.one_organ and len(organs) != 1:
        raise SettingsError(f"{name_of(operation)} works on one organ; choose it (there are {len(organs)})")
    top = int(np.iinfo(dtype).max)
    for organ in organs:
        if not 1 <= organ <= top:
            raise SettingsError(f"there can be no organ {organ} in this label map; choose a label from 1 to {top}")


def _check_inputs(labels: Volume, operation: Operation, scope: Scope, arrays: Mapping[str, np.ndarray | None]) -> None:
    if not np.issubdtype(labels.data.dtype, np.integer):
        raise GeometryError(f"a label map has whole numbers, this one is {labels.data.dtype}; read it with labels=True")
    if operation.needs_image and arrays["scan"] is None:
        raise SettingsError(f"{name_of(operation)} looks at intensities; give the scan the labels were made on")
    for name, array in arrays.items():
        if array is not None and array.shape != labels.shape:
            raise GeometryError(
                f"the {name} has shape {array.shape}, the label map {labels.shape}; use the one made on this scan"
            )
    depth = labels.shape[0]
    if scope.slices is not None and not 0 <= scope.slices[0] < scope.slices[1] <= depth:
        low, high = scope.slices
        raise SettingsError(f"the slices {low}:{high} lie outside the label map, whose slices are 0:{depth}")
