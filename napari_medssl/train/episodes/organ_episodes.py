"""Episodes of two slices that show the same organs.

They come from
- two labelled scans of one data set, slices at the same share of an organ's extent (needs labels),
- two slices of one labelled scan some millimetres apart (needs labels),
- a slice and a deformed copy with superpixels as masks, CoWPro's self-supervision (S55, S56; no labels).

Appearance is drawn anew for each episode and shared by its two slices, up to small changes, so that weights trained
on CT serve MR: what must be matched is one unknown protocol against itself. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.errors import FormatError
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.pretext.scan import Scan, neighbours, pick_scan, slice_stack, to_float
from napari_medssl.pretext.task import Example
from napari_medssl.settings import setting
from napari_medssl.train.episodes.organs import organ_areas, organ_extents
from napari_medssl.train.episodes.pseudo_masks import PseudoMasks
from napari_medssl.transforms.appearance import Appearance, apply_appearance, draw_appearance, nearby_appearance
from napari_medssl.transforms.warp import draw_warp, sample, warp_grid

_TRIES = 1000
_SMALLEST_PX = 40  # of a mask in the support slice

Pair = tuple[Scan, int, Scan, int]


@dataclass(frozen=True)
class OrganEpisodeSettings:
    """How episodes are drawn; the numbers are ours."""

    organs: int = setting(4, "Masks per episode at most.", ge=1)
    subject_share: float = setting(0.6, "Share of episodes across two labelled scans.", ge=0, le=1)
    neighbour_share: float = setting(0.15, "Share of episodes within a labelled scan.", ge=0, le=1)
    absent_share: float = setting(0.15, "Share of labelled episodes whose query slice is drawn anywhere.", ge=0, le=1)
    superpixels: SuperpixelSettings = field(
        default_factory=lambda: SuperpixelSettings(scale=100.0, sigma=0.8, min_size=270)
    )


class OrganEpisodes:
    """Draws {"support", "query"} (C, S, S) float32 in [0, 1] with {"support_masks", "query_masks"} (K, S, S) uint8.

    context: slices of an input, C. K is `organs`; the first "count" of the masks are there, the others are empty.
    Every organ asked for is in the support slice; in the query it may be absent.

    All changes are applied while drawing, because an episode without a mask after them is drawn anew.
    """

    def __init__(self, settings: OrganEpisodeSettings, *, context: int) -> None:
        self._settings, self._context = settings, context
        self._masks = PseudoMasks(settings.superpixels)
        self._extents: dict[Scan, dict[int, npt.NDArray[np.intp]]] = {}

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """One episode with at least one mask.

        Raises FormatError when a thousand tries in a row find none: the scans are empty or almost so.
        """
        labelled = [scan for scan in scans if scan.labels is not None]
        for _ in range(_TRIES):
            kind = rng.random() if labelled else 1.0
            if kind < self._settings.subject_share + self._settings.neighbour_share:
                pair = self._pick_labelled(labelled, rng, across=kind < self._settings.subject_share)
                example = None if pair is None else self._build(pair, rng, superpixels=False)
            else:
                example = self._build(_pick_any(scans, rng), rng, superpixels=True)
            if example is not None:
                return example
        raise FormatError("no slice of these scans has an organ or superpixel to learn from; check what they show")

    def prepare(self, batch: Example) -> Example:
        """Masks as float32."""
        return batch | {name: batch[name].float() for name in ("support_masks", "query_masks")}

    def _pick_labelled(self, labelled: Sequence[Scan], rng: np.random.Generator, *, across: bool) -> Pair | None:
        a = pick_scan(labelled, rng)
        members = [scan for scan in labelled if scan.group == a.group]
        b = members[int(rng.integers(len(members)))] if across else a
        shared = [k for k in self._organs(a) if k in self._organs(b)]
        if not shared:
            return None
        organ, share = int(rng.choice(shared)), float(rng.uniform(0.05, 0.95))
        za = _at_share(self._organs(a)[organ], share)
        if rng.random() < self._settings.absent_share:
            zb = int(rng.integers(len(b.image)))
        elif across:
            zb = _at_share(self._organs(b)[organ], float(np.clip(share + rng.normal(0, 0.12), 0, 1)))
        else:
            steps = max(1, round(float(rng.uniform(4, 30)) / a.spacing_mm[0]))
            zb = int(np.clip(za + rng.choice([-1, 1]) * steps, 0, len(a.image) - 1))
        return a, za, b, zb

    def _organs(self, scan: Scan) -> dict[int, npt.NDArray[np.intp]]:
        if scan not in self._extents:
            self._extents[scan] = {} if scan.labels is None else organ_extents(organ_areas(scan.labels))
        return self._extents[scan]

    def _build(self, pair: Pair, rng: np.random.Generator, *, superpixels: bool) -> Example | None:
        look = draw_appearance(rng)
        looks = (look, nearby_appearance(rng, look))
        common = draw_warp(rng, rotation_deg=8, scale=0.2, shift=0.08)
        sides = []
        for scan, z, seen in ((*pair[:2], looks[0]), (*pair[2:], looks[1])):
            image = to_float(slice_stack(scan, z, self._context))
            labels = self._label_stack(scan, z, superpixels=superpixels)
            size = image.shape[-1]
            own = draw_warp(rng, rotation_deg=5, scale=0.1, shift=0.04)
            grid = _joined_grid(warp_grid(common, size), warp_grid(own, size))
            sides.append(_changed(image, labels, grid, seen, rng, offsets=not superpixels))
        return self._example(sides, rng)

    def _label_stack(self, scan: Scan, z: int, *, superpixels: bool) -> Tensor:
        if superpixels or scan.labels is None:
            plane = torch.from_numpy(self._masks.of(scan, z).astype(np.int16))
            return plane[None].expand(self._context, -1, -1)
        return neighbours(scan.labels, z, self._context).to(torch.int16)

    def _example(self, sides: Sequence[tuple[Tensor, Tensor]], rng: np.random.Generator) -> Example | None:
        (support, support_labels), (query, query_labels) = sides
        middle = self._context // 2
        values, counts = torch.unique(support_labels[middle], return_counts=True)
        present = values[(values > 0) & (counts >= _SMALLEST_PX)].tolist()
        if not present:
            return None
        chosen = [int(k) for k in rng.permutation(present)[: self._settings.organs]]
        masks = torch.zeros(2, self._settings.organs, *support.shape[-2:], dtype=torch.uint8)
        for i, k in enumerate(chosen):
            masks[0, i], masks[1, i] = support_labels[middle] == k, query_labels[middle] == k
        return {
            "support": support,
            "query": query,
            "support_masks": masks[0],
            "query_masks": masks[1],
            "count": torch.tensor(len(chosen)),
        }


def _pick_any(scans: Sequence[Scan], rng: np.random.Generator) -> Pair:
    scan = scans[int(rng.integers(len(scans)))]
    z = int(rng.integers(len(scan.image)))
    return scan, z, scan, z


def _at_share(slices: npt.NDArray[np.intp], share: float) -> int:
    return int(slices[round(share * (len(slices) - 1))])


def _joined_grid(common: Tensor, own: Tensor) -> Tensor:
    """The two (1, S, S, 2) warps one after the other; what the first takes from outside stays outside."""
    grid = sample(own[0].permute(2, 0, 1), common).permute(1, 2, 0)[None]
    outside = common.abs().amax(-1, keepdim=True) > 1
    return torch.where(outside, torch.full_like(grid, 2.0), grid)


def _changed(
    image: Tensor, labels: Tensor, grid: Tensor, look: Appearance, rng: np.random.Generator, *, offsets: bool
) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(int(rng.integers(2**63)))
    image = sample(image, grid)
    labels = sample(labels.float(), grid, nearest=True).round()
    return apply_appearance(image, labels if offsets else None, look, noise), labels
