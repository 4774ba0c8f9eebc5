"""Names and colours of organs."""

from __future__ import annotations

import pytest

from napari_medssl.labels import PALETTE, Label, default_label


def test_the_first_organs_get_different_colours() -> None:
    first = [default_label(v) for v in range(1, len(PALETTE) + 1)]
    assert len({label.color for label in first}) == len(PALETTE) == 8
    assert first[0] == Label(1, "organ 1", PALETTE[0])


@pytest.mark.parametrize("value", [9, 255, 1000])
def test_colours_repeat_for_large_values(value: int) -> None:
    label = default_label(value)
    assert label.value == value
    assert label.color == PALETTE[(value - 1) % 8]


def test_colours_are_bytes_and_none_is_the_background() -> None:
    assert all(0 <= c <= 255 for color in PALETTE for c in color)
    assert (0, 0, 0) not in PALETTE
