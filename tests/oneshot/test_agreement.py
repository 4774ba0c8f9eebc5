"""Finding the sure slice that is another organ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from napari_medssl.oneshot.agreement import take_out_outlier_steps
from napari_medssl.progress import Progress, Steps, finish

SHAPE = (12, 20, 20)
SEEDS = (2, 5, 9)
BODY = (slice(5, 15), slice(5, 15))


def match() -> np.ndarray:
    found = np.full(SHAPE, 0.1, np.float32)
    found[(slice(1, 11), *BODY)] = 0.8
    return found


class Guide:
    """Carries each seed through the slices it is told to."""

    def __init__(self, **ways: tuple[int, int]) -> None:
        self.ways, self.asked = {int(k[1:]): v for k, v in ways.items()}, 0

    def __call__(self, parts: Mapping[int, Mapping[int, np.ndarray]]) -> Steps[dict[int, np.ndarray]]:
        yield Progress(0, 1, "carrying")
        self.asked += 1
        found = {}
        for name, slices in parts.items():
            ((z, mask),) = slices.items()
            assert name == z
            found[name] = np.zeros(SHAPE, np.float16)
            found[name][(slice(*self.ways[z]), *BODY)] = 0.75
            found[name][z] = mask
        return found


def test_the_one_that_reaches_no_other_goes_with_its_way() -> None:
    found = match()
    assert finish(take_out_outlier_steps(found, SEEDS, Guide(z2=(1, 7), z5=(1, 7), z9=(7, 12))))
    np.testing.assert_allclose(found[(slice(7, 9), *BODY)], 0.2, atol=1e-3)
    assert not found[(9, *BODY)].any()  # the seed itself, of which all is sure
    np.testing.assert_array_equal(found[:7], match()[:7])


def test_the_way_of_an_outlier_spares_the_slices_of_the_others() -> None:
    found = match()
    # It runs over slice 2, but arrives beside the organ that the others agree on.
    guide = Guide(z2=(1, 7), z5=(1, 7), z9=(7, 12))
    assert finish(take_out_outlier_steps(found, SEEDS, lambda parts: _shifted(guide, parts)))
    np.testing.assert_array_equal(found[2], match()[2])


def _shifted(guide: Guide, parts: Mapping[int, Mapping[int, np.ndarray]]) -> Steps[dict[int, np.ndarray]]:
    ways = yield from guide(parts)
    ways[9][2, 5:8, 5:15] = 0.9  # three tenths of the organ there
    return ways


@pytest.mark.parametrize(
    "ways",
    [
        {"z2": (1, 11), "z5": (1, 11), "z9": (1, 11)},
        {"z2": (1, 7), "z5": (1, 11), "z9": (8, 11)},
        {"z2": (1, 4), "z5": (4, 7), "z9": (7, 12)},
    ],
    ids=["all agree", "one reaches both", "none agrees"],
)
def test_without_two_against_one_nothing_is_said(ways: dict[str, tuple[int, int]]) -> None:
    found = match()
    assert not finish(take_out_outlier_steps(found, SEEDS, Guide(**ways)))
    np.testing.assert_array_equal(found, match())


@pytest.mark.parametrize("seeds", [(), (4,), (4, 6)])
def test_fewer_than_three_are_not_asked(seeds: tuple[int, ...]) -> None:
    guide = Guide()
    assert not finish(take_out_outlier_steps(match(), seeds, guide))
    assert not guide.asked
