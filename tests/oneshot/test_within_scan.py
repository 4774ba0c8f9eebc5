"""Within a scan: carried, checked by a random walker that is weighted by the organ's size, and revised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.oneshot import within_scan
from napari_medssl.oneshot.diffusion import diffuse_near
from napari_medssl.oneshot.propagation import PropagationSettings, propagate_steps
from napari_medssl.oneshot.recognition import Known
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.within_scan import Walk, opinions_steps, second_opinion, within_scan_steps
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume
from tests.oneshot.conftest import MadeModels
from tests.oneshot.test_propagation import Made, bright, organ, scan

LIMITS = (0.0, 100.0)
PLAIN = PropagationSettings(step_mm=0)


def walk(query: Volume, share: float) -> Walk:
    """Through a scan, with a propagator alone."""
    return Walk(
        query, MadeModels(propagator=bright()), SegmentSettings(walker_share=share, propagation=PLAIN), LIMITS, None
    )


def test_the_walker_counts_by_the_labelled_area() -> None:
    mask = organ()
    query, anchors = scan(mask), {1: {8: mask[8]}}
    carried = finish(propagate_steps(query, anchors, bright(), PLAIN, limits=LIMITS, device=torch.device("cpu")))
    walked = diffuse_near(query, anchors[1], carried[1], limits=LIMITS).astype(np.float32)
    area = float(mask[8].sum())  # pixels of 1 mm2
    weight = 0.8 * area / (area + 700)
    expected = (1 - weight) * carried[1].astype(np.float32) + weight * walked
    found = finish(within_scan_steps(walk(query, 0.8), anchors))
    np.testing.assert_allclose(found[1].astype(np.float32), widened(expected), atol=3e-3)


def widened(p: np.ndarray) -> np.ndarray:
    """Odds times 5 / 3, so that 0.375 becomes 0.5."""
    return np.where(p >= 1, 1, 5 * p / np.where(p >= 1, 1, 5 * p + 3 * (1 - p)))


def test_the_edge_lies_where_opinions_that_disagree_leave_it_and_labels_stay() -> None:
    query, anchors = scan(organ()), {1: {8: organ()[8]}}
    settings = SegmentSettings(walker_share=0, propagation=PLAIN)
    for p, inside in ((0.37, False), (0.38, True)):
        carrying = Walk(query, MadeModels(propagator=Unsure(p)), settings, LIMITS, None)
        found = finish(within_scan_steps(carrying, anchors))[1]
        assert bool(found[9].max() >= 0.5) == inside
        np.testing.assert_array_equal(found[8], organ()[8])


class Unsure(torch.nn.Module):
    """A propagator that finds the organ everywhere in its crop with one probability."""

    crop_size = 48

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.logit(torch.full_like(inputs[:, 0], self.p))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_without_share_or_area_the_carried_map_stays(share: float) -> None:
    mask = organ()
    empty = np.zeros_like(mask[8])
    maps = {1: np.full(mask.shape, 0.25, np.float16)}
    finish(second_opinion(walk(scan(mask), share), maps, {1: {8: empty}}))
    assert (maps[1] == np.float16(0.25)).all()


@pytest.mark.parametrize(
    ("recognised", "guides", "answer"),
    [(True, [0.6, 0.7, 0.5], 0.3 + 0.4 / 2), (False, [0.6, 0.7, 0.35], 0.375)],
    ids=["together one half", "each one half"],
)
def test_a_revision_is_guided_by_the_average_so_far_and_of_known_organs_all_are_one_half(
    monkeypatch: pytest.MonkeyPatch, recognised: bool, guides: list[float], answer: float
) -> None:
    guided_by, answers = [], iter([0.8, 0.0, 0.4])

    def plain(value: float) -> np.ndarray:
        return np.full((2, 3, 3), value, np.float16)

    def carry(walk: object, anchors: object, *, guides: dict[int, np.ndarray]) -> Steps[dict[int, np.ndarray]]:
        guided_by.append(float(guides[1][0, 0, 0]))
        yield Progress(0, 1, "carrying")
        return {1: plain(next(answers))}

    def first(walk: object, anchors: object) -> Steps[dict[int, np.ndarray]]:
        yield Progress(0, 1, "carrying")
        return {1: plain(0.6)}

    monkeypatch.setattr(within_scan, "_carry_steps", carry)
    monkeypatch.setattr(within_scan, "first_walk_steps", first)
    settings = SegmentSettings(walker_share=0, known_share=0, revisions=3)
    query = Volume(np.zeros((2, 3, 3), np.float32), np.eye(4))
    models = MadeModels(propagator=Made(lambda inputs: inputs[:, 0]), reviser=Made(lambda inputs: inputs[:, 0]))
    anchors = {1: {0: np.ones((3, 3), np.float32)}}
    known = {1: Known("set", (1,), ("liver",), 0.9)} if recognised else {}
    found = finish(opinions_steps(Walk(query, models, settings, (0.0, 1.0), None, known), anchors))
    np.testing.assert_allclose(guided_by, guides, atol=2e-3)
    np.testing.assert_allclose(found[1], answer, atol=2e-3)
