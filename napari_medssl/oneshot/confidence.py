"""How far a result can be trusted: the chance that a label is right, and the Dice to expect on each slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_medssl.metrics.calibration import logit, sigmoid
from napari_medssl.oneshot.calibration import Calibration, calibration_for
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.scribbles import absences, emptied_ranges
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume

Floats = npt.NDArray[np.float32]
BAND_MM = 10.0
"""How far around an organ's edge, in the plane, its labels are in doubt at all; never more than its radius."""
BEYOND_MM = 15.0
"""How far beyond its ends voxels are looked at one by one, and at least one slice; never more than its radius."""
MISSED_MM = 60.0
"""How far beyond its ends an organ is thought to go on unseen."""
_FAR_MM, _DEPTH_MM, _GAP_MM, _RADIUS_MM = 20.0, 5.0, 10.0, 20.0  # scales of the features
_END_MM = 6.0  # the last slice a mask was carried to may be a sliver: its end is as wide as the widest so near
_LEAST = 2e-3  # probabilities of the method are kept so far from 0 and 1


@dataclass(frozen=True, eq=False)
class OrganConfidence:
    """What is known of one organ.

    organ: its value. low: the first slice looked at; top, left: first row and column.
    right: (N, h, w) float32, the chance that the label is right on slices low to low + N - 1, in the box of the organ
        and the band around it; beyond it 1. inside: (N, h, w) the chance that the organ is there.
    region: (N, h, w) bool, where something is in doubt.
    dice: (N,) the Dice to expect on each of these slices; of one without the organ, the chance that it is not there.
    distance_mm: (N,) from the nearest labelled slice; inf when none is labelled in this scan. area_mm2: (N,) of the
        result. doubt_mm2: (N,) area expected to be wrong.
    painted: (N,) bool, slices that are certain: labelled, called empty, or beyond one that was.
    """

    organ: int
    low: int
    top: int
    left: int
    right: Floats
    inside: Floats
    region: npt.NDArray[np.bool_]
    dice: Floats
    distance_mm: Floats
    area_mm2: Floats
    doubt_mm2: Floats
    painted: npt.NDArray[np.bool_]

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where it lies in the scan."""
        n, h, w = self.right.shape
        return slice(self.low, self.low + n), slice(self.top, self.top + h), slice(self.left, self.left + w)


def confidence(
    query: Volume,
    result: Segmentation,
    supports: Sequence[Support] = (),
    *,
    calibration: Calibration | None = None,
) -> dict[int, OrganConfidence]:
    """Confidence in every organ of a result that has any voxel or label; ours.

    query: the scan. supports: the labelled slices the result was made from; those of other scans count as none.
    calibration: fitted numbers; by default those that belong to the weights the report names.

    The log-odds of an organ being at a voxel are a line in a few features: the method's own log-odds, the distance in
    mm from the nearest labelled slice, the depth below or above the result's edge in the plane, the organ's size, and
    how far a slice lies beyond the organ's ends (`features`). Its numbers were fitted by `medssl simulate --what
    calibration`. Slices the user labelled are certain. About 0.3 s an organ on 256 x 256 x 40, one core.
    """
    here = [s for s in supports if s.volume is query or s.volume.content_hash == query.content_hash]
    found = {}
    for organ in result.probability:
        facts = look_at(query, result, here, organ)
        if facts is not None:
            used = calibration or calibration_for(result.report, within=facts.labelled)
            found[organ] = _judge(facts, used)
    return found


def confidence_map(result: Segmentation, found: Mapping[int, OrganConfidence]) -> Floats:
    """(Z, Y, X) float32: the chance that the label of a voxel is right, whichever organ it is, or none.

    Of background it is the least over the organs near it; far from all organs 1.
    """
    out = np.ones(result.labels.shape, np.float32)
    for one in found.values():
        own = result.labels.data[one.box] == one.organ
        others = (result.labels.data[one.box] > 0) & ~own
        part = out[one.box]
        part[...] = np.where(others, part, np.minimum(part, one.right))
    for stroke in result.strokes:
        out[stroke.index] = 1
    return out


@dataclass(frozen=True, eq=False)
class Facts:
    """One organ of a result in the box where it is in doubt, before any judgement.

    labelled: whether a slice of this scan is labelled. painted: (N,) bool, slices that are certain.
    depth_mm: (N, h, w) into the organ, negative outside; beyond its ends that of the last slice it has.
    gap_mm: (N,) beyond the ends. reach_mm: how far beyond them single voxels are in doubt. end_area: (N,) of the end
        each slice is nearer to, in pixels. radius_mm: of the organ's largest cross-section.
    """

    organ: int
    low: int
    top: int
    left: int
    probability: Floats
    label: npt.NDArray[np.bool_]
    depth_mm: Floats
    distance_mm: Floats
    gap_mm: Floats
    radius_mm: float
    end_area: Floats
    reach_mm: float
    painted: npt.NDArray[np.bool_]
    labelled: bool
    pixel_mm2: float

    @property
    def region(self) -> npt.NDArray[np.bool_]:
        """(N, h, w) where something is in doubt: the band around the edge, and beyond the ends all of the organ."""
        open_slices = ~self.painted[:, None, None]
        beyond = (self.gap_mm > 0)[:, None, None]
        open_slices = open_slices & (self.gap_mm <= self.reach_mm)[:, None, None]
        near = np.abs(self.depth_mm) <= min(BAND_MM, self.radius_mm)
        return np.asarray((near | (beyond & (self.depth_mm > 0))) & open_slices)


def look_at(query: Volume, result: Segmentation, here: Sequence[Support], organ: int) -> Facts | None:
    """Gather what is known of an organ; None when the result and the labels have none of it."""
    z_mm, y_mm, x_mm = query.spacing_mm
    label = result.labels.data == organ
    slices = np.flatnonzero(label.any(axis=(1, 2)))
    if not len(slices):
        return None
    areas = label.sum(axis=(1, 2)) * y_mm * x_mm
    radius = float(np.sqrt(areas.max() / np.pi))
    low, high = _extent(slices, max(1, round(MISSED_MM / z_mm)), result)
    plane = label.any(axis=0)
    box = (slice(low, high), *_wider(plane, (y_mm, x_mm)))
    painted = sorted({z for s in here for z in s.slices if (s.mask[z] == organ).any()})
    empty = emptied_ranges(absences(here).get(organ, ()), painted, result.probability[organ])
    certain = {*painted, *(z for first, end in empty for z in range(first, end))}
    rows = np.arange(low, high)
    nearest = np.clip(rows, slices[0], slices[-1])
    depth = _depths(label[box], nearest - low, (y_mm, x_mm))
    far = [np.abs(rows - z) * z_mm for z in painted]
    return Facts(
        organ=organ,
        low=low,
        top=box[1].start,
        left=box[2].start,
        probability=result.probability[organ][box].astype(np.float32),
        label=label[box],
        depth_mm=depth,
        distance_mm=np.min(far, axis=0).astype(np.float32) if far else np.full(len(rows), np.inf, np.float32),
        gap_mm=(np.abs(rows - nearest) * z_mm).astype(np.float32),
        radius_mm=radius,
        end_area=_end_areas(areas / (y_mm * x_mm), slices, rows, max(2, round(_END_MM / z_mm))),
        reach_mm=max(min(BEYOND_MM, radius), 1.01 * z_mm),
        painted=np.array([z in certain for z in rows]),
        labelled=bool(painted),
        pixel_mm2=y_mm * x_mm,
    )


def _extent(slices: npt.NDArray[np.intp], beyond: int, result: Segmentation) -> tuple[int, int]:
    low, high = result.report.get("slice_range") or (0, result.labels.shape[0])
    return max(int(low), int(slices[0]) - beyond), min(int(high), int(slices[-1]) + 1 + beyond)


def _end_areas(
    areas: npt.NDArray[np.float64], slices: npt.NDArray[np.intp], rows: npt.NDArray[np.intp], near: int
) -> Floats:
    first, last = int(slices[0]), int(slices[-1])
    ends = areas[first : first + near].max(), areas[max(0, last + 1 - near) : last + 1].max()
    return np.asarray(np.where(rows - first < last - rows, *ends), np.float32)


def _wider(plane: npt.NDArray[np.bool_], spacing_mm: tuple[float, float]) -> tuple[slice, slice]:
    sides = []
    for axis, mm in enumerate(spacing_mm):
        hit = np.flatnonzero(plane.any(axis=1 - axis))
        extra = int(np.ceil(BAND_MM / mm)) + 1
        sides.append(slice(max(0, int(hit[0]) - extra), min(plane.shape[axis], int(hit[-1]) + 1 + extra)))
    return sides[0], sides[1]


def _depths(label: npt.NDArray[np.bool_], source: npt.NDArray[np.intp], spacing_mm: tuple[float, float]) -> Floats:
    """(N, h, w) mm into the mask of the slice each slice looks to, negative outside; an empty one is far from all."""
    out = np.full(label.shape, -1e3, np.float32)
    for row, at in enumerate(source):
        if row and source[row - 1] == at:
            out[row] = out[row - 1]
        elif label[at].any():
            padded = np.pad(label[at], 1)  # the box may end at the scan's own border: outside it is no organ
            inner = ndimage.distance_transform_edt(padded, sampling=spacing_mm)[1:-1, 1:-1]
            outer = ndimage.distance_transform_edt(~padded, sampling=spacing_mm)[1:-1, 1:-1]
            out[row] = inner - outer
    return out


def features(facts: Facts, where: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(V, D) of the voxels `where` (N, h, w): what the log-odds of the organ are a line in."""
    row = np.nonzero(where)[0]
    own = logit(facts.probability[where], least=_LEAST) / 2
    depth = np.tanh(facts.depth_mm[where].astype(np.float64) / _DEPTH_MM)
    far = _saturating(facts.distance_mm, _FAR_MM)[row]
    beyond = (facts.gap_mm > 0)[row].astype(np.float64)
    gap = _saturating(facts.gap_mm, _GAP_MM)[row]
    size = np.log2(facts.radius_mm / _RADIUS_MM)
    one = np.ones_like(own)
    # With nothing labelled here "far" is 1 throughout: those columns then repeat others, and share their weight.
    columns = (one, own, depth, far, own * far, depth * far, size * one, size * depth, beyond, beyond * depth, gap)
    return np.column_stack(columns)


def _saturating(mm: Floats, scale: float) -> npt.NDArray[np.float64]:
    """From 0 to 1 with the distance; 1/2 at `scale`."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(mm), 1.0, mm / (mm + scale)).astype(np.float64)


def inside_chance(facts: Facts, voxel: npt.NDArray[np.float64] | None) -> Floats:
    """(N, h, w) chance of the organ at each voxel; the method's own probability where nothing is fitted."""
    inside = facts.probability.copy()
    if voxel is not None:
        region = facts.region
        inside[region] = sigmoid(features(facts, region) @ voxel)
        # Where nothing is in doubt the label is what it is; a probability of 0.6 deep inside an organ is habit.
        inside[~region] = facts.label[~region]
    painted = facts.painted
    inside[painted] = facts.label[painted]
    return inside


def slice_features(facts: Facts, inside: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """((N, D) for slices with the organ, (N, E) for slices without): what the expected Dice is a line in."""
    area, soft = facts.label.sum((1, 2)), soft_dice(facts, inside)
    one = np.ones(len(area))
    sure = _sureness(facts, soft) * one
    far = _saturating(facts.distance_mm, _FAR_MM)
    share = np.log((area + 1) / (area.max() + 1))
    end = _to_end(facts)
    mass = np.log1p(facts.probability.sum((1, 2)) * facts.pixel_mm2 / 100)
    # An organ that ends while it is still wide has probably been lost, not ended.
    blunt = np.log((facts.end_area + 1) / (area.max() + 1))
    gaps = [facts.gap_mm / _RADIUS_MM, facts.gap_mm / facts.radius_mm]
    with_organ = np.column_stack([one, logit(soft, least=0.01), far, share, end, sure])
    without = np.column_stack([one, mass, blunt, *gaps, far, sure])
    return with_organ, without


def _sureness(facts: Facts, soft: npt.NDArray[np.float64]) -> float:
    """Log-odds of the soft Dice over the organ's open slices: an organ hard to follow is also one easily lost."""
    area = facts.label.sum((1, 2)) * ~facts.painted
    whole = float((soft * area).sum() / area.sum()) if area.any() else 0.5
    return float(logit(np.array(whole), least=0.01))


def _to_end(facts: Facts) -> npt.NDArray[np.float64]:
    """1 on the organ's last slice on either side, falling to 0 towards its middle."""
    there = np.flatnonzero(facts.label.any((1, 2)))
    step = np.minimum(np.abs(np.arange(len(facts.label)) - there[0]), np.abs(np.arange(len(facts.label)) - there[-1]))
    return np.asarray(1.0 / (1.0 + step))


def soft_dice(facts: Facts, inside: Floats) -> npt.NDArray[np.float64]:
    """(N,) 2 sum over the label of the chance / (its area + the sum of all chances): Dice, were the chances true and
    independent. On slices without the organ it is the chance that this is right, by the surest voxel."""
    kept = (inside * facts.label).sum((1, 2), dtype=np.float64)
    area, all_of = facts.label.sum((1, 2)), inside.sum((1, 2), dtype=np.float64)
    found = np.where(area > 0, 2 * kept / np.maximum(area + all_of, 1e-9), 1 - inside.max((1, 2)))
    return np.asarray(np.clip(found, 0, 1), np.float64)


def expected_dice(facts: Facts, inside: Floats, used: Calibration) -> Floats:
    """(N,) Dice to expect on each slice, where 1 on a slice without the organ means that it is rightly without."""
    found = soft_dice(facts, inside)
    if used.slice_with is not None and used.slice_without is not None:
        with_organ, without = slice_features(facts, inside)
        there = facts.label.any((1, 2))
        found = np.where(there, sigmoid(with_organ @ used.slice_with), sigmoid(without @ used.slice_without))
    found[facts.painted] = 1
    return found.astype(np.float32)


def _doubt(facts: Facts, inside: Floats, dice: Floats, used: Calibration) -> npt.NDArray[np.float64]:
    """(N,) pixels expected to be wrong. 1 - Dice is that as a share of result and organ together."""
    if used.missed is None:
        return np.asarray(np.where(facts.label, 1 - inside, inside).sum((1, 2)), np.float64)
    there = facts.label.any((1, 2))
    covered = facts.label.sum((1, 2)) + inside.sum((1, 2))
    missed = sigmoid(slice_features(facts, inside)[1] @ used.missed) * facts.end_area
    return np.asarray(np.where(there, (1 - dice) * covered, missed) * ~facts.painted, np.float64)


def _judge(facts: Facts, used: Calibration) -> OrganConfidence:
    inside = inside_chance(facts, used.voxel)
    right = np.where(facts.label, inside, 1 - inside).astype(np.float32)
    dice = expected_dice(facts, inside, used)
    return OrganConfidence(
        organ=facts.organ,
        low=facts.low,
        top=facts.top,
        left=facts.left,
        right=right,
        inside=inside,
        region=facts.region,
        dice=dice,
        distance_mm=facts.distance_mm,
        area_mm2=(facts.label.sum((1, 2)) * facts.pixel_mm2).astype(np.float32),
        doubt_mm2=(_doubt(facts, inside, dice, used) * facts.pixel_mm2).astype(np.float32),
        painted=facts.painted,
    )
