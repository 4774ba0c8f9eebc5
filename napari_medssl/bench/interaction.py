"""A simulated user at work: Dice after each slice labelled and after each stroke, beside simpler ways."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.segmentation import random_walker

from napari_medssl.bench.accuracy import organs_of
from napari_medssl.bench.labelled import labelled_cases, read_labelled
from napari_medssl.bench.simulated_user import next_stroke
from napari_medssl.bench.slice_rules import RULES, Standing, choose_slice
from napari_medssl.engine import Engine
from napari_medssl.errors import SettingsError
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.metrics.segmentation import dice
from napari_medssl.oneshot import Segmentation, SegmentSettings, Support
from napari_medssl.oneshot.scribbles import correct
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case
from napari_medssl.volume import Volume

Bools = npt.NDArray[np.bool_]
Walk = Callable[[Sequence[Stroke]], Bools]
OURS, WALKER, WALKER_OWN = "medssl", "random-walker", "random-walker, own strokes"
AGAINST = (WALKER, WALKER_OWN)
_FINE = 160  # pixels a side from which the walker gets every second one, as in the other comparisons with it
_BETA = 500.0


@dataclass(frozen=True)
class Course:
    """One organ of one scan, worked on in one way.

    way: the rule, or the method. dice: after 1, 2, ... slices, or 0, 1, ... strokes, over all slices but the first one
    labelled. elsewhere: without any labelled slice (for strokes the same as dice). seconds: of each step but the first.
    slices: labelled or corrected, in order; below 0 (-1 - z) where the organ was found to be absent on slice z.
    """

    data: str
    scan: str
    organ: int
    way: str
    dice: tuple[float, ...]
    elsewhere: tuple[float, ...]
    seconds: tuple[float, ...]
    slices: tuple[int, ...]


def slices_steps(
    cases: Sequence[Case],
    rules: Sequence[str],
    *,
    engine: Engine,
    count: int = 5,
    organs: Sequence[int] = (),
    settings: SegmentSettings | None = None,
    seed: int = 0,
) -> Steps[list[Course]]:
    """Label the organ's largest slice, then `count` - 1 more, each chosen by a rule, and segment after each.

    rules: of `RULES`. organs: label values to work on; all of at least 300 voxels on 3 slices when empty. A slice is
    labelled from the truth; where the organ is not on it, the user says so. A rule without a slice left changes
    nothing any more. Raises SettingsError for a rule that is none, FormatError when no scan has labels.
    """
    for rule in rules:
        if rule not in RULES:
            raise SettingsError(f"there is no rule {rule!r}; choose from {', '.join(RULES)}")
    courses = []
    for progress, case, scan, truth, organ in _organs(cases, organs):
        for rule in rules:
            yield progress
            rng = np.random.default_rng([seed, organ])
            courses.append(_label_on(case, scan, truth, organ, rule, engine, count, settings, rng))
    return courses


def corrections_steps(
    cases: Sequence[Case],
    *,
    engine: Engine,
    count: int = 5,
    against: Sequence[str] = AGAINST,
    organs: Sequence[int] = (),
    settings: SegmentSettings | None = None,
    seed: int | None = None,
) -> Steps[list[Course]]:
    """Label the organ's largest slice, segment, then correct the result with `count` strokes, one after the other.

    against: WALKER is given the same slice and the strokes made on our results; WALKER_OWN strokes the same user makes
    on the walker's results. seed: of the user, see `next_stroke`. Raises SettingsError, FormatError as above.
    """
    for name in against:
        if name not in AGAINST:
            raise SettingsError(f"--against {name}: there is no such method; choose from {', '.join(AGAINST)}")
    courses = []
    for progress, case, scan, truth, organ in _organs(cases, organs):
        yield progress
        support = _first_slice(scan, truth)
        ours, strokes = _correct_ours(case, scan, truth, organ, support, engine, count, settings, seed)
        courses.append(ours)
        for name in against:
            yield progress
            same = strokes if name == WALKER else None
            courses.append(_correct_walker(case, scan, truth, organ, name, support, count, same, seed))
    return courses


def _organs(cases: Sequence[Case], wanted: Sequence[int]) -> Iterator[tuple[Progress, Case, Volume, Bools, int]]:
    """(progress, case, scan, bool truth, organ) of every organ wanted; a scan is read when it is its turn."""
    usable = labelled_cases(cases)
    for i, case in enumerate(usable):
        scan, labels = read_labelled(case)
        for organ in organs_of(labels):
            if not wanted or organ in wanted:
                yield Progress(i, len(usable), f"working on {case.image.name}"), case, scan, labels == organ, organ


def _first_slice(scan: Volume, truth: Bools) -> Support:
    z = int(truth.sum(axis=(1, 2)).argmax())
    mask = np.zeros(truth.shape, np.uint8)
    mask[z] = truth[z]
    return Support(scan, mask)


def _label_on(
    case: Case,
    scan: Volume,
    truth: Bools,
    organ: int,
    rule: str,
    engine: Engine,
    count: int,
    settings: SegmentSettings | None,
    rng: np.random.Generator,
) -> Course:
    support = _first_slice(scan, truth)
    slices = list(support.slices)
    result = engine.segment(scan, [support], settings=settings)
    scores = [_scores(result, truth, slices)]
    seconds = []
    for _ in range(count - 1):
        start = time.perf_counter()
        z = choose_slice(rule, Standing(scan, support, result), rng)
        seconds.append(time.perf_counter() - start)
        if z is not None:
            support = _with_slice(support, truth, z)
            slices.append(z if truth[z].any() else -1 - z)
            result = engine.segment(scan, [support], settings=settings)
        scores.append(_scores(result, truth, slices))
    everywhere, elsewhere = zip(*scores, strict=True)
    return Course(case.group, case.image.name, organ, rule, everywhere, elsewhere, tuple(seconds), tuple(slices))


def _with_slice(support: Support, truth: Bools, z: int) -> Support:
    if truth[z].any():
        mask = support.mask.copy()
        mask[z] = truth[z]
        return dataclasses.replace(support, mask=mask)
    return dataclasses.replace(support, absent={1: (*support.absent.get(1, ()), z)})


def _scores(result: Segmentation, truth: Bools, slices: Sequence[int]) -> tuple[float, float]:
    """Dice over all slices but the first labelled, and over all but every labelled."""
    found = result.labels.data == 1
    keep = np.ones(len(truth), bool)
    keep[slices[0]] = False
    everywhere = _dice(found[keep], truth[keep])
    keep[[z if z >= 0 else -1 - z for z in slices]] = False
    return everywhere, _dice(found[keep], truth[keep])


def _dice(found: Bools, truth: Bools) -> float:
    value = dice(found, truth).value
    return float("nan") if value is None else value


def _correct_ours(
    case: Case,
    scan: Volume,
    truth: Bools,
    organ: int,
    support: Support,
    engine: Engine,
    count: int,
    settings: SegmentSettings | None,
    seed: int | None,
) -> tuple[Course, list[Stroke]]:
    result = engine.segment(scan, [support], settings=settings)
    scores, seconds, strokes = [_scores(result, truth, support.slices)[0]], [], []
    for _ in range(count):
        stroke = _stroke(result.labels.data == 1, truth, scan, support, seed)
        if stroke is not None:
            start = time.perf_counter()
            result = correct(scan, result, [stroke], supports=[support], settings=settings)
            seconds.append(time.perf_counter() - start)
            strokes.append(stroke)
        scores.append(_scores(result, truth, support.slices)[0])
    slices = (*support.slices, *(int(s.at[0, 0]) for s in strokes))
    way = (tuple(scores), tuple(scores), tuple(seconds), slices)
    return Course(case.group, case.image.name, organ, OURS, *way), strokes


def _stroke(found: Bools, truth: Bools, scan: Volume, support: Support, seed: int | None) -> Stroke | None:
    labels, true = found.view(np.uint8), truth.view(np.uint8)
    return next_stroke(labels, true, spacing_mm=scan.spacing_mm, without=support.slices, seed=seed)


def _correct_walker(
    case: Case,
    scan: Volume,
    truth: Bools,
    organ: int,
    name: str,
    support: Support,
    count: int,
    same: Sequence[Stroke] | None,
    seed: int | None,
) -> Course:
    walk = _walker(scan, support)
    z = support.slices[0]
    others = np.arange(len(truth)) != z
    strokes: list[Stroke] = []
    found = walk(strokes)
    scores, seconds = [_dice(found[others], truth[others])], []
    for n in range(count):
        stroke = _stroke(found, truth, scan, support, seed) if same is None else next(iter(same[n : n + 1]), None)
        if stroke is not None:
            strokes.append(stroke)
            start = time.perf_counter()
            found = walk(strokes)
            seconds.append(time.perf_counter() - start)
        scores.append(_dice(found[others], truth[others]))
    slices = (z, *(int(s.at[0, 0]) for s in strokes))
    return Course(case.group, case.image.name, organ, name, tuple(scores), tuple(scores), tuple(seconds), slices)


def _walker(scan: Volume, support: Support) -> Walk:
    """scikit-image's random walker in 3D from the labelled slice and strokes, on every second pixel of fine slices.

    Strokes are seeds wherever they touch a pixel it looks at, and hold in its result as they do in ours.
    """
    step = 2 if min(scan.shape[1:]) >= _FINE else 1
    image = to_unit(scan.data[:, ::step, ::step], window_limits(scan))
    z = support.slices[0]

    def walk(strokes: Sequence[Stroke]) -> Bools:
        seeds = np.zeros(image.shape, np.uint8)
        seeds[z] = np.where(support.mask[z, ::step, ::step] == 1, 1, 2)
        for stroke in strokes:
            at, y, x = stroke.index
            seeds[at, y // step, x // step] = np.where(stroke.values == 1, 1, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about seeds cut off from others, and the choice of solver
            small = random_walker(image, seeds, beta=_BETA, mode="cg_j") == 1
        found = small.repeat(step, 1).repeat(step, 2)[:, : scan.shape[1], : scan.shape[2]]
        for stroke in strokes:
            found[stroke.index] = stroke.values == 1
        return np.asarray(found)

    return walk
