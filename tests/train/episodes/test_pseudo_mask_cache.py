"""Superpixels on disk."""

from __future__ import annotations

import numpy as np

from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.train.episodes.pseudo_mask_cache import PseudoMaskCache, cache_variant


def test_cache_returns_what_was_stored_and_ignores_damage(tmp_path) -> None:
    cache = PseudoMaskCache(tmp_path / "cache")
    variant = cache_variant(SuperpixelSettings(), 256)
    maps = np.arange(2 * 4 * 4, dtype=np.uint16).reshape(2, 4, 4)
    assert cache.load("a" * 64, variant) is None
    path = cache.store("a" * 64, variant, maps)
    loaded = cache.load("a" * 64, variant)
    assert loaded is not None
    assert np.array_equal(loaded, maps)
    assert loaded.dtype == np.uint16
    path.write_bytes(path.read_bytes()[:40])
    assert cache.load("a" * 64, variant) is None
    assert list(path.parent.iterdir()) == [path]


def test_cache_variant_follows_settings_and_size() -> None:
    base = cache_variant(SuperpixelSettings(), 256)
    assert base == cache_variant(SuperpixelSettings(), 256)
    assert base != cache_variant(SuperpixelSettings(min_size=100), 256)
    assert base != cache_variant(SuperpixelSettings(), 128)
