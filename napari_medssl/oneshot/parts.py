"""Which labelled slice serves which query slice, and where the organ's slices lie in another scan."""

from __future__ import annotations

import math
from collections.abc import Sequence

PARTS = 3
"""Equal parts an organ's slice range is cut into (thesis 7.4.2.2)."""


def part_of(k: int, n: int, *, parts: int = PARTS) -> int:
    """The part, 0 to parts - 1, of slice k of the n slices of a range: min(parts - 1, floor(parts k / n)).

    >>> [part_of(k, 7) for k in range(7)]
    [0, 0, 0, 1, 1, 2, 2]
    """
    if not 0 <= k < n:
        raise ValueError(f"slice {k} is not one of {n}")
    return min(parts - 1, parts * k // n)


def support_positions(n: int) -> tuple[int, int, int]:
    """Which of the organ's n slices to label, one for each part: floor((2 p + 1) n / 6), the middles of the parts.

    With fewer than three slices the middle one, floor(n / 2), serves all parts (B7-33).

    >>> support_positions(10), support_positions(2)
    ((1, 5, 8), (1, 1, 1))
    """
    if n < 1:
        raise ValueError("an organ without slices has no support slice")
    if n < PARTS:
        return n // 2, n // 2, n // 2
    low, middle, high = ((2 * p + 1) * n // (2 * PARTS) for p in range(PARTS))
    return low, middle, high


def support_slices(slices: Sequence[int]) -> tuple[int, int, int]:
    """The slice numbers to label, from all slice numbers (ascending) that hold the organ."""
    low, middle, high = (slices[i] for i in support_positions(len(slices)))
    return low, middle, high


def serving_slices(labelled: Sequence[int], query: tuple[int, int]) -> dict[int, int]:
    """For each query slice the labelled slice whose prototypes serve it.

    labelled: slice numbers in the labelled scan, at least one; taken as the middles of as many equal parts of the
    organ, in order: three give the published scheme, one serves every slice (B7-35). Repeated numbers are kept (an
    organ on fewer than three slices). query: half-open slice range of the organ in the query.

    >>> serving_slices([20, 24, 28], (5, 11))
    {5: 20, 6: 20, 7: 24, 8: 24, 9: 28, 10: 28}
    """
    if not labelled:
        raise ValueError("no labelled slice")
    ordered = sorted(labelled)
    low, high = query
    n = high - low
    return {low + k: ordered[part_of(k, n, parts=len(ordered))] for k in range(n)}


def transfer_range(support: tuple[int, int], support_count: int, query_count: int) -> tuple[int, int]:
    """Where the organ probably lies in a query whose own range is unknown (B7-32).

    support: half-open slice range of the organ in the labelled scan. support_count, query_count: slices of the scans.
    The range covers the same fraction of the scan from its first slice on, rounded outward, at least one slice. It
    presumes that both scans cover the same part of the body in the same direction.

    >>> transfer_range((10, 20), 40, 30)
    (7, 15)
    """
    low, high = support
    if not 0 <= low < high <= support_count:
        raise ValueError(f"slices {low} to {high} are no range of a scan with {support_count}")
    first = min(low * query_count // support_count, query_count - 1)
    return first, max(first + 1, math.ceil(high * query_count / support_count))
