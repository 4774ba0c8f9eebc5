"""How a head is learned from marked slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from napari_medssl.classify.slices.thresholds import Rule
from napari_medssl.settings import setting

HeadKind: TypeAlias = Literal["logistic", "knn", "attention", "max"]


@dataclass(frozen=True)
class LearnSettings:
    """head: "logistic" and "knn" learn from marked slices, "attention" and "max" from exams as a whole."""

    head: HeadKind = setting(
        "logistic", "logistic and knn learn from marked slices; attention and max from exams as a whole"
    )
    height: bool = setting(
        True, "let the height in the body count: for organs; leave it out for findings that can lie anywhere"
    )
    members: int = setting(8, "heads learned on other draws of the marks, for the uncertainty", ge=2, le=64)
    threshold: Rule = setting("youden", "how the threshold of a class is chosen, on marks a head did not see")
    inverse_penalty: float = setting(10.0, "logistic: trust in the marks; lower is smoother", ge=1e-4, le=1e4)
    neighbours: int = setting(5, "knn: marked slices that vote", ge=1, le=200)
    steps: int = setting(150, "attention and max: optimiser steps", ge=1, le=10_000, advanced=True)
    seed: int = setting(0, "of all that is drawn at random", ge=0, advanced=True)
