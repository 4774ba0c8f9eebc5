"""How near to the truth a point of one scan is found in another: error in mm at the centres of organs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.extract import ExtractSettings, extract_steps
from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.volume_encoders import FIRST, JudgedVolumes
from napari_medssl.evaluate.voxel_features import made_by_hand, prepare
from napari_medssl.evaluate.voxels import HAND
from napari_medssl.explore.body import body_cells
from napari_medssl.explore.nearest import nearest_points
from napari_medssl.explore.place import place_by_boxes, place_by_matches
from napari_medssl.explore.similarity import SimilarityIndex, similarity_index
from napari_medssl.io import read
from napari_medssl.metrics.intervals import Interval, bootstrap_intervals
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.folder import ORGAN_NAMES
from napari_medssl.settings import setting
from napari_medssl.train.dataset import Case
from napari_medssl.train.store import subject_of
from napari_medssl.volume import Affine, Volume

BOXES = "position in the body's box"
_LEAST = 50  # voxels of an organ, for its centre to mean something

Points = npt.NDArray[np.float64]
Errors = dict[tuple[int, int], dict[int, float]]
"""(from scan, to scan) to organ to mm."""


@dataclass(frozen=True)
class LandmarkSettings:
    """What is looked for, with which features."""

    stages: tuple[int, ...] = setting((), "Stages of the encoders; none: those the weights' card names.")
    cell_mm: float = setting(6.0, "Side of the cells that are compared; 0: as the finest stage has them.", ge=0, le=50)
    near_mm: float = setting(20.0, "Errors up to this count as found.", ge=0.1, le=1000)
    seed: int = setting(0, "Seed of first weights.", ge=0)
    resamples: int = setting(1000, "Bootstrap resamples of people.", ge=10, advanced=True)


@dataclass(frozen=True)
class LandmarkRow:
    """One way to find points on one data set.

    mean, median: mm over organs and ordered pairs of scans. interval: 95 % of the mean over people, everything found in
    a person together. found: share within `near_mm`. by_organ: mean mm of each. count: points.
    """

    data: str
    features: str
    how: str
    mean: float
    interval: Interval | None
    median: float
    found: float
    by_organ: dict[str, float] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True, eq=False)
class _Scan:
    case: Case
    subject: str
    volume: Volume
    centres: Mapping[int, Points]


def landmarks_steps(
    encoders: Sequence[JudgedVolumes],
    cases: Sequence[Case],
    settings: LandmarkSettings = LandmarkSettings(),
    *,
    data: str = "",
) -> Steps[list[LandmarkRow]]:
    """Rows of the encoders, of their architectures with first weights, and of features made by hand.

    A landmark is the centre of mass of an organ in scan A, where its label map has it; it is looked for in scan B of
    another person and compared with the centre of the same organ there, for all ordered pairs. Ways: the same place in
    the box of the body, without features ("position"); the nearest voxel by features alone; by features near that
    place; by features near a place that is itself fitted to features that match (`explore.place`).

    Features made by hand lie on the cells of the first encoder. Raises FormatError without two labelled people.
    """
    scans = yield from _scans(cases)
    if len({s.subject for s in scans}) < 2:
        raise FormatError(f"fewer than two labelled people in {data or 'the data'}; points of one are found in another")
    rows: list[LandmarkRow] = []
    last = {e.architecture: n for n, e in enumerate(encoders)}
    for n, encoder in enumerate(encoders):
        grids = yield from _encoded(encoder, scans, settings)
        if n == 0:
            rows += yield from _found(data, HAND, _by_hand(scans, grids, encoder.spacing_mm), scans, settings)
        rows += yield from _found(data, encoder.name, grids, scans, settings)
        if last[encoder.architecture] == n:
            grids = yield from _encoded(encoder.first(settings.seed), scans, settings)
            rows += yield from _found(data, f"{encoder.kind}, {FIRST}", grids, scans, settings)
    return [r for n, r in enumerate(rows) if r.how != BOXES or n == 0]  # the boxes know no features: once is enough


def _scans(cases: Sequence[Case]) -> Steps[list[_Scan]]:
    found = []
    for n, case in enumerate(cases):
        yield Progress(n, len(cases), f"reading {case.image.name}")
        assert case.labels is not None
        volume, labels = read(case.image, series=case.series), read(case.labels, labels=True)
        if volume.shape != labels.shape:
            raise FormatError(f"{case.labels} has shape {labels.shape} but its image has {volume.shape}")
        subject = case.person or subject_of(case.image.name)
        found.append(_Scan(case, subject, volume, _centres(labels)))
    return found


def _centres(labels: Volume) -> dict[int, Points]:
    """RAS mm of the centre of mass of each label."""
    found = {}
    for value in (int(v) for v in np.unique(labels.data) if v):
        zyx = np.argwhere(labels.data == value)
        if len(zyx) >= _LEAST:
            found[value] = np.asarray(labels.affine[:3, :3] @ zyx.mean(0) + labels.affine[:3, 3])
    return found


def _encoded(judged: JudgedVolumes, scans: Sequence[_Scan], settings: LandmarkSettings) -> Steps[list[FeatureGrid]]:
    wanted = ExtractSettings(stages=settings.stages, spacing_mm=judged.spacing_mm, cell_mm=settings.cell_mm)
    facts = {**judged.hints, "name": judged.kind, "weights_sha256": judged.sha256 or FIRST}
    device = next(judged.encoder.parameters()).device
    found = []
    for scan in scans:
        found.append(
            (yield from extract_steps(scan.volume, judged.encoder, wanted, device=device, encoder_facts=facts))
        )
    return found


def _by_hand(scans: Sequence[_Scan], grids: Sequence[FeatureGrid], spacing_mm: float) -> list[FeatureGrid]:
    """Features made by hand on the cells of other grids, each on its scan's own scale."""
    found = []
    for scan, grid in zip(scans, grids, strict=True):
        features = made_by_hand(prepare(scan.case, grid.centres_mm(), spacing_mm))
        features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
        data = np.ascontiguousarray(features.T).reshape(-1, *grid.shape)
        found.append(FeatureGrid(data, grid.affine, grid_source(scan.volume), {"name": HAND}))
    return found


def _found(
    data: str, name: str, grids: Sequence[FeatureGrid], scans: Sequence[_Scan], settings: LandmarkSettings
) -> Steps[list[LandmarkRow]]:
    indexes = [similarity_index(grid) for grid in grids]
    bodies = [body_cells(grid, scan.volume) for grid, scan in zip(grids, scans, strict=True)]
    errors: dict[str, Errors] = {}
    pairs = [(a, b) for a in range(len(scans)) for b in range(len(scans)) if scans[a].subject != scans[b].subject]
    for n, (a, b) in enumerate(pairs):
        yield Progress(n, len(pairs), f"finding points, {name}")
        organs = sorted(set(scans[a].centres) & set(scans[b].centres))
        if not organs:
            continue
        start, truth = (np.stack([scans[i].centres[o] for o in organs]) for i in (a, b))
        box = place_by_boxes(grids[a], bodies[a], grids[b], bodies[b])
        matched = place_by_matches(indexes[a], indexes[b], body_a=bodies[a], body_b=bodies[b])
        for how, points in _ways(indexes[a], start, indexes[b], box, matched).items():
            mm = np.linalg.norm(points - truth, axis=1)
            errors.setdefault(how, {})[a, b] = dict(zip(organs, mm.tolist(), strict=True))
    return [_row(data, name, how, found, scans, settings) for how, found in errors.items()]


def _ways(a: SimilarityIndex, start: Points, b: SimilarityIndex, box: Affine, matched: Affine) -> dict[str, Points]:
    return {
        BOXES: start @ box[:3, :3].T + box[:3, 3],
        "features alone": nearest_points(a, start, b).points_mm,
        "features near the box's place": nearest_points(a, start, b, place=box).points_mm,
        "place fitted to matches": start @ matched[:3, :3].T + matched[:3, 3],
        "features near the fitted place": nearest_points(a, start, b, place=matched).points_mm,
    }


def _row(
    data: str, name: str, how: str, errors: Errors, scans: Sequence[_Scan], settings: LandmarkSettings
) -> LandmarkRow:
    people = np.array([scans[b].subject for (_, b), found in errors.items() for _ in found])
    mm = np.array([v for found in errors.values() for v in found.values()])
    organs = np.array([o for found in errors.values() for o in found])
    rng = np.random.default_rng(17)

    def mean(numbers: npt.NDArray[np.intp]) -> float | None:
        return float(mm[numbers].mean())

    (interval,) = bootstrap_intervals(mean, people, resamples=settings.resamples, levels=(0.95,), rng=rng)
    names = ORGAN_NAMES.get(data, ())
    by_organ = {
        names[o - 1] if o <= len(names) else str(o): float(mm[organs == o].mean()) for o in np.unique(organs).tolist()
    }
    near = float((mm <= settings.near_mm).mean())
    features = "none" if how == BOXES else name
    median: Any = np.median(mm)
    return LandmarkRow(data, features, how, float(mm.mean()), interval, float(median), near, by_organ, len(mm))
