"""Whom a classifier was made from, in a form that may be handed on with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.exams.exam import ExamSet


def digests(people: Iterable[object]) -> list[str]:
    """Short hashes of names, sorted, each once: names of people do not belong into a file that is handed on."""
    return sorted({_digest(person) for person in people})


def strangers(exams: ExamSet, card: dict[str, Any]) -> npt.NDArray[np.intp]:
    """Numbers of the exams whose person was neither learned from nor tuned on by the classifier of this card."""
    known = {d for part in ("train", "tuning") for d in card.get(part, {}).get("people", ())}
    return np.array([n for n, e in enumerate(exams.exams) if _digest(e.person) not in known], np.intp)


def _digest(person: object) -> str:
    return hashlib.sha256(str(person).encode()).hexdigest()[:16]
