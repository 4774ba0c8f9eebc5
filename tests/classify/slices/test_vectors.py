"""Vectors are taken from the slice, not from the padding around it, in the order and direction of the body."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_medssl import Engine, Volume
from napari_medssl.classify.slices import slice_vectors_steps
from napari_medssl.classify.slices.height import learn_height
from napari_medssl.classify.slices.template import learn_template
from napari_medssl.classify.slices.vectors import EncoderFacts, encoder_facts, looks, pool, slice_positions_mm
from napari_medssl.errors import WeightsError
from napari_medssl.models.features import FeatureStack, SliceFrame
from napari_medssl.progress import finish


def test_mean_deviation_and_quarters_without_padding() -> None:
    data = torch.full((20, 2, 8, 8), 100.0, dtype=torch.float16)
    data[:, :, 2:6] = 0
    data[:, 1, 2:4, 4:] = 8  # the upper right quarter of the slice
    stack = FeatureStack(data, SliceFrame((16, 32), (16, 32), (8, 0), 32), 4)
    vectors = pool(stack)
    assert vectors.shape == (20, 12)
    mean, deviation, quarters = vectors[7, :2], vectors[7, 2:4], vectors[7, 4:].reshape(2, 2, 2)
    assert mean.tolist() == [0, 2]
    assert deviation[1] == pytest.approx(np.std([8, 0, 0, 0]))
    assert quarters[1].tolist() == [[0, 8], [0, 0]]


def test_positions_rise_to_the_head_whatever_the_order_of_slices() -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]] * [5, 1, 1, 1]  # (z, y, x): z goes up by 5 mm
    assert slice_positions_mm(affine, 3).tolist() == [0, 5, 10]
    affine[:3, 0] *= -1
    assert slice_positions_mm(affine, 3).tolist() == [0, -5, -10]


def test_one_vector_per_slice_from_the_cache(tiny_volume: Volume) -> None:
    with Engine("cpu", "none") as engine:
        vectors = finish(slice_vectors_steps(engine, tiny_volume))
        again = finish(slice_vectors_steps(engine, tiny_volume))
        assert engine.cache.statistics.hits == 1
        assert vectors.encoder == encoder_facts(engine) == EncoderFacts("feature-bank", "none", engine.weights_hash)
    assert len(vectors) == 6
    assert vectors.position_mm[1] == 3
    np.testing.assert_array_equal(vectors.data, again.data)


def test_same_encoder_under_another_name_of_file_is_the_same() -> None:
    facts = EncoderFacts("a", "file", "00" * 32)
    facts.refuse_other(dataclasses.replace(facts, weights="copy of the file"), what="it")
    with pytest.raises(WeightsError, match="choose those weights"):
        facts.refuse_other(dataclasses.replace(facts, sha256="11" * 32), what="it")


def bodies(starts: list[float], seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Vectors along one body, which changes as it goes, and positions of scans of 200 mm begun at `starts`."""
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 6.3, 30), rng.uniform(0.01, 0.04, 30)
    positions = [np.arange(0, 200, 5, dtype=np.float32) for _ in starts]
    data = [
        np.sin((z[:, None] + start) * speeds + phases) + rng.normal(0, 0.3, (len(z), 30))
        for z, start in zip(positions, starts, strict=True)
    ]
    return [d.astype(np.float32) for d in data], positions


def test_height_finds_where_a_scan_begins() -> None:
    """Bodies of one kind, scanned from other heights on: the offsets between them are found without a label."""
    starts = [0.0, 40.0, -25.0, 10.0]
    data, positions = bodies(starts)
    points = [d / np.float32(np.sqrt(30)) for d in data]
    height = learn_height(points, positions, data)
    found = np.array([height.of(p, z, d).mean() for p, z, d in zip(points, positions, data, strict=True)])
    np.testing.assert_allclose(found - found[0], np.array(starts), atol=9)
    bumps = height.bumps(height.of(points[1], positions[1], data[1]))
    assert bumps.shape == (40, len(height.centres))
    assert (bumps.max(1) > 0.45).all()


def test_a_scan_of_few_slices_is_placed_by_the_line_alone() -> None:
    data, positions = bodies([0.0, 20.0])
    template, placed = learn_template(data, positions)
    guess = positions[0][:3]
    assert template.place(data[0][:3], guess) is guess
    assert placed[1].mean() - placed[0].mean() == pytest.approx(20, abs=9)
    larger = template.place(data[0], np.asarray(positions[0] / 1.1, np.float32))  # a body said to be too small
    assert np.ptp(larger) == pytest.approx(np.ptp(placed[0]), rel=0.08)


def test_one_scan_is_its_own_template() -> None:
    data, positions = bodies([0.0])
    _, placed = learn_template(data, positions)
    np.testing.assert_array_equal(placed[0], positions[0])
    short, _ = learn_template([data[0][:2]], [positions[0][:2]])
    assert np.isfinite(short.rows).all()


def test_a_look_has_the_same_weight_in_every_cell() -> None:
    data = torch.rand(3, 6, 16, 16)
    stack = FeatureStack(data, SliceFrame((64, 64), (64, 64), (0, 0), 64), 4)
    found = looks(stack)
    assert found.shape == (3, 16 * 6)
    strong = data.clone()
    strong[:, :, :8, :8] *= 100
    np.testing.assert_allclose(looks(dataclasses.replace(stack, data=strong)), found, atol=1e-5)
