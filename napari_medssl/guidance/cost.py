"""What labels cost, by the benchmark prices of the guide."""

from __future__ import annotations

from dataclasses import dataclass

from napari_medssl.errors import SettingsError

PRICES: dict[str, tuple[float, float | None]] = {
    "box": (0.03, 0.08),
    "polygon": (0.04, None),
    "segmentation": (0.84, 3.00),
    "keypoint": (0.01, 0.03),
}
"""Dollars for one label of general images, lowest and highest; no highest is given for polygons (G 25-31)."""
MEDICAL = (3.0, 5.0)
"""Medical images cost three to five times as much (G 37)."""


@dataclass(frozen=True)
class Cost:
    """Dollars for a number of labels; `high` is None where the guide gives no upper price."""

    kind: str
    count: int
    medical: bool
    low: float
    high: float | None

    def __str__(self) -> str:
        where = "of medical images" if self.medical else "of general images"
        upper = f"to {self.high:,.2f}" if self.high is not None else "and more"
        price = f"{self.low:,.2f} {upper} US dollars"
        return f"{self.count:,} x {self.kind} {where}: {price} (G 25-37; review and rework come on top)"


def annotation_cost(kind: str, count: int, *, medical: bool = True) -> Cost:
    """The price range of `count` labels of a kind: box, polygon, segmentation (per image or slice), keypoint.

    Raises SettingsError for another kind or a negative count.

    >>> annotation_cost("segmentation", 100).low
    252.0
    """
    if kind not in PRICES:
        raise SettingsError(f"no price is known for {kind!r}; choose one of: {', '.join(PRICES)}")
    if count < 0:
        raise SettingsError(f"the number of labels is {count}; it must be at least 0")
    low, high = PRICES[kind]
    least, most = MEDICAL if medical else (1.0, 1.0)
    return Cost(
        kind, count, medical, round(low * least * count, 2), None if high is None else round(high * most * count, 2)
    )
