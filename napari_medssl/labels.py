"""Names and colours of the organs in a label map."""

from __future__ import annotations

from dataclasses import dataclass

# Distinct on a grey image and for the common colour-vision deficiencies (Okabe and Ito, 2008), then repeated.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), (153, 153, 153),
)  # fmt: skip


@dataclass(frozen=True)
class Label:
    """One organ: `value` in the array (>= 1), `name` for people, `color` as RGB bytes."""

    value: int
    name: str
    color: tuple[int, int, int]


def default_label(value: int) -> Label:
    """A label with a plain name and the next colour of the palette."""
    return Label(value, f"organ {value}", PALETTE[(value - 1) % len(PALETTE)])
