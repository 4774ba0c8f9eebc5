"""Questions of likeness and their answers: plain arrays, no window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_medssl.progress import finish
from napari_medssl.widgets._feature_work import place_steps
from napari_medssl.widgets._features import Features

if TYPE_CHECKING:
    from napari_medssl.explore.similarity import SimilarityIndex

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Question:
    """What is looked for, from a scan, in it and in others.

    like, unlike: (N, 3) RAS mm. region: (1, C) unit vector of a drawn region, None without one. linked: the scan whose
    nearest place to the last of `like` is asked for. asked: when, in s.
    """

    features: Features
    like: npt.NDArray[Any]
    unlike: npt.NDArray[Any]
    region: Floats | None = None
    others: Sequence[Features] = ()
    linked: Features | None = None
    asked: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing is looked for."""
        return not len(self.like) and self.region is None


@dataclass(frozen=True, eq=False)
class Answer:
    """fields: a scan and its (Z, Y, X) likeness in [-1, 1]. threshold: that parts alike from the rest (Otsu's).

    linked: (3,) RAS mm of the nearest place in the linked scan and its likeness.
    """

    question: Question
    fields: list[tuple[Features, Floats]] = field(default_factory=list)
    threshold: float = 0.0
    linked: tuple[npt.NDArray[np.float64], float] | None = None


def answer(question: Question) -> Answer:
    """Likeness of every cell of the scans. Raises GeometryError for a point beyond the features."""
    index: SimilarityIndex = question.features.kept["index"]
    like = index.at(question.like) if len(question.like) else np.zeros((0, question.features.grid.channels), np.float32)
    unlike = index.at(question.unlike) if len(question.unlike) else None
    wanted = like if question.region is None else np.concatenate([question.region, like])
    fields = [(f, f.kept["index"].map(wanted, unlike)) for f in (question.features, *question.others)]
    linked = None
    if question.linked is not None and len(question.like):
        linked = _nearest(question, question.linked)
    return Answer(question, fields, _threshold(fields[0][1][question.features.body]), linked)


def _nearest(question: Question, linked: Features) -> tuple[npt.NDArray[np.float64], float]:
    """RAS mm of the corresponding place in a scan, and its likeness. The first time takes longer: the scans' places to
    each other are found."""
    from napari_medssl.explore.nearest import nearest_points

    place = finish(place_steps(question.features, linked))
    a, b = question.features.kept["index"], linked.kept["index"]
    found = nearest_points(a, question.like[-1:], b, place=place)
    return found.points_mm[0], float(found.similarity[0])


def _threshold(values: Floats) -> float:
    """Otsu's, of the values above 0: what points away from the question is no part of it anyway."""
    from skimage.filters import threshold_otsu

    positive = values[values > 0]
    if not len(positive) or positive.min() == positive.max():
        return 0.5
    return float(threshold_otsu(positive))  # type: ignore[no-untyped-call]
