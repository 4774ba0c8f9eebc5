"""How good predicted numbers are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.metrics.measure import Measure


def number_scores(truth: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> dict[str, Measure]:
    """Mean absolute, mean squared and root mean squared error, in the numbers' unit, and R2.

    truth, predicted: (N,). R2 is None when all true numbers are equal: there is nothing to explain.
    Raises ValueError when there is no example.
    """
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    if not len(truth) or truth.shape != predicted.shape:
        raise ValueError(f"{truth.shape} true numbers and {predicted.shape} predicted ones; give as many, and some")
    squared = float(np.mean((predicted - truth) ** 2))
    spread = float(truth.var())
    r2 = Measure(1 - squared / spread) if spread > 0 else Measure(None, "all true numbers are equal")
    return {
        "mae": Measure(float(np.mean(np.abs(predicted - truth)))),
        "mse": Measure(squared),
        "rmse": Measure(squared**0.5),
        "r2": r2,
    }
