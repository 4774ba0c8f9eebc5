"""The numbers of the thesis: Dice in percent on CHAOS T2-SPIR, tables 7.1 to 7.4."""

from __future__ import annotations

from typing import Literal

ORGANS = ("right kidney", "left kidney", "liver", "spleen")
"""The columns, in the order of the thesis."""

METHODS: dict[str, tuple[float, float, float, float]] = {
    "SE-Net (supervised)": (61.32, 62.11, 27.43, 51.80),
    "PANet (supervised)": (38.64, 53.45, 42.26, 50.90),
    "ALPNet (supervised)": (58.99, 53.21, 37.32, 52.18),
    "SSL-PANet": (47.95, 47.71, 64.99, 58.73),
    "SSL-ALPNet": (78.39, 73.63, 73.05, 67.02),
    "CRAPNet": (82.77, 74.66, 73.82, 70.82),
    "CoWPro": (79.66, 75.30, 75.77, 71.51),
}
"""Table 7.1. CoWPro's right kidney is that of Table 7.3: the 80.45 printed in 7.1 does not give the mean printed beside
it, 75.56; 79.66 does (B7-13)."""

THRESHOLDS: dict[str, tuple[float, float, float, float]] = {
    "fixed": (79.06, 72.24, 75.04, 71.19),
    "dynamic": (79.54, 74.59, 73.87, 66.33),
}
"""Table 7.2, without quadrants."""

QUADRANTS: dict[str, tuple[float, float, float, float]] = {
    "yes": (79.66, 75.30, 75.77, 71.51),
    "no": (79.06, 72.24, 75.04, 71.19),
}
"""Table 7.3, fixed threshold."""

PERCENTS = (100.0, 50.0, 10.0, 5.0, 2.0)

PROTOTYPES: dict[Literal[2, 4], dict[float, tuple[float, float]]] = {
    2: {100.0: (79.99, 76.22), 50.0: (79.89, 76.24), 10.0: (79.49, 75.22), 5.0: (78.16, 73.46), 2.0: (75.69, 70.42)},
    4: {100.0: (80.77, 72.87), 50.0: (80.72, 72.94), 10.0: (80.94, 73.81), 5.0: (81.08, 74.43), 2.0: (80.68, 74.86)},
}
"""Table 7.4: window, then share of prototypes, to (right, left kidney), without quadrants. Its threshold is not said
(B7-38)."""
