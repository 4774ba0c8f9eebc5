"""Probabilities that mean what they say: calibration fitted on tuning data, and kept away from the people tested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.isotonic import IsotonicRegression

from napari_medssl.errors import FormatError, SettingsError

Kind: TypeAlias = Literal["several", "one"]
CalibrationMethod: TypeAlias = Literal["none", "temperature", "isotonic"]
FloatArray: TypeAlias = npt.NDArray[np.float64]

_FORMAT = 1
# Probabilities are kept this far from where log-odds and logarithms are infinite; between 0 and 1 in single precision
# there is nothing nearer to 1.
_EDGE, _LOG_EDGE = 1e-7, 1e-12
_TEMPERATURES = (0.05, 20.0)  # ours: beyond, the tuning data are separable and say nothing more
LEAST_ISOTONIC = 50
"""Ours: tuning examples of each side of a label under which steps of isotonic regression are mostly noise."""


@dataclass(frozen=True)
class Calibrator:
    """From a model's probabilities to calibrated ones.

    method: how. kind: "several" yes-or-no labels, each by itself, or "one" class out of several. labels: their names.
    temperatures: (L,) log-odds, or log-probabilities, are divided by; above 1 makes a model less sure.
    knots: for each label the stated and the observed probabilities of isotonic regression, linear in between.
    people: digests of the people it was fitted on. notes: what could not be fitted, as sentences.
    """

    method: CalibrationMethod
    kind: Kind
    labels: tuple[str, ...]
    temperatures: tuple[float, ...] = ()
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()
    people: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __call__(self, probability: npt.NDArray[np.floating]) -> FloatArray:
        """(..., L) calibrated probabilities of (..., L) in [0, 1]; where there is one class, they sum to 1.

        Raises SettingsError for another number of labels.
        """
        p = np.asarray(probability, np.float64)
        if p.shape[-1] != len(self.labels):
            raise SettingsError(f"{p.shape[-1]} probabilities were given; the calibration is for {len(self.labels)}")
        if self.method == "temperature":
            return _tempered(p, np.array(self.temperatures), self.kind)
        return _stepped(p, self.knots, self.kind) if self.method == "isotonic" else p

    def check_apart(self, people: Iterable[object]) -> None:
        """Raise SettingsError when one of these people was among those it was fitted on: a test on them would flatter
        it."""
        known = set(self.people)
        both = sorted({str(p) for p in people if _digest(p) in known})
        if both:
            some = ", ".join(both[:3]) + (" ..." if len(both) > 3 else "")
            raise SettingsError(
                f"the calibration was fitted on {len(both)} of the people it is to be tested on ({some}); "
                "fit it on people of the tuning part alone"
            )

    def state(self) -> dict[str, Any]:
        """Everything it is, in plain JSON values."""
        return {
            "format": _FORMAT, "method": self.method, "kind": self.kind, "labels": list(self.labels),
            "temperatures": list(self.temperatures), "knots": [[list(x), list(y)] for x, y in self.knots],
            "people": list(self.people), "notes": list(self.notes),
        }  # fmt: skip


def fit_calibrator(
    probability: npt.NDArray[np.floating],
    targets: npt.NDArray[np.floating],
    *,
    method: CalibrationMethod,
    kind: Kind,
    labels: Sequence[str],
    people: Iterable[object],
) -> Calibrator:
    """A calibration of `method`, from examples that the model did not learn from and that no result is reported on.

    probability: (N, L) of the model, targets: (N, L) 1, 0, or NaN where unknown. people: (N,) whose each example is;
    they are remembered by digest, so that `check_apart` can refuse to test on them.

    temperature: the one under which the examples are most likely, one per label ("several") or one for all ("one").
    Order, and so the AUC, stays. isotonic: the growing function of the probability nearest to what was observed, label
    by label; for one class out of several, rows are divided by their sum. A label without examples of both sides
    stays as it is, with a note.

    Raises SettingsError for no example or shapes that do not fit.

    Source: Guo et al., On calibration of modern neural networks (2017); Zadrozny and Elkan (2002). Ours: temperatures
    are kept between 0.05 and 20; probabilities are taken instead of scores, whose log-odds (several) or logarithms
    (one) give the same, so that means over draws and votes over planes can be calibrated too; and, for temperatures,
    Platt's targets (1999), (n + 1) / (n + 2) and 1 / (n + 2) of the n examples of a side, so that a handful of examples
    that are told apart without a fault do not make everything certain.
    """
    p, t = np.asarray(probability, np.float64), np.asarray(targets, np.float64)
    if p.ndim != 2 or p.shape != t.shape or p.shape[1] != len(labels) or not len(p):
        raise SettingsError(
            f"calibration needs tuning examples with a probability and a target for each of {len(labels)} labels; got "
            f"{p.shape} and {t.shape}"
        )
    notes: list[str] = []
    temperatures = _temperatures(p, t, kind, labels, notes) if method == "temperature" else ()
    isotonic = enumerate(labels) if method == "isotonic" else ()
    knots = tuple(_knots(p[:, c], t[:, c], name, notes) for c, name in isotonic)
    known = tuple(sorted({_digest(person) for person in people}))
    return Calibrator(method, kind, tuple(labels), temperatures, knots, known, tuple(notes))


def calibrator_from(state: Mapping[str, Any]) -> Calibrator:
    """The calibrator of a `state`. Raises FormatError when it is damaged or of a newer format."""
    try:
        if state["format"] != _FORMAT:
            raise FormatError(f"the calibration has format {state['format']}; this version reads {_FORMAT}")
        found = Calibrator(
            state["method"], state["kind"], tuple(map(str, state["labels"])),
            tuple(float(v) for v in state["temperatures"]),
            tuple((tuple(map(float, x)), tuple(map(float, y))) for x, y in state["knots"]),
            tuple(map(str, state["people"])), tuple(map(str, state["notes"])),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"the calibration is damaged ({error!r}); fit it again") from error
    counts = {"none": (0, 0), "temperature": (len(found.labels), 0), "isotonic": (0, len(found.labels))}
    right = counts.get(found.method) == (len(found.temperatures), len(found.knots)) and found.kind in ("several", "one")
    if not right or not all(t > 0 for t in found.temperatures):
        raise FormatError(
            f"the calibration is damaged: its {found.method!r} values do not fit its labels; fit it again"
        )
    return found


def _tempered(p: FloatArray, temperatures: FloatArray, kind: Kind) -> FloatArray:
    if kind == "one":
        return np.asarray(softmax(np.log(np.maximum(p, _LOG_EDGE)) / temperatures, axis=-1))
    return np.asarray(expit(_log_odds(p) / temperatures))


def _log_odds(p: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(p, _EDGE, 1 - _EDGE)))


def _temperatures(
    p: FloatArray, t: FloatArray, kind: Kind, labels: Sequence[str], notes: list[str]
) -> tuple[float, ...]:
    if kind == "several":
        return tuple(_label_temperature(p[:, c], t[:, c], name, notes) for c, name in enumerate(labels))
    known = ~np.isnan(t).any(1)
    classes, scores = t[known].argmax(1), np.log(np.maximum(p[known], _LOG_EDGE))
    if len(np.unique(classes)) < 2:
        notes.append("the tuning examples are of one class; the probabilities stay as they are")
        return (1.0,) * len(labels)
    goal = _goal(classes, len(labels))
    return (_likeliest(lambda s: -(goal * log_softmax(scores * s, axis=1)).sum()),) * len(labels)


def _label_temperature(p: FloatArray, t: FloatArray, name: str, notes: list[str]) -> float:
    known = ~np.isnan(t)
    x, y = _log_odds(p[known]), t[known]
    if not 0 < y.sum() < len(y):
        notes.append(_one_sided(name, y))
        return 1.0
    goal = _goal(y.astype(int), 2)[:, 1]
    return _likeliest(lambda s: np.sum(np.logaddexp(0, x * s) - goal * x * s))


def _goal(classes: npt.NDArray[np.integer], count: int) -> FloatArray:
    """(N, count) what examples are held to be: mostly their class, by one more than there are of it, and a little of
    every other one."""
    own = np.bincount(classes, minlength=count)[classes].astype(np.float64)
    goal = np.repeat(1 / (own + count)[:, None], count, 1)
    goal[np.arange(len(classes)), classes] = (own + 1) / (own + count)
    return goal


def _likeliest(loss: Any) -> float:
    """The temperature of least loss; the loss is convex in its inverse, which it is asked for."""
    low, high = (1 / t for t in reversed(_TEMPERATURES))
    return float(1 / minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6}).x)


def _knots(p: FloatArray, t: FloatArray, name: str, notes: list[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    known = ~np.isnan(t)
    x, y = p[known], t[known]
    positive = int(y.sum())
    if not 0 < positive < len(y):
        notes.append(_one_sided(name, y))
        return (0.0, 1.0), (0.0, 1.0)
    if min(positive, len(y) - positive) < LEAST_ISOTONIC:
        notes.append(
            f"{name}: {positive} of {len(y)} tuning examples are positive; isotonic calibration wants "
            f"{LEAST_ISOTONIC} of each side, temperature takes fewer"
        )
    found = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(x, y)
    return tuple(map(float, found.X_thresholds_)), tuple(map(float, found.y_thresholds_))


def _stepped(p: FloatArray, knots: Sequence[tuple[Sequence[float], Sequence[float]]], kind: Kind) -> FloatArray:
    columns = [np.interp(p[..., c], x, y) for c, (x, y) in enumerate(knots)]
    found = np.stack(columns, -1)
    if kind == "several":
        return found
    total = found.sum(-1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1), p)  # said to be none of all: as it was


def _one_sided(name: str, y: FloatArray) -> str:
    side = "unknown" if not len(y) else "positive" if y.any() else "negative"
    return f"{name}: all tuning examples are {side}; its probability stays as it is"


def _digest(person: object) -> str:
    """Names of people do not belong into a file that is handed on."""
    return hashlib.sha256(str(person).encode()).hexdigest()[:16]
