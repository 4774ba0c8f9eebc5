"""Structures that the weights know: which of them a labelled mask is, and where they lie in a scan.

The labelled slices decide. A mask that none of the structures covers well, such as a lesion, a part of an organ or an
organ that was never seen, is not known. Ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.models.features import SliceFrame
from napari_medssl.models.recogniser import context_offsets
from napari_medssl.models.slices import make_frame, mask_to_frame, out_of_frame, slice_batch
from napari_medssl.oneshot.provider import Carriers
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

# Overlap (soft Dice) on the labelled slices from which a mask is known, and from which the rest is trusted, and trusted
# fully; for large organs and for small ones, whom the same error along the border costs more.
_LARGE, _SMALL = (0.6, 0.5, 0.9), (0.45, 0.3, 0.75)
_LARGE_MM, _SMALL_MM = 25.0, 10.0  # their radius
# By which another structure of the same set must raise it, for masks that join several. Less is a confusion that the
# network will make again: livers joined with the "right kidney" it sees in them take the kidney along (CHAOS 0.83, not
# 0.84).
_GAIN = 0.1
_HELD = 0.1  # share of a mask from which a structure has a part in it
MOST_TRUST = 0.99  # nothing is certain but what a user painted
_LOOKS = (1.0, 0.5, 2.0)  # powers of the intensities under which a labelled slice is shown; the first without need
_LIFTS = tuple(k / 4 for k in range(17))  # of the odds (logarithm), that are tried on the labelled slices
_LIFT_COST = 0.01  # overlap that a lift of 1 must bring
_LIFTED = 0.5  # share of the best lift that is given: more of it finds other things, too
_SURE = 1e-3  # probabilities are lifted between this and one minus this
_NEED = 0.03  # by which another look must raise the overlap
_STEP_MM = 2.5  # slices closer than this are not all asked
_ALONG = 0.7  # cosine from which a voxel axis counts as one of the patient's
_BATCH = 8
_CHUNK = 16  # slices brought to the scan's resolution at a time


@dataclass(frozen=True)
class Known:
    """What a mask was recognised as.

    group: the data set that taught it. structures: its label values there. names: likewise. overlap: soft Dice of the
    structures with the mask on the labelled slices. power: of the intensities, under which they are recognised best.
    lift: added to the logarithm of the structures' odds on all slices. radius_mm: of a disc as large as the largest of
    these masks, or of the structures if they are larger there: a small part of a liver is no small organ. others: label
    values of structures of the set that have no part in the masks.
    """

    group: str
    structures: tuple[int, ...]
    names: tuple[str, ...]
    overlap: float
    power: float = 1.0
    lift: float = 0.0
    radius_mm: float = _LARGE_MM
    others: tuple[int, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether that is recognition at all."""
        return self.overlap >= float(self._limits[0])

    @property
    def trust(self) -> float:
        """How much of the rest of the scan it may decide, in [0, 1)."""
        _, unsure, sure = self._limits
        return float(np.clip((self.overlap - unsure) / (sure - unsure), 0, MOST_TRUST))

    @property
    def _limits(self) -> npt.NDArray[np.float64]:
        share = np.clip((_LARGE_MM - self.radius_mm) / (_LARGE_MM - _SMALL_MM), 0, 1)
        return np.asarray((1 - share) * np.array(_LARGE) + share * np.array(_SMALL), np.float64)


@dataclass(frozen=True)
class OnScan:
    """A map that is kept small, on some slices and in the network's frame, and laid on the scan where it is needed.

    maps: (Z', S, S) in 1 / 255. places: (Z,) where among them each slice of the scan lies; they need not reach all.
    """

    maps: npt.NDArray[Any]
    places: npt.NDArray[np.float64]
    frame: SliceFrame

    def at(self, low: int, high: int) -> npt.NDArray[np.float32]:
        """(high - low, Y, X) in [0, 1] of slices of the scan."""
        part = torch.from_numpy(_between(self.maps, self.places[low:high]))
        return np.asarray(out_of_frame(part / 255, self.frame).clamp(0, 1).numpy(), np.float32)


class RecogniserAt:
    """The recogniser of some weights at one scan.

    volume: the scan. limits: intensity window.
    """

    def __init__(self, volume: Volume, models: Carriers, limits: tuple[float, float]) -> None:
        self._volume, self._models, self._limits = volume, models, limits
        network: Any = models.recogniser
        self._network = network
        self._frame: SliceFrame = make_frame(volume.shape[1:], volume.spacing_mm[1:], network.input_size)
        self._pixel_mm = volume.shape[1] * volume.spacing_mm[1] / self._frame.inner[0]
        self._flips = _flips(volume)

    def known(self, slices: Mapping[int, np.ndarray]) -> Known | None:
        """What the (Y, X) masks of some slices of the scan are, all taken together; None when that is unknown.

        Of more than eight slices eight are asked, spread evenly: enough to name an organ, and no more work or memory
        for a scan that is labelled from end to end. They are shown brighter and darker too: an organ that MR shows
        darker than any scan of the training did may be recognised when it is lifted.
        """
        rows = sorted(z for z, mask in slices.items() if np.asarray(mask).any())
        if not rows or not self.groups:
            return None
        if len(rows) > _BATCH:
            rows = [rows[i] for i in np.linspace(0, len(rows) - 1, _BATCH).round().astype(int)]
        masks = mask_to_frame(np.stack([np.asarray(slices[z]) for z in rows]), self._frame).to(self._models.device)
        found = [self._best_group(rows, masks, power) for power in _LOOKS]
        best = max(found, key=lambda k: k.overlap - _NEED * (k.power != _LOOKS[0]))
        return best if best.enough else None

    def probability_steps(self, known: Known) -> Steps[np.ndarray]:
        """(Z, Y, X) float16 probability of what is known, in the whole scan. Yields Progress."""
        own, lifted = [k - 1 for k in known.structures], _lifted_bytes(known.lift)
        maps = yield from self._maps_steps(
            known.group,
            known.power,
            (0, self._volume.shape[0]),
            lambda of_all: lifted[np.minimum(of_all[:, own].sum(1, dtype=np.uint16), 255)],
        )
        chosen = self._on_scan(maps)
        found = np.empty(self._volume.shape, np.float16)
        for start in range(0, len(found), _CHUNK):
            found[start : start + _CHUNK] = chosen.at(start, start + _CHUNK)
        return found

    def others_steps(self, known: Known, low: int, high: int) -> Steps[OnScan]:
        """Where one of the other structures lies on slices low to high, the least probability of all looks.

        Of all looks: a network that sees a kidney in a liver which is darker than any it learned from does so in one
        of them and not in the next. Yields Progress.
        """
        others, seen = [k - 1 for k in known.others], []
        for power in _LOOKS:
            maps = self._maps_steps(known.group, power, (low, high), lambda of_all: of_all[:, others].max(1))
            seen.append((yield from maps))
        return self._on_scan(np.minimum.reduce(seen), low)

    def _on_scan(self, maps: npt.NDArray[Any], low: int = 0) -> OnScan:
        """Maps that `_maps_steps` gives from slice `low` on."""
        places = np.arange(self._volume.shape[0]) / self._step - self._batches(low, low + 1).start * _BATCH
        return OnScan(maps, np.clip(places, 0, len(maps) - 1), self._frame)

    def _batches(self, low: int, high: int) -> range:
        """Which batches of asked slices hold all that slices low to high lie between."""
        last = min(-(-(high - 1) // self._step), (self._volume.shape[0] - 1) // self._step)
        return range(low // self._step // _BATCH, last // _BATCH + 1)

    @property
    def groups(self) -> Sequence[str]:
        """The data sets whose structures could be seen in slices as large as the scan's."""
        _, y_mm, x_mm = self._volume.spacing_mm
        groups: list[str] = self._network.groups_for(max(self._volume.shape[1] * y_mm, self._volume.shape[2] * x_mm))
        return groups

    @property
    def _step(self) -> int:
        return max(1, round(_STEP_MM / self._volume.spacing_mm[0]))

    def _best_group(self, rows: Sequence[int], masks: Tensor, power: float) -> Known:
        logits = self._logits(rows, power)
        found = [self._closest(g, torch.softmax(logits[:, self._network.channels(g)], 1), masks) for g in self.groups]
        return replace(max(found, key=lambda k: k.overlap), power=power)

    def _closest(self, group: str, probability: Tensor, masks: Tensor) -> Known:
        """The structures of one set that together overlap most with the masks; (N, 1 + K, S, S) and (N, S, S)."""
        chosen, overlap = _joined(probability, masks)
        joined = probability[:, chosen].sum(1)
        lift = _best_lift(joined, masks)
        names = self._network.structures[group]
        pixels = torch.maximum(joined.sum((1, 2)), masks.sum((1, 2))).max()
        held = (probability * masks[:, None]).sum((0, 2, 3)) / masks.sum().clamp(min=1e-6)
        return Known(
            group,
            tuple(chosen),
            tuple(names[k - 1] for k in chosen),
            max(overlap, _soft_dice(_lifted(joined, lift), masks)),
            lift=lift,
            radius_mm=round(float(torch.sqrt(pixels / np.pi)) * self._pixel_mm, 1),
            others=tuple(k for k in range(1, len(held)) if k not in chosen and held[k] < _HELD),
        )

    def _maps_steps(
        self,
        group: str,
        power: float,
        span: tuple[int, int],
        take: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
    ) -> Steps[npt.NDArray[np.uint8]]:
        """(Z', S, S) of what `take` makes of the structures of a set, on every `_step`-th slice of a half-open span.

        take: (N, K, S, S) probability of every structure in 1 / 255 to (N, S, S). In whole batches, of which each is
        kept with all structures: the next organ may be looked for on other slices. Yields Progress.
        """
        facts = f"{self._volume.content_hash}|{self._limits}|{self._models.weights_hash}|{group}|{power}"
        rows = list(range(0, self._volume.shape[0], self._step))
        batches = self._batches(*span)
        parts = []
        for number in batches:
            key = hashlib.sha256(f"{facts}|{number}".encode()).hexdigest()
            maps = self._models.structures.get(key)
            if maps is None:
                yield Progress(number - batches.start, len(batches), "recognising structures")
                asked = rows[number * _BATCH : (number + 1) * _BATCH]
                logits = self._logits(asked, power)[:, self._network.channels(group)]
                maps = (255 * torch.softmax(logits, 1)[:, 1:]).round().to(torch.uint8).cpu().numpy()
                self._models.structures.put(key, maps)
            parts.append(take(maps))
        return np.concatenate(parts)

    def _logits(self, rows: Sequence[int], power: float) -> Tensor:
        """(N, K, S, S) of some slices, their intensities raised to `power`, in the orientation of the scan's frame."""
        flip_z, *flip_plane = self._flips
        offsets = [(-o if flip_z else o) for o in context_offsets(self._volume.spacing_mm[0])]
        inputs = slice_batch(self._volume, rows, self._frame, offsets, limits=self._limits, device=self._models.device)
        axes = [axis for axis, flip in zip((-2, -1), flip_plane, strict=True) if flip]
        with torch.inference_mode():
            logits: Tensor = self._network(inputs.pow(power).flip(axes)).float().flip(axes)
        return logits


def _flips(volume: Volume) -> tuple[bool, bool, bool]:
    """Which of z, y and x run against the order the network was trained in: head, back and left of the patient."""
    directions = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    # An axis that runs otherwise, as in sagittal stacks and the heart's short axis, stays as the reader laid it.
    along = (directions[2, 0], -directions[1, 1], -directions[0, 2])
    return along[0] < -_ALONG, along[1] < -_ALONG, along[2] < -_ALONG


def _between(planes: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(N, S, S) float32 at places between (K, S, S) planes, which are at 0, 1 and so on."""
    low = places.astype(int)
    share = (places - low).astype(np.float32)[:, None, None]
    high = np.minimum(low + 1, len(planes) - 1)
    return np.asarray((1 - share) * planes[low] + share * planes[high], np.float32)


def _joined(probability: Tensor, masks: Tensor) -> tuple[list[int], float]:
    """Which of the channels 1 to K together overlap most with the masks, in order, and by how much."""
    chosen: list[int] = []
    overlap = 0.0
    left = set(range(1, probability.shape[1]))
    while left:
        scores = {k: _soft_dice(probability[:, [*chosen, k]].sum(1), masks) for k in left}
        best = max(scores, key=lambda k: scores[k])
        if scores[best] < overlap + (_GAIN if chosen else 0):
            break
        overlap = scores[best]
        chosen.append(best)
        left.discard(best)
    return sorted(chosen), overlap


def _best_lift(probability: Tensor, masks: Tensor) -> float:
    """What to add to the logarithm of the odds of (N, S, S) probabilities, by (N, S, S) masks.

    In a contrast it never saw the network is less sure of an organ on all slices alike; the labelled ones tell by how
    much. They show the organ at its largest, so that all of what is best for them is too much for others: half brought
    the livers of CHAOS that are known from 0.65 to 0.70 by the recogniser alone and took up to 0.01 from kidneys, all
    of it up to 0.03.
    """
    odds = _log_odds(probability)
    gains = [_soft_dice((odds > -lift).float(), masks) - _LIFT_COST * lift for lift in _LIFTS]
    return _LIFTED * _LIFTS[int(np.argmax(gains))]


def _lifted(probability: Tensor, lift: float) -> Tensor:
    if not lift:
        return probability
    return torch.sigmoid(_log_odds(probability) + lift)


def _log_odds(probability: Tensor) -> Tensor:
    return torch.logit(probability.clamp(_SURE, 1 - _SURE))


def _lifted_bytes(lift: float) -> npt.NDArray[np.uint8]:
    """(256,) probabilities in 1 / 255 to lifted ones; nothing stays nothing."""
    table = (255 * _lifted(torch.arange(256) / 255, lift)).round().to(torch.uint8).numpy()
    table[0] = 0
    return np.asarray(table, np.uint8)


def _soft_dice(probability: Tensor, masks: Tensor) -> float:
    return float(2 * (probability * masks).sum() / (probability.sum() + masks.sum()).clamp(min=1e-6))
