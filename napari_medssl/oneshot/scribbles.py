"""Corrections of a result: what the user painted holds, and the map around it follows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.labels import Label, default_label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.spreading import Spread, reach_vox, spread_change
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume

Box = tuple[slice, slice, slice]
REACH_MM = 40.0
"""How far around a stroke the map may change, in the plane of the slices."""
THROUGH_MM = 25.0
"""How far it may change through the slices, and at least one slice."""
_HOW = Spread()
_MOVED = 0.01  # a smaller change of a probability leaves the label what it was
_SEEN = 0.02  # of an organ whose map is below this at a stroke there is nothing to take back around it


@dataclass(frozen=True)
class _Scene:
    """What a correction needs to know beside the map itself.

    held: organ to the slices that are labelled wholly, which nothing spreads into. span: half-open range of slices.
    """

    query: Volume
    limits: tuple[float, float]
    held: Mapping[int, tuple[int, ...]]
    span: tuple[int, int]
    threshold: float


def correct(
    query: Volume,
    result: Segmentation,
    strokes: Sequence[Stroke],
    *,
    supports: Sequence[Support] = (),
    settings: SegmentSettings | None = None,
) -> Segmentation:
    """`correct_steps` run to the end."""
    return finish(correct_steps(query, result, strokes, supports=supports, settings=settings))


def correct_steps(
    query: Volume,
    result: Segmentation,
    strokes: Sequence[Stroke],
    *,
    supports: Sequence[Support] = (),
    settings: SegmentSettings | None = None,
) -> Steps[Segmentation]:
    """The result with more strokes in it, one after the other; no network is asked.

    query: the scan of the result. strokes: what was painted, in order. supports: labelled slices, which a correction
    does not spread into. settings: threshold and intensity window of the run.

    Each stroke changes the maps of the organs it concerns within `REACH_MM` of it and `THROUGH_MM` through the slices
    (oneshot/spreading); labels change only where a map did. The voxels painted are what was painted, whatever comes
    after; of two strokes over one voxel the later one counts. To give strokes one at a time or all at once comes to
    the same. About 0.1 s a stroke and organ on one core.

    Yields Progress per stroke. `result` stays as it is. Raises SupportError for a stroke outside the scan.
    """
    settings = settings or SegmentSettings()
    span = result.report.get("slice_range") or (0, query.shape[0])
    limits = window_limits(query, settings.intensity)
    scene = _Scene(query, limits, _held(query, supports), (int(span[0]), int(span[1])), settings.threshold)
    work = _Work(result, scene)
    for i, stroke in enumerate(strokes):
        yield Progress(i, len(strokes), "correcting")
        stroke.check(query.shape)
        work.heed(stroke)
    return work.result()


def with_corrections(
    query: Volume,
    result: Segmentation,
    supports: Sequence[Support],
    *,
    settings: SegmentSettings,
) -> Segmentation:
    """What the supports on the query say beside their labelled slices, put into a result: absences, then strokes.

    supports: those of the query itself. Without strokes and absences the result is given back as it is.
    """
    absent = absences(supports)
    strokes = [stroke for support in supports for stroke in support.strokes]
    if absent:
        result = _without(query, result, supports, absent)
    return correct(query, result, strokes, supports=supports, settings=settings) if strokes else result


def absences(supports: Sequence[Support]) -> dict[int, tuple[int, ...]]:
    """Organ to the slices some support says it is not on, ascending."""
    found: dict[int, set[int]] = {}
    for support in supports:
        for organ, slices in support.absent.items():
            found.setdefault(organ, set()).update(slices)
    return {organ: tuple(sorted(slices)) for organ, slices in found.items() if slices}


def _without(
    query: Volume, result: Segmentation, supports: Sequence[Support], absent: Mapping[int, tuple[int, ...]]
) -> Segmentation:
    """The result without organs on slices where they are not, and beyond."""
    probability, labels = dict(result.probability), result.labels.data.copy()
    labelled = _painted_slices(supports)
    for organ, slices in absent.items():
        if organ not in probability:
            continue
        found = probability[organ].copy()
        for low, high in emptied_ranges(slices, tuple(labelled.get(organ, ())), found):
            found[low:high] = 0
            part = labels[low:high]
            part[part == organ] = 0
        probability[organ] = found
    told = {str(organ): list(slices) for organ, slices in absent.items()}
    report = result.report | {"absent": told}
    return dataclasses.replace(
        result, labels=result.labels.like(labels, result.labels.labels), probability=probability, report=report
    )


def emptied_ranges(slices: Sequence[int], labelled: Sequence[int], found: np.ndarray) -> Iterator[tuple[int, int]]:
    """Half-open ranges without the organ: each slice it is not on, with all beyond where the organ is on one side.

    labelled: slices the organ is painted on, which stay. Without any (it was found by an example of another scan) the
    organ is where most of its map is.
    """
    depth, painted = len(found), set(labelled)
    if not labelled:
        mass = [float(plane.sum(dtype=np.float64)) for plane in found]
        labelled = [int(np.argmax(mass))] if any(mass) else []
    for z in slices:
        if z in painted:  # what was painted counts more than what was said
            continue
        beyond_low = bool(labelled) and all(at > z for at in labelled)
        beyond_high = bool(labelled) and all(at < z for at in labelled)
        yield (0 if beyond_low else z, depth if beyond_high else z + 1)


def _painted_slices(supports: Sequence[Support]) -> dict[int, set[int]]:
    slices: dict[int, set[int]] = {}
    for support in supports:
        for z in support.slices:
            for organ in np.unique(support.mask[z]):
                if organ:
                    slices.setdefault(int(organ), set()).add(z)
    return slices


def _held(query: Volume, supports: Sequence[Support]) -> dict[int, tuple[int, ...]]:
    here = [s for s in supports if s.volume is query or s.volume.content_hash == query.content_hash]
    held = _painted_slices(here)
    for organ, slices in absences(here).items():
        held.setdefault(organ, set()).update(slices)
    return {organ: tuple(sorted(slices)) for organ, slices in held.items()}


class _Work:
    """A result being corrected: maps are copied when they are first changed."""

    def __init__(self, result: Segmentation, scene: _Scene) -> None:
        self._old, self._scene = result, scene
        self._maps = dict(result.probability)
        self._own: set[int] = set()
        self._labels = result.labels.data.copy()
        self._strokes = list(result.strokes)

    def heed(self, stroke: Stroke) -> None:
        """Put one stroke into maps and labels."""
        if not len(stroke):
            return
        self._make_room(stroke)
        boxes = _boxes(stroke, self._scene.query, self._scene.span)
        moved = [np.zeros(tuple(s.stop - s.start for s in box), bool) for box in boxes]
        for organ in list(self._maps):
            target = (stroke.values == organ).astype(np.float32)
            there = float(self._maps[organ][stroke.index].max())
            if not target.any() and not there:
                continue
            self._own_map(organ)
            if target.any() or there >= _SEEN:
                self._spread(organ, stroke, target, boxes, moved)
            self._maps[organ][stroke.index] = target
        for box, where in zip(boxes, moved, strict=True):
            self._relabel(box, where)
        self._strokes.append(stroke)
        for painted in self._strokes:  # also where an earlier stroke lies in what was relabelled
            self._labels[painted.index] = painted.values

    def result(self) -> Segmentation:
        """What has come of it."""
        known = {label.value: label for label in self._old.labels.labels}
        organs: tuple[Label, ...] = tuple(known.get(v, default_label(v)) for v in sorted({*known, *self._maps}))
        at = [np.ravel_multi_index(stroke.index, self._labels.shape) for stroke in self._strokes]
        voxels = len(np.unique(np.concatenate(at))) if at else 0
        report = self._old.report | {"corrections": {"strokes": len(self._strokes), "voxels": voxels}}
        labels = self._old.labels.like(self._labels, organs)
        return Segmentation(labels, self._maps, report, tuple(self._strokes))

    def _make_room(self, stroke: Stroke) -> None:
        """An organ that only strokes know gets an empty map, and the labels a type that holds it."""
        for organ in np.unique(stroke.values):
            if organ and int(organ) not in self._maps:
                self._maps[int(organ)] = np.zeros(self._labels.shape, np.float16)
                self._own.add(int(organ))
        highest = int(stroke.values.max())
        if highest > np.iinfo(self._labels.dtype).max:
            self._labels = self._labels.astype(np.uint16 if highest < 1 << 16 else np.int32)

    def _own_map(self, organ: int) -> None:
        if organ not in self._own:
            self._maps[organ] = self._maps[organ].copy()
            self._own.add(organ)

    def _spread(
        self, organ: int, stroke: Stroke, target: np.ndarray, boxes: Sequence[Box], moved: Sequence[np.ndarray]
    ) -> None:
        found = self._maps[organ]
        for box, where in zip(boxes, moved, strict=True):
            change, fixed = self._constraints(organ, stroke, target, box)
            before = found[box].astype(np.float32)
            image = to_unit(self._scene.query.data[box], self._scene.limits)
            u = spread_change(change, fixed, before, image, spacing_mm=self._scene.query.spacing_mm, how=_HOW)
            found[box] = np.clip(before + u, 0, 1)
            where |= np.abs(u) > _MOVED

    def _constraints(self, organ: int, stroke: Stroke, target: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
        """(change, where it is fixed) in a box: none on labelled slices and earlier strokes, the new one's own."""
        shape = tuple(s.stop - s.start for s in box)
        change, fixed = np.zeros(shape, np.float32), np.zeros(shape, bool)
        for z in self._scene.held.get(organ, ()):
            if box[0].start <= z < box[0].stop:
                fixed[z - box[0].start] = True
        corner = np.array([s.start for s in box])
        for earlier in self._strokes:
            at = earlier.at - corner
            at = at[((at >= 0) & (at < shape)).all(axis=1)]
            fixed[tuple(at.T)] = True
        at = stroke.at - corner
        inside = ((at >= 0) & (at < shape)).all(axis=1)
        index = tuple(at[inside].T)
        fixed[index] = True
        change[index] = target[inside] - self._maps[organ][stroke.index][inside]
        return change, fixed

    def _relabel(self, box: Box, where: np.ndarray) -> None:
        """Let the organs compete again for the voxels of a box whose maps have changed, but for labelled ones."""
        for organ, slices in self._scene.held.items():
            for z in slices:
                if box[0].start <= z < box[0].stop:
                    where[z - box[0].start] &= self._labels[box][z - box[0].start] != organ
        values = np.array(list(self._maps))
        maps = np.stack([self._maps[int(v)][box][where] for v in values])
        best = maps.argmax(axis=0)
        strong = maps.max(axis=0, initial=0) >= np.float16(self._scene.threshold)
        self._labels[box][where] = np.where(strong, values[best], 0)


def _boxes(stroke: Stroke, query: Volume, span: tuple[int, int]) -> list[Box]:
    """Where a stroke may change something: boxes around its pieces, joined until no two overlap."""
    reach = [reach_vox(mm, h) for mm, h in zip((THROUGH_MM, REACH_MM, REACH_MM), query.spacing_mm, strict=True)]
    corner, end = stroke.at.min(axis=0), stroke.at.max(axis=0) + 1
    small = np.zeros(tuple(end - corner), bool)
    small[tuple((stroke.at - corner).T)] = True
    pieces, _ = ndimage.label(small, np.ones((3, 3, 3)))
    limits = [span, (0, query.shape[1]), (0, query.shape[2])]
    boxes = []
    for found in ndimage.find_objects(pieces):
        sides = [
            (max(low, s.start + int(c) - r), min(high, s.stop + int(c) + r))
            for s, c, r, (low, high) in zip(found, corner, reach, limits, strict=True)
        ]
        if all(high > low for low, high in sides):  # outside the range asked for nothing spreads
            boxes.append(sides)
    return [(slice(*z), slice(*y), slice(*x)) for z, y, x in _joined(boxes)]


def _joined(boxes: list[list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    done: list[list[tuple[int, int]]] = []
    waiting = list(boxes)
    while waiting:
        box = waiting.pop()
        other = next((b for b in done if _overlap(b, box)), None)
        if other is None:
            done.append(box)
        else:
            done.remove(other)
            waiting.append([(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(box, other, strict=True)])
    return done


def _overlap(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> bool:
    return all(a[0] < b[1] and b[0] < a[1] for a, b in zip(one, other, strict=True))
