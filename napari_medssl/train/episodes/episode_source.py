"""Self-supervised episodes: a slice with one of its superpixels as mask, and the same slice changed as the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.errors import FormatError
from napari_medssl.losses.cross_entropy import BACKGROUND_WEIGHT, FOREGROUND_WEIGHT
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, threshold_mode, window_cells
from napari_medssl.oneshot.prototypes import foreground_threshold, mask_on_grid, pool_cells
from napari_medssl.pretext.scan import neighbours, to_float
from napari_medssl.settings import setting
from napari_medssl.transforms.affine import AffineRange
from napari_medssl.transforms.elastic import ElasticRange
from napari_medssl.transforms.gamma import apply_gamma, draw_gamma
from napari_medssl.transforms.geometric import apply_geometric, draw_geometric

_SLICE_TRIES = 200  # slices looked at before giving up on finding a superpixel of a usable size
_EPISODE_TRIES = 100  # episodes drawn before giving up on one whose mask stays in the slice


@dataclass(frozen=True)
class EpisodeSettings:
    """How episodes are drawn and scored. Thesis 7.4.1; ranges and numbers it leaves open are the authors' code's."""

    rotation_deg: float = setting(5.0, "Largest rotation of the query.", ge=0.0, le=180.0)
    shift_px: float = setting(5.0, "Largest shift of the query along each axis.", ge=0.0, le=256.0)
    shear_deg: float = setting(5.0, "Largest shear of the query.", ge=0.0, le=60.0)
    scale_low: float = setting(0.9, "Smallest enlargement of the query.", ge=0.1, le=10.0)
    scale_high: float = setting(1.2, "Largest enlargement of the query.", ge=0.1, le=10.0)
    elastic_alpha: float = setting(10.0, "Strength of elastic displacements.", ge=0.0, le=10000.0)
    elastic_sigma: float = setting(5.0, "Smoothness of elastic displacements, in pixels.", ge=0.5, le=100.0)
    gamma_low: float = setting(0.5, "Smallest exponent on the query's intensities.", ge=0.05, le=20.0)
    gamma_high: float = setting(1.5, "Largest exponent on the query's intensities.", ge=0.05, le=20.0)
    min_area_px: int = setting(400, "Smallest superpixel used as mask, in pixels of a 256 x 256 slice.", ge=1, le=65536)
    max_body_share: float = setting(0.5, "Largest superpixel used, as a share of the body.", ge=0.01, le=1.0)
    local_tries: int = setting(
        5, "Draws per episode to find a superpixel that fills a prototype cell; the last one is used.", ge=1, le=100
    )
    background_weight: float = setting(BACKGROUND_WEIGHT, "Weight of background pixels in the loss.", ge=0.0, le=100.0)
    foreground_weight: float = setting(FOREGROUND_WEIGHT, "Weight of foreground pixels in the loss.", ge=0.0, le=100.0)
    cyclic: Literal["plain", "weighted", "off"] = setting(
        "plain", "Cyclic consistency: cross-entropy without or with the class weights, or none.", advanced=True
    )
    cyclic_threshold: float = setting(
        0.95, "Share of a cell the predicted mask must fill to give a prototype.", ge=0.0, le=1.0, advanced=True
    )
    prototypes: PrototypeSettings = field(default_factory=PrototypeSettings)


class Planes(Protocol):
    """(S, S) maps by slice number: an array, or something that makes them when they are asked for."""

    def __getitem__(self, z: int, /) -> npt.NDArray[np.integer]: ...


@dataclass(frozen=True, eq=False)
class EpisodeVolume:
    """Slices to draw episodes from.

    image: (Z, S, S) uint8. superpixels: of each slice, 0 is air. usable: slice numbers that may be drawn.
    """

    image: npt.NDArray[np.uint8]
    superpixels: Planes
    usable: npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Episode:
    """support, query: (C, S, S) float32 in [0, 1]. support_mask, query_mask: (S, S) float32 in {0, 1}."""

    support: Tensor
    support_mask: Tensor
    query: Tensor
    query_mask: Tensor


class EpisodeSource:
    """Draws episodes; the generator it is given decides everything.

    context: input channels, the slice and its neighbours. stride: pixels per feature cell of the encoder.

    Raises FormatError when no slice may be drawn.
    """

    def __init__(
        self, volumes: Sequence[EpisodeVolume], settings: EpisodeSettings, *, context: int = 1, stride: int = 8
    ) -> None:
        self._volumes = [v for v in volumes if len(v.usable)]
        if not self._volumes:
            raise FormatError("no slice is left to train on; give other scans or exclude fewer labels")
        self._settings, self._context, self._stride = settings, context, stride
        self._ends = np.cumsum([len(v.usable) for v in self._volumes])

    def draw(self, rng: np.random.Generator) -> Episode:
        """One episode: every usable slice is equally likely.

        Raises FormatError when superpixels of a usable size are nowhere to be found.
        """
        for attempt in range(1, _EPISODE_TRIES + 1):
            episode = self._change(*self._pick(rng), rng)
            cells = self._filled_cells(episode)
            if cells or (cells is not None and attempt >= self._settings.local_tries):
                return episode
        raise FormatError(f"{_EPISODE_TRIES} changed slices lost their mask; lower the episodes' shift or rotation")

    def _pick(self, rng: np.random.Generator) -> tuple[EpisodeVolume, int, npt.NDArray[np.bool_]]:
        for _ in range(_SLICE_TRIES):
            index = int(rng.integers(self._ends[-1]))
            which = int(np.searchsorted(self._ends, index, side="right"))
            volume = self._volumes[which]
            z = int(volume.usable[index - (self._ends[which - 1] if which else 0)])
            areas = np.bincount(volume.superpixels[z].ravel())
            areas[0] = 0
            least = self._settings.min_area_px * volume.superpixels[z].size / 256**2
            fitting = np.flatnonzero((areas >= least) & (areas <= self._settings.max_body_share * areas.sum()))
            if len(fitting):
                return volume, z, volume.superpixels[z] == rng.choice(fitting)
        raise FormatError(
            "the slices have no superpixels of a usable size; lower episodes.min_area_px or superpixels.min_size"
        )

    def _change(self, volume: EpisodeVolume, z: int, mask: npt.NDArray[np.bool_], rng: np.random.Generator) -> Episode:
        s = self._settings
        support = to_float(neighbours(volume.image, z, self._context))
        support_mask = torch.from_numpy(mask.astype(np.float32))
        affine = AffineRange(s.rotation_deg, s.shift_px, s.shear_deg, s.scale_low, s.scale_high)
        shape = draw_geometric(rng, mask.shape, affine, ElasticRange(s.elastic_alpha, s.elastic_sigma))
        gamma = draw_gamma(rng, low=s.gamma_low, high=s.gamma_high)
        query = apply_geometric(apply_gamma(support, gamma), shape)
        query_mask = apply_geometric(support_mask[None], shape, nearest=True)[0]
        return Episode(support, support_mask, query, query_mask)

    def _filled_cells(self, episode: Episode) -> int | None:
        """How many local foreground prototypes the support gives; None when either mask is not on the grid."""
        height, width = (n // self._stride for n in episode.support_mask.shape)
        support, query = (mask_on_grid(m, (height, width)) for m in (episode.support_mask, episode.query_mask))
        if not support.any() or not query.any():
            return None
        prototypes = self._settings.prototypes
        window = window_cells(prototypes, self._stride)
        _, share = pool_cells(torch.zeros(1, height, width), support, window)
        return int((share > foreground_threshold(share, prototypes, threshold_mode(prototypes))).sum())
