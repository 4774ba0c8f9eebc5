"""Fitting and judging the confidence: what it says of labelled scans beside what is so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.bench.accuracy import person_of
from napari_medssl.bench.labelled import labelled_cases, read_labelled
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError
from napari_medssl.metrics.calibration import Reliability, fit_logistic
from napari_medssl.oneshot import SegmentSettings, Support
from napari_medssl.oneshot.calibration import COUNTS, Calibration, calibration_for
from napari_medssl.oneshot.confidence import Facts, expected_dice, features, inside_chance, look_at, slice_features
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case
from napari_medssl.volume import Volume

Route = Literal["within", "across"]
Bools = npt.NDArray[np.bool_]
See = Callable[[Case, Facts, Bools, Calibration], None]
_VOXELS_PER_ORGAN = 4000  # drawn for the fit; neighbours say the same
_LEAST_VOXELS = 100  # an organ smaller than this on a scan is left out


@dataclass
class Judgement:
    """Calibration errors on one data set; before: of the method's own probability.

    voxels: over all voxels in doubt (the band around the organ, and beyond its ends), each organ of each scan counting
    the same. slices: over slices that are in reach and not labelled, of the Dice expected. off: mean distance of the
    Dice expected from the Dice there was.
    """

    data: str
    organs: int = 0
    voxels_before: Reliability = field(default_factory=Reliability)
    voxels: Reliability = field(default_factory=Reliability)
    slices_before: Reliability = field(default_factory=Reliability)
    slices: Reliability = field(default_factory=Reliability)
    off_before: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)

    def see(self, facts: Facts, truth: Bools, used: Calibration) -> None:
        """Add an organ of a scan; truth: (N, h, w) in the box of the facts."""
        region, open_slices = facts.region, ~facts.painted
        if not region.any() or not open_slices.any():
            return
        self.organs += 1
        right = facts.label == truth
        actual = slice_dice(facts.label, truth)[open_slices]
        for calibration, voxels, slices, off in (
            (Calibration(), self.voxels_before, self.slices_before, self.off_before),
            (used, self.voxels, self.slices, self.off),
        ):
            inside = inside_chance(facts, calibration.voxel)
            stated = np.where(facts.label, inside, 1 - inside)[region]
            voxels.add(stated, right[region], weight=1 / max(1, int(region.sum())))
            dice = expected_dice(facts, inside, calibration)[open_slices]
            slices.add(dice, actual, weight=1 / max(1, len(dice)))
            off.append(float(np.abs(dice - actual).mean()))

    def facts(self) -> dict[str, Any]:
        """For a report."""
        return {
            "data": self.data,
            "organs": self.organs,
            "ece_voxels": {"before": self.voxels_before.error, "after": self.voxels.error},
            "ece_slices": {"before": self.slices_before.error, "after": self.slices.error},
            "dice_off": {"before": _mean(self.off_before), "after": _mean(self.off)},
            "curve_voxels": self.voxels.curve(),
        }


def slice_dice(label: Bools, truth: Bools) -> npt.NDArray[np.float64]:
    """(N,) Dice of each slice; 1 where both are empty: a slice rightly left out."""
    total = label.sum((1, 2)) + truth.sum((1, 2))
    both = (label & truth).sum((1, 2))
    return np.where(total > 0, 2 * both / np.maximum(total, 1), 1.0).astype(np.float64)


def judge_steps(
    cases: Sequence[Case],
    route: Route,
    *,
    engine: Engine,
    calibration: Calibration | None = None,
    settings: SegmentSettings | None = None,
) -> Steps[list[Judgement]]:
    """How well the confidence is calibrated on labelled scans, one judgement per data set.

    calibration: numbers to judge; by default those shipped for the engine's weights. Raises FormatError when no scan
    has labels.
    """
    found: dict[str, Judgement] = {}

    def see(case: Case, facts: Facts, truth: Bools, used: Calibration) -> None:
        found.setdefault(case.group, Judgement(case.group)).see(facts, truth, calibration or used)

    yield from _observe(cases, route, engine, settings, see)
    return list(found.values())


def fit_steps(
    cases: Sequence[Case], route: Route, *, engine: Engine, settings: SegmentSettings | None = None, seed: int = 0
) -> Steps[dict[str, Any]]:
    """The entry of a calibration file for the engine's weights on one route, fitted on labelled scans.

    Of each organ on each scan up to 4000 voxels in doubt are drawn, so that large organs do not outvote small ones.
    These scans should not be those the weights were trained on: where the method knows the answers it is sure with
    better reason than it will be on others.
    """
    rng = np.random.default_rng(seed)
    looks: list[tuple[Facts, Bools]] = []
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    scans: set[str] = set()

    def see(case: Case, facts: Facts, truth: Bools, _: Calibration) -> None:
        at = np.flatnonzero(facts.region)
        if len(at):
            at = rng.choice(at, min(len(at), _VOXELS_PER_ORGAN), replace=False)
            where = np.zeros(facts.region.shape, bool)
            where.ravel()[at] = True
            rows.append((features(facts, where), truth[where]))
            looks.append((facts, truth))
            scans.add(str(case.image))

    yield from _observe(cases, route, engine, settings, see)
    if not rows:
        raise FormatError("no organ of these scans was found, so nothing can be fitted; give other labelled scans")
    weights = np.concatenate([np.full(len(y), 1000 / len(y)) for _, y in rows])
    voxel = fit_logistic(np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows]), weights=weights)
    slices = _fit_slices(looks, voxel)
    return {
        "weights": engine.weights_hash,
        "route": route,
        "scans": len(scans),
        "data": sorted({case.group for case in cases}),
        "voxel": _plain(voxel),
        **{name: _plain(numbers) for name, numbers in slices.items()},
    }


def _fit_slices(looks: Sequence[tuple[Facts, Bools]], voxel: np.ndarray) -> dict[str, np.ndarray]:
    """The lines of slices: Dice with the organ, Dice without, and the share of the organ's end that was missed."""
    rows: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {n: [] for n in COUNTS if n != "voxel"}
    for facts, truth in looks:
        with_organ, without = slice_features(facts, inside_chance(facts, voxel))
        actual, there = slice_dice(facts.label, truth), facts.label.any((1, 2))
        missed = np.minimum(1, truth.sum((1, 2)) / np.maximum(facts.end_area, 1))
        for name, x, y, which in (
            ("slice_with", with_organ, actual, there),
            ("slice_without", without, actual, ~there),
            ("missed", without, missed, ~there),
        ):
            which = which & ~facts.painted
            # As much for each organ of each scan: thin slices are many, and say much the same.
            rows[name].append((x[which], y[which], np.full(which.sum(), 10 / max(1, which.sum()))))
    if not all(sum(len(y) for _, y, _ in found) for found in rows.values()):
        raise FormatError(
            "these scans have no open slice with an organ or none without, so the Dice to expect cannot be fitted; "
            "give scans that show more than the organs, and more of them"
        )
    joined = {name: [np.concatenate(part) for part in zip(*found, strict=True)] for name, found in rows.items()}
    return {name: fit_logistic(x, y, weights=v) for name, (x, y, v) in joined.items()}


def _observe(
    cases: Sequence[Case], route: Route, engine: Engine, settings: SegmentSettings | None, see: See
) -> Steps[None]:
    """Segment labelled scans from few slices, all organs at once, and hand over every organ with its truth."""
    usable = labelled_cases(cases)
    for i, case in enumerate(usable):
        yield Progress(i, len(usable), f"looking at {case.image.name}")
        scan, truth = read_labelled(case)
        if route == "within":
            supports = [[_support(scan, truth, n)] for n in (1, 2)]
        else:
            others = [c for c in usable[i + 1 :] + usable[:i] if c.group == case.group]
            other = next((c for c in others if person_of(c) != person_of(case)), None)
            supports = [] if other is None else [[_support(*read_labelled(other), 3)]]
        for given in supports:
            result = engine.segment(scan, given, settings=settings)
            used = calibration_for(result.report, within=route == "within")
            for organ in result.probability:
                found = look_at(scan, result, [s for s in given if s.volume is scan], organ)
                if found is not None and (truth == organ).sum() >= _LEAST_VOXELS:
                    n, h, w = found.label.shape
                    part = truth[found.low : found.low + n, found.top : found.top + h, found.left : found.left + w]
                    see(case, found, part == organ, used)


def _support(scan: Volume, truth: np.ndarray, count: int) -> Support:
    """Every organ on `count` slices: the largest, then the middles of the outer parts; all of them for three."""
    mask = np.zeros(truth.shape, truth.dtype if truth.dtype.kind in "iu" else np.int32)
    for organ in (int(v) for v in np.unique(truth) if v):
        there = truth == organ
        slices = np.flatnonzero(there.any(axis=(1, 2)))
        parts = [int(p[len(p) // 2]) for p in np.array_split(slices, 3) if len(p)]
        largest = int(there.sum(axis=(1, 2)).argmax())
        for z in parts if count == 3 else [largest, *parts][:count]:
            mask[z][there[z]] = organ
    return Support(scan, mask)


def _plain(numbers: np.ndarray) -> list[float]:
    return [round(float(n), 5) for n in numbers]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
