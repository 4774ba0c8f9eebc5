"""What the weights know of an organ is weighed by how sure they are, and asked for no more than is needed."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.intensity import window_limits
from napari_medssl.oneshot.opinion import Example, Opinion, opinion_steps
from napari_medssl.oneshot.recognition import Known
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.oneshot.by_brightness import LEFT, LOOKS, RIGHT, SHAPE, ByBrightness, Made, at, block, scan


def asked_about(volume: Volume, mask: np.ndarray, models: Made, *, query: Volume | None = None) -> Opinion | None:
    """What `models` say of an organ that is labelled on slice 5 of a scan."""
    query = query or volume
    example = Example(volume, window_limits(volume), {5: mask})
    return finish(opinion_steps(query, [example], models, window_limits(query)))  # type: ignore[arg-type]


def test_an_opinion_moves_a_map_by_its_share_and_trust() -> None:
    known = Known("set", (1,), ("bright",), 0.7)  # half of the way from unsure to sure
    opinion = Opinion(known, np.ones((3, 3, 3), np.float16))
    found = np.zeros((3, 3, 3), np.float16)
    finish(opinion.blend_steps(found, 0.4, low=1))
    np.testing.assert_allclose(found[1:], 0.2, atol=1e-3)
    np.testing.assert_array_equal(found[0], 0)


def test_another_structure_is_taken_out_however_little_is_trusted_of_the_rest() -> None:
    volume = scan()
    volume.data[:, 50:60, 36:58] = 63.5  # grey under all looks
    known = Known("set", (1,), ("bright",), 0.5, others=(2,))  # no trust at all
    opinion = Opinion(known, np.zeros(SHAPE, np.float16), at(volume))
    found = np.full(SHAPE, 0.8, np.float16)
    finish(opinion.blend_steps(found, 0.6, low=3))
    np.testing.assert_allclose(found[3:, 52:58, 40:54], 0, atol=2e-3)
    np.testing.assert_allclose(found[:3], 0.8, atol=2e-3)
    np.testing.assert_allclose(found[:, LEFT[1], LEFT[2]], 0.8, atol=2e-3)


def test_others_are_only_asked_for_where_the_organ_itself_is_not_trusted_fully() -> None:
    volume = scan()
    spread = block(LEFT, 5)
    spread[45:63, 6:36] = True  # the bright block has half of the mask
    for mask, looks in ((block(LEFT, 5), 1), (spread, LOOKS)):
        models = Made()
        opinion = asked_about(volume, mask, models)
        assert opinion is not None
        finish(opinion.blend_steps(np.ones(SHAPE, np.float16), 0.6))
        assert models.recogniser.asked == LOOKS + SHAPE[0] * looks


def test_others_are_only_asked_for_on_slices_that_may_show_the_organ() -> None:
    tall = Volume(np.concatenate([scan().data] * 4), scan().affine)  # 48 slices, asked in batches of 8
    tall.data[:, 50:60, 36:58] = 63.5
    spread = block(LEFT, 5)
    spread[45:63, 6:36] = True
    whole, part, none = ({"asked": 0, "found": np.zeros(tall.shape, np.float16)} for _ in range(3))
    for case, shown in ((whole, np.s_[:]), (part, np.s_[18:22]), (none, np.s_[:0])):
        models = Made()
        opinion = asked_about(tall, spread, models)
        assert opinion is not None
        before = models.recogniser.asked
        case["found"][shown] = 0.9
        opinion.probability[:] = case["found"]
        finish(opinion.blend_steps(case["found"], 0.6))
        case["asked"] = models.recogniser.asked - before
    assert whole["asked"] == (LOOKS - 1) * 48
    assert part["asked"] == (LOOKS - 1) * 8  # slices 16 to 23
    assert none["asked"] == 0
    np.testing.assert_array_equal(part["found"][18:22], whole["found"][18:22])
    assert part["found"][20, 55, 45] < 0.01 < part["found"][20, 30, 15]


def test_an_organ_that_the_scan_is_too_small_for_is_not_looked_for_there() -> None:
    volume = scan()
    small = Volume(volume.data, volume.affine @ np.diag([1, 0.9, 0.9, 1]))
    models = Made(ByBrightness(least_mm=60))
    assert asked_about(volume, block(LEFT, 5), models) is not None
    before = models.recogniser.asked
    assert asked_about(volume, block(LEFT, 5), models, query=small) is None
    assert models.recogniser.asked == before + LOOKS  # the labelled slice alone


def test_the_best_recognised_example_decides() -> None:
    volume = scan()
    unsure = Example(volume, window_limits(volume), {5: block(LEFT, 5) | (block(RIGHT, 5) & (np.arange(64) < 45))})
    sure = Example(volume, window_limits(volume), {5: block(LEFT, 5)})
    for examples in ([unsure, sure], [sure, unsure]):
        opinion = finish(opinion_steps(volume, examples, Made(), window_limits(volume)))  # type: ignore[arg-type]
        assert opinion is not None
        assert opinion.known.overlap > 0.98


def test_an_opinion_begins_and_ends_with_the_part_that_agrees() -> None:
    probability = np.zeros((20, 16, 16), np.float16)
    probability[3:9, 2:6, 2:6] = 0.7
    probability[12:20, 8:14, 8:14] = 0.9  # larger, but somewhere else
    opinion = Opinion(Known("set", (1,), ("bright",), 0.8), probability)
    found = np.zeros(probability.shape, np.float32)
    assert opinion.extent(found) is None
    found[5:14, 3:6, 3:6] = 0.8
    assert opinion.extent(found) == (3, 9)
    assert Opinion(opinion.known, probability / 2).extent(found) is None


@pytest.mark.parametrize(
    ("overlap", "shift", "agrees"), [(0.62, 3, True), (0.62, 6, False), (0.9, 6, True), (0.9, 8, False)]
)
def test_the_less_sure_an_organ_was_recognised_the_more_must_agree(overlap: float, shift: int, agrees: bool) -> None:
    """Blocks 8 wide that are 3, 6 and 8 apart have a Dice of 0.63, 0.25 and 0."""
    probability = np.zeros((20, 16, 32), np.float16)
    probability[:, 4:12, 4:12] = 0.7
    found = np.roll(probability, shift, 2).astype(np.float32)
    found[:5], found[15:] = 0, 0
    opinion = Opinion(Known("set", (1,), ("bright",), overlap), probability)
    assert opinion.agrees_with(found, low=5, high=15) == agrees
