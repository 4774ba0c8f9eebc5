"""From marked slices, or exams, to a head: seconds, as the features are there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.slices.bags import learn_bags
from napari_medssl.classify.slices.calibration import Calibration, fit_calibration
from napari_medssl.classify.slices.draws import IntArray, bootstrap, folds
from napari_medssl.classify.slices.head import Scorer, SliceHead
from napari_medssl.classify.slices.linear import learn_linear
from napari_medssl.classify.slices.marks import FloatArray, SliceMarks
from napari_medssl.classify.slices.neighbours import learn_neighbours
from napari_medssl.classify.slices.profile import HeightProfile, learn_profile, lies_anywhere
from napari_medssl.classify.slices.settings import LearnSettings
from napari_medssl.classify.slices.space import Space, make_space
from napari_medssl.classify.slices.thresholds import choose_threshold
from napari_medssl.classify.slices.vectors import SliceVectors
from napari_medssl.errors import SupportError
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.settings import check, to_dict

_EXAM_HEADS = ("attention", "max")


def learn_slices(
    vectors: Mapping[str, SliceVectors], marks: SliceMarks, settings: LearnSettings | None = None
) -> SliceHead:
    """`learn_slices_steps` run to the end."""
    return finish(learn_slices_steps(vectors, marks, settings))


def learn_slices_steps(
    vectors: Mapping[str, SliceVectors], marks: SliceMarks, settings: LearnSettings | None = None
) -> Steps[SliceHead]:
    """A head from slices marked in some of the scans.

    vectors: scan to its slices; scans without a mark help too, as they say what is common. marks: what is known.

    Probabilities are calibrated, and thresholds chosen, on marks kept aside in turn (whole scans, when two or more are
    marked). A class of which only one side is marked is left out, with a note.

    Raises SupportError when nothing can be learned from the marks or they name a scan or slice that is not there,
    WeightsError when the vectors come from several encoders, SettingsError for settings outside their limits.
    """
    settings = settings or LearnSettings()
    check(settings)
    start = time.perf_counter()
    yield Progress(0, 0, "learning from the marks")
    _check_places(vectors, marks)
    from_exams = settings.head in _EXAM_HEADS
    space = make_space(list(vectors.values()), height=settings.height, centred=not from_exams)
    examples = _exams(vectors, marks, space) if from_exams else _slices(vectors, marks, space)
    examples, notes = _learnable(examples, marks, exams=from_exams)
    kept_aside = yield from _held_out_logits(examples, marks, settings)
    by_height, anywhere = _held_out_heights(examples)
    kept_aside += by_height
    calibration = fit_calibration(kept_aside, examples.targets, marks.kind)
    rng = np.random.default_rng(settings.seed)
    draws = bootstrap(examples.targets, examples.scan, settings.members, rng)
    scorer = yield from _scorer(examples, marks, settings, draws)
    profile = _profile(examples, draws)
    return SliceHead(
        settings.head, examples.classes, marks.kind, space, scorer, calibration,
        _thresholds(kept_aside, examples.targets, calibration, marks, settings),
        (*notes, *_doubts(examples.classes, calibration)), _card(vectors, marks, settings, time.perf_counter() - start),
        None if profile is None else profile.without(anywhere),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Examples:
    """Bags of points (one point each for slices), (N, C) targets, (N,) number of the scan, and the classes.

    heights: (N,) mm of the slices in the body; None for exams, and where position shall not count.
    """

    bags: list[FloatArray]
    targets: FloatArray
    scan: IntArray
    classes: tuple[str, ...]
    heights: FloatArray | None = None

    @property
    def points(self) -> FloatArray:
        return np.concatenate(self.bags)

    def only(self, numbers: IntArray) -> _Examples:
        heights = None if self.heights is None else self.heights[numbers]
        return _Examples(
            [self.bags[i] for i in numbers], self.targets[numbers], self.scan[numbers], self.classes, heights
        )


def _check_places(vectors: Mapping[str, SliceVectors], marks: SliceMarks) -> None:
    for scan in (*marks.slices, *marks.exams):
        if scan not in vectors:
            raise SupportError(f"{scan} is marked but is not among the scans; open it again, or take its marks away")
    for scan, marked in marks.slices.items():
        if marked and max(marked) >= len(vectors[scan]):
            raise SupportError(
                f"slice {max(marked)} of {scan} is marked, but it has slices 0 to {len(vectors[scan]) - 1}; "
                "its marks were made on another scan"
            )


def _slices(vectors: Mapping[str, SliceVectors], marks: SliceMarks, space: Space) -> _Examples:
    bags: list[FloatArray] = []
    targets, scan = [np.zeros((0, len(marks.classes)), np.float32)], []
    heights: list[FloatArray] = []
    for number, name in enumerate(name for name in vectors if marks.slices.get(name)):
        places, rows = marks.targets(name)
        points = space.points(vectors[name])
        bags += [points[z : z + 1] for z in places]
        targets.append(rows)
        scan += [number] * len(places)
        if (found := space.heights(vectors[name])) is not None:
            heights.append(found[places])
    return _Examples(
        bags, np.concatenate(targets), np.array(scan, np.intp), marks.classes,
        np.concatenate(heights) if heights else None,
    )  # fmt: skip


def _exams(vectors: Mapping[str, SliceVectors], marks: SliceMarks, space: Space) -> _Examples:
    known = {name: target for name in vectors if not np.isnan(target := marks.exam_target(name)).all()}
    targets = np.array(list(known.values()), np.float32).reshape(len(known), len(marks.classes))
    return _Examples([space.points(vectors[n]) for n in known], targets, np.arange(len(known)), marks.classes)


def _learnable(examples: _Examples, marks: SliceMarks, *, exams: bool) -> tuple[_Examples, list[str]]:
    """The classes of which both sides are known, and a sentence on each other one."""
    what = "exam" if exams else "slice"
    if not len(examples.targets):
        how = "say of some exams what they show" if exams else "mark some slices with and some without it"
        raise SupportError(f"no {what} is marked yet; {how}, then learn")
    shown, not_shown = (examples.targets == 1).any(0), (examples.targets == 0).any(0)
    good = shown & not_shown if marks.kind == "several" else shown
    notes = [
        _why_not(name, what, shown=bool(shown[c]))
        for c, name in enumerate(marks.classes)
        if not good[c]
    ]  # fmt: skip
    if good.sum() < (1 if marks.kind == "several" else 2):
        raise SupportError(f"nothing can be told apart yet: {'; '.join(notes) or _one_alone(marks, what)}")
    classes = tuple(name for name, there in zip(marks.classes, good, strict=True) if there)
    targets = examples.targets[:, good]
    kept = dataclasses.replace(examples, targets=targets, classes=classes)
    return kept, [f"{note}; it is left out" for note in notes]


def _why_not(name: str, what: str, *, shown: bool) -> str:
    if shown:
        return f"'{name}' is on every marked {what}; mark one that does not show it"
    return f"'{name}' is on no marked {what}; mark one that shows it"


def _one_alone(marks: SliceMarks, what: str) -> str:
    return f"there is one class alone, '{marks.classes[0]}'; name a second one, and mark a {what} of it"


def _scorer(examples: _Examples, marks: SliceMarks, settings: LearnSettings, draws: IntArray) -> Steps[Scorer]:
    if settings.head == "logistic":
        return learn_linear(
            examples.points, examples.targets, marks.kind, draws=draws, inverse_penalty=settings.inverse_penalty
        )
    if settings.head == "knn":
        return learn_neighbours(examples.points, examples.targets, draws=draws, neighbours=settings.neighbours)
    return (
        yield from learn_bags(
            examples.bags, examples.targets, marks.kind, pooling=settings.head, draws=draws.astype(np.float32),
            steps=settings.steps, seed=settings.seed,
        )
    )  # fmt: skip


def _held_out_logits(examples: _Examples, marks: SliceMarks, settings: LearnSettings) -> Steps[FloatArray]:
    """(N, C) logits of every example by a head that did not learn from its part; NaN where that part was needed."""
    logits = np.full(examples.targets.shape, np.nan, np.float32)
    for train, held in folds(examples.targets, examples.scan):
        yield Progress(0, 0, "checking on marks kept aside")
        part = examples.only(train)
        both = (part.targets == 1).any(0) & ((part.targets == 0).any(0))
        if not len(train) or not (both.any() if marks.kind == "several" else both.all()):
            continue
        scorer = yield from _scorer(part, marks, settings, np.ones((1, len(train)), np.intp))
        for i in held:
            bag = examples.bags[i]
            found = scorer.exam_logits(bag)[0] if settings.head in _EXAM_HEADS else scorer.logits(bag)[0, 0]  # type: ignore[union-attr]  # exam heads have bag scorers
            logits[i] = np.where(both, found, np.nan)
    return logits


def _profile(examples: _Examples, draws: IntArray) -> HeightProfile | None:
    if examples.heights is None:
        return None
    return learn_profile(examples.heights, examples.targets, examples.scan, draws=draws)


def _held_out_heights(examples: _Examples) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """(N, C) what heights add to the logits of every example, by the marks of other folds; (C,) where nothing.

    Folds are those of `_held_out_logits`. Whether a class lies anywhere is asked only when whole scans are kept aside.
    """
    logits = np.zeros(examples.targets.shape, np.float32)
    for train, held in folds(examples.targets, examples.scan) if examples.heights is not None else ():
        if len(train):
            part = examples.only(train)
            profile = _profile(part, np.ones((1, len(train)), np.intp))
            assert profile is not None  # the heights are there
            assert examples.heights is not None
            logits[held] = profile.logits(examples.heights[held])[0]
    several = len(np.unique(examples.scan)) > 1
    anywhere = lies_anywhere(logits, examples.targets) & several
    return np.where(anywhere, np.float32(0), logits), anywhere


def _thresholds(
    kept_aside: FloatArray, targets: FloatArray, calibration: Calibration, marks: SliceMarks, settings: LearnSettings
) -> FloatArray:
    """(C,) chosen on the marks as heads that did not see them say; where a slice shows one class, one half."""
    rule = settings.threshold if marks.kind == "several" else "half"
    stated = calibration.probability(kept_aside, marks.kind)
    return np.array([choose_threshold(targets[:, c], stated[:, c], rule) for c in range(targets.shape[1])], np.float32)


def _doubts(classes: tuple[str, ...], calibration: Calibration) -> list[str]:
    vague = [name for name, fitted in zip(classes, calibration.fitted, strict=True) if not fitted]
    if not vague:
        return []
    return [
        f"too few marks to calibrate {', '.join(vague)}: read the scores as an order, or mark three slices or more "
        "with and without"
    ]


def _card(
    vectors: Mapping[str, SliceVectors], marks: SliceMarks, settings: LearnSettings, seconds: float
) -> dict[str, Any]:
    return {
        "settings": to_dict(settings),
        "scans": len(vectors),
        "marked_scans": sum(1 for marked in marks.slices.values() if marked),
        "marked_slices": marks.count,
        "marked_exams": len(marks.exams),
        "seconds": round(seconds, 3),
    }
