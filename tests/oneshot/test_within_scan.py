"""Within a scan: carried, checked by a random walker that is weighted by the organ's size, and revised."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.oneshot.diffusion import diffuse_near
from napari_medssl.oneshot.propagation import PropagationSettings, propagate_steps
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.within_scan import Walk, second_opinion, within_scan_steps
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.oneshot.conftest import MadeModels
from tests.oneshot.test_propagation import bright, organ, scan

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
    np.testing.assert_allclose(found[1].astype(np.float32), expected, atol=2e-3)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_without_share_or_area_the_carried_map_stays(share: float) -> None:
    mask = organ()
    empty = np.zeros_like(mask[8])
    maps = {1: np.full(mask.shape, 0.25, np.float16)}
    finish(second_opinion(walk(scan(mask), share), maps, {1: {8: empty}}))
    assert (maps[1] == np.float16(0.25)).all()
