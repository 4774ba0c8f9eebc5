"""Prototype extraction and the published forward pass against loops written from the equations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_medssl.errors import SettingsError, SupportError
from napari_medssl.oneshot import cowpro
from napari_medssl.oneshot.cowpro import merge_organs, predict, score_logits, upsample
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, threshold_mode, window_cells
from napari_medssl.oneshot.prototypes import (
    Prototypes,
    background_threshold,
    extract_prototypes,
    foreground_threshold,
    mask_on_grid,
    pool_cells,
)
from napari_medssl.settings import check


def random_case(seed: int = 0, *, n: int = 1, d: int = 6, grid: int = 8, stride: int = 8):
    """Support features, masks (one block of foreground each) and query features."""
    g = torch.Generator().manual_seed(seed)
    size = grid * stride
    masks = torch.zeros(n, size, size)
    for i in range(n):
        masks[i, : size // 2 + 3 + 4 * i, : size // 2 + 5] = 1
    features = torch.randn(n, d, grid, grid, generator=g)
    return features, masks, torch.randn(3, d, grid, grid, generator=g)


# --- the forward pass, once more, with loops over numbers -----------------------------------------------------------


def loop_bilinear(image: np.ndarray, n: int) -> np.ndarray:
    """Bilinear resize of a square image by pixel centres (no anti-aliasing)."""
    old, out = len(image), np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            y = min(max((i + 0.5) * old / n - 0.5, 0), old - 1)
            x = min(max((j + 0.5) * old / n - 0.5, 0), old - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, old - 1), min(x0 + 1, old - 1)
            a, b = y - y0, x - x0
            out[i, j] = (
                (1 - a) * (1 - b) * image[y0, x0]
                + (1 - a) * b * image[y0, x1]
                + a * (1 - b) * image[y1, x0]
                + a * b * image[y1, x1]
            )
    return out


def loop_prototypes(grid: np.ndarray, mask: np.ndarray, window: int, zeta: float | None) -> list[list[np.ndarray]]:
    """Background and foreground prototypes; zeta None means the dynamic thresholds."""
    n = grid.shape[1]
    inside = loop_bilinear(mask, n)
    sides = []
    for side, share in enumerate((1 - inside, inside)):
        cells = []
        for i in range(0, n, window):
            for j in range(0, n, window):
                block = [(y, x) for y in range(i, i + window) for x in range(j, j + window)]
                vector = sum(grid[:, y, x] for y, x in block) / len(block)
                cells.append((sum(share[y, x] for y, x in block) / len(block), vector))
        limit = zeta
        if limit is None:
            shares = [c[0] for c in cells]
            limit = 0.8 * max(shares) if side == 1 else sum(shares) / len(shares)
        found = [vector for s, vector in cells if s > limit]
        if side == 1:
            total = sum(grid[:, y, x] * share[y, x] for y in range(n) for x in range(n))
            found.append(total / share.sum())
        sides.append(found)
    return sides


def loop_score(q: np.ndarray, prototypes: list[np.ndarray], t: float, percent: float, renormalise: bool) -> float:
    def unit(v: np.ndarray) -> np.ndarray:
        v = v - sum(v) / len(v)
        return v / max(math.sqrt(sum(v * v)), 1e-4)

    q, ps = unit(q), [unit(p) for p in prototypes]
    corr = sorted(((float(sum(p * q)), k) for k, p in enumerate(ps)), reverse=True)
    corr = corr[: max(1, math.ceil(percent / 100 * len(ps)))]
    z = sum(math.exp(c / t) for c, _ in corr)
    aggregated = sum(math.exp(c / t) / z * ps[k] for c, k in corr)
    if renormalise:
        aggregated = aggregated / math.sqrt(sum(aggregated**2))
    return float(sum(aggregated * q))


@pytest.mark.parametrize("window", [2, 4])
@pytest.mark.parametrize("threshold", ["fixed", "dynamic"])
@pytest.mark.parametrize(("percent", "renormalise"), [(100.0, False), (50.0, False), (100.0, True), (10.0, True)])
def test_forward_equals_loops(window, threshold, percent, renormalise) -> None:
    settings = PrototypeSettings(window=window, threshold=threshold, top_percent=percent, renormalise=renormalise)
    features, masks, query = random_case()
    prototypes = extract_prototypes(features, masks, settings, mode=threshold, stride=8)
    logits = score_logits(query, prototypes, settings)
    sides = loop_prototypes(
        features[0].double().numpy(), masks[0].double().numpy(), window, 0.95 if threshold == "fixed" else None
    )
    assert [len(prototypes.background), len(prototypes.foreground)] == [len(s) for s in sides]
    for z, y, x in [(0, 0, 0), (1, 5, 2), (2, 7, 7)]:
        q = query[z, :, y, x].double().numpy()
        for side in (0, 1):
            expected = 20 * loop_score(q, sides[side], 0.05, percent, renormalise)
            assert float(logits[z, side, y, x]) == pytest.approx(expected, abs=2e-4)


def test_upsampling_is_bilinear_on_logits() -> None:
    logits = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    ours = upsample(logits, (12, 12))[0, 1].double().numpy()
    n, out = 4, np.zeros((12, 12))
    for i in range(12):
        for j in range(12):
            y, x = (min(max((k + 0.5) * n / 12 - 0.5, 0), n - 1) for k in (i, j))
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, 3), min(x0 + 1, 3)
            m, a, b = logits[0, 1].double().numpy(), y - y0, x - x0
            top, bottom = (1 - b) * m[y0, x0] + b * m[y0, x1], (1 - b) * m[y1, x0] + b * m[y1, x1]
            out[i, j] = (1 - a) * top + a * bottom
    assert np.allclose(ours, out, atol=1e-5)


# --- shapes and oracles ---------------------------------------------------------------------------------------------


def test_shapes_of_the_published_setting() -> None:
    # E-23: pooling 256 pixels with 4 x 4 gives 64, which does not fit the 32 x 32 grid; pooling the grid gives 8.
    assert F.avg_pool2d(torch.zeros(1, 1, 256, 256), 4).shape[-1] == 64
    mask = mask_on_grid(torch.zeros(256, 256), (32, 32))
    cells, share = pool_cells(torch.zeros(256, 32, 32), mask, 4)
    assert cells.shape == (8 * 8, 256)
    assert share.shape == (64,)
    features, masks, query = torch.randn(1, 256, 32, 32), torch.zeros(1, 256, 256), torch.randn(2, 256, 32, 32)
    masks[:, 64:160, 64:160] = 1
    assert predict(features, masks, query).shape == (2, 256, 256)


def test_raw_cosines_cap_the_probability_and_scaled_ones_do_not() -> None:
    # E-22: the query equals the foreground prototype and is opposite to the background one.
    v = torch.tensor([[1.0, -1.0, 0.5, -0.5]])
    query = v.view(1, 4, 1, 1)
    best = {}
    for scale in (1.0, 20.0):
        logits = score_logits(query, Prototypes(v, -v), PrototypeSettings(logit_scale=scale))
        best[scale] = float(cowpro.foreground_probability(logits))
    assert best[1.0] == pytest.approx(0.8808, abs=1e-4)
    assert best[20.0] > 1 - 1e-12


def test_query_equal_to_support_gives_the_mask_back() -> None:
    # F-022, with features that separate the organ and carry noise.
    y, x = np.mgrid[:256, :256]
    organ = torch.tensor(((y - 120) ** 2 + (x - 90) ** 2 < 55**2).astype(np.float32))[None]
    g = torch.Generator().manual_seed(0)
    inside, outside = torch.randn(2, 32, 1, 1, generator=g)
    share = F.avg_pool2d(organ[None], 8)[0]
    features = (share * inside + (1 - share) * outside + 0.1 * torch.randn(32, 32, 32, generator=g))[None]
    for method in ("cowpro", "alpnet", "panet"):
        mask = predict(features, organ, features, PrototypeSettings(method=method)) > 0.5
        overlap = 2 * (mask & (organ > 0)).sum() / (mask.sum() + organ.sum())
        assert overlap > 0.9, method


# --- thresholds -----------------------------------------------------------------------------------------------------


def test_threshold_values_follow_the_formulas() -> None:
    settings, share = PrototypeSettings(), torch.tensor([0.0, 0.2, 0.5, 0.9])
    assert float(foreground_threshold(share, settings, "fixed")) == pytest.approx(0.95)
    assert float(foreground_threshold(share, settings, "dynamic")) == pytest.approx(0.72)
    assert float(background_threshold(1 - share, settings, "fixed")) == pytest.approx(0.95)
    assert float(background_threshold(1 - share, settings, "dynamic")) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("organ", "mode"),
    [("right kidney", "dynamic"), ("Kidney_L", "dynamic"), ("liver", "fixed"), ("organ 3", "fixed"), ("", "fixed")],
)
def test_threshold_per_organ(organ: str, mode: str) -> None:
    assert threshold_mode(PrototypeSettings(), organ) == mode
    assert threshold_mode(PrototypeSettings(threshold="fixed"), organ) == "fixed"
    assert threshold_mode(PrototypeSettings(threshold="dynamic"), organ) == "dynamic"


def test_the_adrenal_gland_is_no_kidney() -> None:
    assert threshold_mode(PrototypeSettings(), "right adrenal gland") == "fixed"


def test_a_small_organ_keeps_its_global_prototype() -> None:
    features, masks, _ = random_case()
    masks = torch.zeros_like(masks)
    masks[0, 20:28, 20:28] = 1  # never fills 95 % of a 32-pixel window
    fixed = extract_prototypes(features, masks, mode="fixed")
    assert len(fixed.foreground) == 1
    share = mask_on_grid(masks[0], (8, 8))
    expected = (features[0] * share).sum((1, 2)) / share.sum()
    assert torch.allclose(fixed.foreground[0], expected)
    assert len(extract_prototypes(features, masks, mode="dynamic").foreground) == 2


def test_a_tiny_organ_between_sampling_points_is_not_lost() -> None:
    mask = torch.zeros(64, 64)
    mask[0, 0] = 1
    assert not F.interpolate(mask[None, None], size=(8, 8), mode="bilinear").any()
    assert float(mask_on_grid(mask, (8, 8))[0, 0]) == pytest.approx(1 / 64)
    features, _, query = random_case()
    assert torch.isfinite(predict(features, mask[None], query)).all()


def test_background_without_a_passing_cell() -> None:
    # One labelled slice without the organ among two: all background shares are 1, so the dynamic mean is 1 as well.
    features, masks, _ = random_case(n=2)
    masks[1] = 0
    assert len(extract_prototypes(features, masks, mode="dynamic").background) == 3 + 4
    # A mask that leaves only a thin rim: nothing passes 0.95, the global background stands in.
    masks = torch.ones(1, 64, 64)
    masks[0, :6] = 0
    background = extract_prototypes(features[:1], masks, mode="fixed").background
    share = 1 - mask_on_grid(masks[0], (8, 8))
    assert torch.allclose(background, ((features[0] * share).sum((1, 2)) / share.sum())[None])


@pytest.mark.parametrize("method", ["cowpro", "alpnet", "panet"])
@pytest.mark.parametrize(("value", "words"), [(0.0, "organ"), (1.0, "background")])
def test_one_sided_masks_are_refused(method: str, value: float, words: str) -> None:
    features, masks, query = random_case()
    with pytest.raises(SupportError, match=words):
        predict(features, torch.full_like(masks, value), query, PrototypeSettings(method=method))


# --- several slices, top-k, windows, memory -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fixed", "dynamic"])
def test_two_supports_give_the_union(mode: str) -> None:
    features, masks, _ = random_case(n=2)
    both = extract_prototypes(features, masks, mode=mode)
    alone = [extract_prototypes(features[i : i + 1], masks[i : i + 1], mode=mode) for i in (0, 1)]
    assert torch.equal(both.foreground, torch.cat([a.foreground for a in alone]))
    assert torch.equal(both.background, torch.cat([a.background for a in alone]))


def test_all_prototypes_is_the_default_bit_for_bit() -> None:
    features, masks, query = random_case()
    default = predict(features, masks, query)
    assert torch.equal(default, predict(features, masks, query, PrototypeSettings(top_percent=100.0)))
    assert not torch.equal(default, predict(features, masks, query, PrototypeSettings(top_percent=50.0)))


@pytest.mark.parametrize(("percent", "kept"), [(100, 100), (55, 55), (10, 10), (5, 5), (2, 2), (1.5, 2), (0.01, 1)])
def test_number_of_kept_prototypes(percent: float, kept: int) -> None:
    correlation = torch.randn(7, 100, generator=torch.Generator().manual_seed(0))
    top = cowpro.keep_top(correlation, percent)
    assert (torch.isfinite(top).sum(1) == kept).all()
    best = correlation.sort(dim=1, descending=True).values[:, :kept]
    assert torch.equal(top.sort(dim=1, descending=True).values[:, :kept], best)


def test_top_k_is_chosen_for_each_pixel_separately() -> None:
    a, b = torch.eye(4)[0], torch.eye(4)[1]
    query = torch.stack([a, b], 1).view(1, 4, 1, 2)
    prototypes = Prototypes(torch.stack([a, b]), torch.eye(4)[2][None])
    logits = score_logits(query, prototypes, PrototypeSettings(top_percent=50.0))
    assert torch.allclose(logits[0, 1], torch.full((1, 2), 20.0), atol=1e-4)


def test_methods_differ() -> None:
    features, masks, query = random_case()
    maps = [predict(features, masks, query, PrototypeSettings(method=m)) for m in ("cowpro", "alpnet", "panet")]
    assert not torch.allclose(maps[0], maps[1], atol=1e-2)
    assert not torch.allclose(maps[1], maps[2], atol=1e-2)
    assert not torch.allclose(maps[0], maps[2], atol=1e-2)


def test_baselines_equal_loops() -> None:
    features, masks, query = random_case(n=2)
    q = query[1, :, 4, 3].double().numpy()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    sides = [
        loop_prototypes(f.double().numpy(), m.double().numpy(), 4, 0.95) for f, m in zip(features, masks, strict=True)
    ]
    settings = PrototypeSettings(method="alpnet", threshold="fixed")
    logits = score_logits(query, cowpro.learn_prototypes(features, masks, settings), settings)
    expected = [20 * max(cosine(q, p) for s in sides for p in s[side]) for side in (0, 1)]
    assert logits[1, :, 4, 3].tolist() == pytest.approx(expected, abs=1e-4)
    settings = PrototypeSettings(method="panet")
    logits = score_logits(query, cowpro.learn_prototypes(features, masks, settings), settings)
    shares = [loop_bilinear(m.double().numpy(), 8) for m in masks]
    means = [
        sum(
            (f.double().numpy() * abs(1 - side - s)).sum((1, 2)) / abs(1 - side - s).sum()
            for f, s in zip(features, shares, strict=True)
        )
        / 2
        for side in (0, 1)
    ]
    assert logits[1, :, 4, 3].tolist() == pytest.approx([20 * cosine(q, m) for m in means], abs=1e-4)


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    features, masks, query = random_case()
    whole = predict(features, masks, query)
    monkeypatch.setattr(cowpro, "CORRELATION_BYTES", 1)
    monkeypatch.setattr(cowpro, "_SLICES", 2)
    assert torch.allclose(predict(features, masks, query), whole, atol=1e-6)


def test_half_precision_features_stay_finite() -> None:
    features, masks, query = random_case()
    half = predict(features.half(), masks.bool(), query.half())
    assert half.dtype == torch.float32
    assert torch.allclose(half, predict(features, masks, query), atol=0.05)


@pytest.mark.parametrize(("stride", "cells", "raw"), [(8, 4, 4), (4, 8, 4), (16, 2, 4), (64, 1, 4)])
def test_window_covers_the_same_area_on_any_grid(stride: int, cells: int, raw: int) -> None:
    assert window_cells(PrototypeSettings(), stride) == cells
    assert window_cells(PrototypeSettings(same_area=False), stride) == raw


@pytest.mark.parametrize("grid", [5, 13, 24])
def test_any_grid_size_works(grid: int) -> None:
    features, masks, query = random_case(grid=grid)
    assert predict(features, masks, query, size=(50, 70)).shape == (3, 50, 70)


def test_edge_windows_average_what_is_there() -> None:
    grid = torch.arange(25.0).view(1, 5, 5)
    cells, share = pool_cells(grid, torch.ones(5, 5), 4)
    assert cells.shape == (4, 1)
    assert share.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert cells[-1].item() == 24.0
    assert cells[1].item() == grid[0, :4, 4].mean()


def test_gradients_reach_support_and_query_features() -> None:
    features, masks, query = random_case()
    features.requires_grad_(), query.requires_grad_()
    settings = PrototypeSettings()
    score_logits(query, extract_prototypes(features, masks, settings), settings).square().sum().backward()
    for leaf in (features, query):
        assert leaf.grad is not None
        assert torch.isfinite(leaf.grad).all()
        assert leaf.grad.abs().sum() > 0


# --- organs and settings --------------------------------------------------------------------------------------------


def test_overlapping_organs_go_to_the_higher_score() -> None:
    a = torch.tensor([[[0.9, 0.6, 0.4, 0.7]]])
    b = torch.tensor([[[0.2, 0.8, 0.45, 0.7]]])
    assert merge_organs({3: a, 5: b}).tolist() == [[[3, 5, 0, 3]]]
    assert merge_organs({5: b, 3: a}).tolist() == [[[3, 5, 0, 5]]]


@pytest.mark.parametrize("change", [{"window": 3}, {"top_percent": 0.0}, {"temperature": 0.0}, {"method": "unet"}])
def test_bad_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(change))):
        check(replace(PrototypeSettings(), **change))
