"""Slices with the label maps they came with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.errors import FormatError
from napari_medssl.models.recogniser import context_offsets
from napari_medssl.pretext.scan import Scan, to_float
from napari_medssl.pretext.task import Example
from napari_medssl.train.episodes.organs import organ_areas, organ_extents
from napari_medssl.transforms.appearance import apply_appearance, draw_appearance
from napari_medssl.transforms.random_network import apply_random_network
from napari_medssl.transforms.sequence_look import apply_sequence_look, has_relaxation_times
from napari_medssl.transforms.smooth_map import smooth_map
from napari_medssl.transforms.warp import draw_warp, sample, warp_grid

_STRENGTH = 1.4  # of the appearances
_NODES = 5  # along an axis of the map that blends two looks
_ANYWHERE = 0.25  # share of slices that are drawn from the whole scan; the others show a structure


class LabelledSlices:
    """Draws {"slices": (5, S, S) float32 in [0, 1], "labels": (S, S) uint8, "group": ()}.

    structures: data set to names, as `models.recogniser.StructureUNet`; scans of other sets are left out, and values
    beyond the names are background. group: the number of the set among `structures`.

    All changes are applied while drawing, see `changed_contrast`.
    """

    def __init__(self, structures: Mapping[str, Sequence[str]]) -> None:
        self._structures = structures
        self._built: tuple[Sequence[Scan], list[list[_Labelled]]] | None = None

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """One slice. Raises FormatError when no scan shows any of the structures."""
        if self._built is None or self._built[0] is not scans:
            self._built = (scans, self._group(scans))
        groups = self._built[1]
        names = list(self._structures)
        # A set counts by what it teaches, not by its number of scans: the smallest may have the most structures.
        weights = np.array(
            [(1 + len(self._structures[n])) ** 0.5 * bool(g) for n, g in zip(names, groups, strict=True)]
        )
        if not weights.sum():
            raise FormatError(
                f"no labelled scan belongs to {' or '.join(names)}; name the data sets after their folders"
            )
        group = int(rng.choice(len(names), p=weights / weights.sum()))
        scan = groups[group][int(rng.integers(len(groups[group])))]
        slices, labels = scan.stack(rng)
        grid = warp_grid(draw_warp(rng, rotation_deg=12, scale=0.25, shift=0.1), slices.shape[-1])
        labels = sample(labels.float(), grid, nearest=True).round()
        slices = changed_contrast(sample(slices, grid), labels, rng, self._structures[names[group]])
        own = labels[len(labels) // 2].to(torch.uint8)
        return {"slices": slices, "labels": own, "group": torch.tensor(group)}

    def prepare(self, batch: Example) -> Example:
        """The batch as it is."""
        return batch

    def _group(self, scans: Sequence[Scan]) -> list[list[_Labelled]]:
        groups = []
        for name, structures in self._structures.items():
            found = [_Labelled(s, len(structures)) for s in scans if s.group == name and s.labels is not None]
            groups.append([f for f in found if f.extents])
        return groups


class _Labelled:
    """A scan with the slices that show each of its structures."""

    def __init__(self, scan: Scan, structures: int) -> None:
        self._scan, self._most = scan, structures
        assert scan.labels is not None
        found = organ_extents(organ_areas(scan.labels))
        self.extents: dict[int, npt.NDArray[np.intp]] = {k: zs for k, zs in found.items() if k <= structures}

    def stack(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """(5, S, S) slices and labels around a random slice."""
        depth = len(self._scan.image)
        z = int(rng.integers(depth))
        if rng.random() >= _ANYWHERE:
            z = int(rng.choice(self.extents[int(rng.choice(list(self.extents)))]))
        rows = np.clip(z + np.array(context_offsets(self._scan.spacing_mm[0])), 0, depth - 1)
        labels = np.asarray(self._scan.labels)[rows]
        return to_float(torch.from_numpy(self._scan.image[rows])), torch.from_numpy(
            np.where(labels <= self._most, labels, 0)
        )


def changed_contrast(
    slices: Tensor, labels: Tensor, rng: np.random.Generator, structures: Sequence[str] = ()
) -> Tensor:
    """(C, S, S) slices in [0, 1] as another scanner or sequence might show them.

    labels: (C, S, S), value k is structures[k - 1].

    A sixth keeps its contrast but for a curve, a third is what an MR sequence might show where relaxation times of some
    structures are known, a third passes random networks (half where none is known), and the rest gets new appearances
    in which organs change their brightness each by itself: CT must serve MR. The last two are blends of two looks by a
    smooth map, so that tissues that are equally bright here need not be so there (the pseudo-correlation maps of
    Ouyang et al. 2022, arXiv 2111.12525, there between random networks alone).
    """
    kind, by_sequence = rng.random(), has_relaxation_times(structures)
    if kind < 1 / 6:
        looks = slices ** float(np.exp(rng.normal(0, 0.3)))
    elif by_sequence and kind < 1 / 2:
        looks = apply_sequence_look(slices, labels, structures, rng) ** float(np.exp(rng.normal(0, 0.2)))
    elif kind < (5 / 6 if by_sequence else 2 / 3):
        looks = _blend([apply_random_network(slices, rng) for _ in range(2)], rng)
    else:
        drawn = [draw_appearance(rng, strength=_STRENGTH) for _ in range(2)]
        looks = _blend([apply_appearance(slices, labels, look, _generator(rng)) for look in drawn], rng)
    noise = torch.randn(slices.shape, generator=_generator(rng))
    return (looks + float(abs(rng.normal(0, 0.02))) * noise).clamp(0, 1)


def _blend(looks: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """Two (C, S, S) looks of the same slices, one here and the other there."""
    nodes = torch.tensor(rng.uniform(0, 1, (1, 1, _NODES, _NODES)), dtype=torch.float32)
    share = smooth_map(nodes, (looks[0].shape[-2], looks[0].shape[-1]))[0].clamp(0, 1)
    return torch.lerp(looks[0], looks[1], share)


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**63)))
