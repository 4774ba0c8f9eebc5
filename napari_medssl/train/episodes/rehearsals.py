"""One-shot segmentations of training scans, rehearsed: a random look, one labelled slice, and the first answer.

What a guided propagator learns from: where the first answer goes wrong, and how it looks when it does. Ours.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_medssl.bounded_cache import BoundedCache
from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing
from napari_medssl.io.folders import make_folder
from napari_medssl.oneshot.diffusion import diffuse_steps
from napari_medssl.oneshot.provider import Structures
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.tracks import TrackStore
from napari_medssl.oneshot.within_scan import Walk, opinions_steps
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.settings import digest
from napari_medssl.train.episodes.sources import Sources, WalkSettings, WalkVolume
from napari_medssl.transforms.appearance import apply_appearance, draw_appearance, with_alike_organs
from napari_medssl.volume import Volume

log = logging.getLogger(__name__)

_MARGIN_MM = 60.0
_THIN_MM = 5.0  # slices thinner than this may be joined into slabs
_THICKEST_MM = 8.5
_LARGE_MM2 = 2000.0  # cross-section, and
_LARGE_MM = 40.0  # extent along the slices, of an organ that counts as large
_LEAST_PX = 20  # of an organ on a slice that counts
_TRIES = 100
_KEPT = 256  # rehearsals in memory; some hundred MiB


@dataclass(frozen=True, eq=False)
class Rehearsal:
    """image, guide: (Z, Y, X) uint8; truth: (Z, Y, X) bool; all in the box around one organ.

    guide is the first answer, its probability spread over 0..255. support: the labelled slice.
    """

    image: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.bool_]
    guide: npt.NDArray[np.uint8]
    support: int
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Cast:
    """The networks that give first answers; see `oneshot.provider.Carriers`. Nothing is kept between answers."""

    propagator: nn.Module
    reviser: nn.Module | None = None
    weights_hash: str = ""

    @property
    def device(self) -> torch.device:
        """Where the propagator lies."""
        return next(self.propagator.parameters()).device

    @property
    def recogniser(self) -> None:
        """None: the reviser learns to put right what knows no organ."""
        return None

    @property
    def tracks(self) -> TrackStore:
        """A new one every time."""
        return TrackStore()

    @property
    def structures(self) -> Structures:
        """A new one every time."""
        return BoundedCache(0)

    def tensors(self) -> Iterator[Tensor]:
        """All weights."""
        for network in (self.propagator, self.reviser):
            yield from () if network is None else network.state_dict().values()


def rehearse(
    sources: Sources,
    cast: Cast | None,
    rng: np.random.Generator,
    *,
    share: float,
    large: bool = False,
    alike: bool = False,
) -> Rehearsal:
    """Draw a scan, an organ, a look and a labelled slice, and segment.

    cast: the networks that give the first answer; None for a random walker alone. share: largest weight of the
    random walker beside networks. large: only organs of large cross-section, the larger the more often, mostly in
    thick slices; where a hundred draws find none, any organ. alike: most other organs look like the one that is
    followed.

    Raises FormatError when a hundred tries in a row leave too little of an organ.
    """
    for n in range(2 * _TRIES if large else _TRIES):
        large = large and n < _TRIES
        volume = sources.pick(rng)
        organ = _large_organ(volume, rng) if large else int(rng.choice(list(volume.extents)))
        if organ is None:
            continue
        image, labels, spacing = thickened(volume, organ, rng, mostly=large)
        truth = labels == organ
        areas = truth.sum((1, 2))
        zs = np.flatnonzero(areas >= _LEAST_PX)
        if len(zs) >= 2:
            looked = _looked(image, labels, rng, alike=organ if alike else None)
            chances = areas[zs] ** 0.7
            largest = rng.random() < 0.5  # what users are told to label
            support = int(zs[areas[zs].argmax()] if largest else rng.choice(zs, p=chances / chances.sum()))
            guide = _first_answer(looked, spacing, support, truth[support], cast, share, rng)
            return Rehearsal(looked, truth, guide, support, spacing)
    raise FormatError("the labels of these scans are too small to follow through slices; check what they hold")


def _large_organ(volume: WalkVolume, rng: np.random.Generator) -> int | None:
    z_mm, y_mm, x_mm = volume.spacing_mm
    mm2 = {organ: float(volume.areas[:, organ].max()) * y_mm * x_mm for organ in volume.extents}
    large = [k for k, area in mm2.items() if area >= _LARGE_MM2 and len(volume.extents[k]) * z_mm >= _LARGE_MM]
    if not large:
        return None
    chances = np.sqrt([mm2[k] for k in large])
    return int(rng.choice(large, p=chances / chances.sum()))


def _first_answer(
    image: npt.NDArray[np.uint8],
    spacing_mm: tuple[float, float, float],
    support: int,
    mask: npt.NDArray[np.bool_],
    cast: Cast | None,
    share: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    query, anchors, limits = Volume(image, np.diag([*spacing_mm, 1.0])), {1: {support: mask}}, (0.0, 255.0)
    if cast is None:
        found = finish(diffuse_steps(query, anchors, limits=limits))
    else:
        # What a reviser is shown: the average of opinions before its first revision or its second, not the final mask.
        settings = SegmentSettings(walker_share=share, revisions=int(rng.integers(2)))
        found = finish(opinions_steps(Walk(query, cast, settings, limits, None), anchors))
    return np.round(255 * found[1].astype(np.float32)).astype(np.uint8)


def thickened(
    volume: WalkVolume, organ: int, rng: np.random.Generator, *, mostly: bool = False
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], tuple[float, float, float]]:
    """The box around an organ, image in [0, 1] and labels, perhaps with thicker slices; mostly: with thick ones.

    Thin slices are averaged into slabs as thick slices of a scanner are; labels are those of the slab's middle.
    """
    box = _box(volume, organ)
    image, labels = volume.image[:, box[0], box[1]].astype(np.float32) / 255, volume.labels[:, box[0], box[1]]
    z_mm, y_mm, x_mm = volume.spacing_mm
    if z_mm < _THIN_MM and rng.random() < (0.8 if mostly else 0.6):
        step = max(1, round(float(rng.uniform(_THIN_MM if mostly else z_mm, _THICKEST_MM)) / z_mm))
        rows = np.arange(int(rng.integers(min(step, len(image)))), len(image), step)
        half = (step - 1) // 2 if rng.random() < 0.75 else 0
        slabs = np.clip(rows[:, None] + np.arange(-half, half + 1), 0, len(image) - 1)
        image, labels, z_mm = image[slabs].mean(1, dtype=np.float32), labels[rows], z_mm * step
    return np.asarray(image, np.float32), np.array(labels), (z_mm, y_mm, x_mm)


def _box(volume: WalkVolume, organ: int) -> tuple[slice, slice]:
    zs = volume.extents[organ]
    plane = (volume.labels[zs[0] : zs[-1] + 1] == organ).any(0)
    out = []
    for axis in (0, 1):
        hit = np.flatnonzero(plane.any(1 - axis))
        extra = int(max(_MARGIN_MM / volume.spacing_mm[1 + axis], 0.6 * (hit[-1] - hit[0])))
        out.append(slice(max(0, int(hit[0]) - extra), min(plane.shape[axis], int(hit[-1]) + 1 + extra)))
    return out[0], out[1]


def _looked(
    image: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], rng: np.random.Generator, *, alike: int | None
) -> npt.NDArray[np.uint8]:
    look = draw_appearance(rng, strength=float(rng.uniform(0.3, 1.0)))
    if alike is not None:
        look = with_alike_organs(look, image, labels, alike, rng)
    noise = torch.Generator().manual_seed(int(rng.integers(2**63)))
    out = apply_appearance(torch.from_numpy(image), torch.from_numpy(labels), look, noise).numpy()
    # Coils fade along the body, and slices of one scan differ a little in gain.
    fading = np.interp(np.linspace(0, 3, len(out)), np.arange(4), 1 + rng.normal(0, 0.08, 4))
    gain = (fading * (1 + rng.normal(0, 0.015, len(out)))).astype(np.float32)
    return np.round(255 * np.clip(out * gain[:, None, None], 0, 1)).astype(np.uint8)


class Rehearsals:
    """Rehearsals by number, made when first asked for; kept in memory, and on disk where the scans lie on disk.

    walks: what is followed. cast: as for `rehearse`. large_share: share of rehearsals of large organs; alike_share: of
    those among organs that look alike. A rehearsal depends on seed, number, scans, cast and these alone.
    """

    def __init__(
        self,
        walks: WalkSettings,
        cast: Cast | None,
        *,
        seed: int,
        share: float,
        large_share: float = 0.0,
        alike_share: float = 0.0,
    ) -> None:
        self._walks, self._cast, self._seed, self._share = walks, cast, seed, share
        self._large_share, self._alike_share = large_share, alike_share
        self._built: tuple[Sequence[Scan], Sources, Path | None] | None = None
        self._kept: OrderedDict[int, Rehearsal] = OrderedDict()

    def get(self, scans: Sequence[Scan], number: int) -> Rehearsal:
        """The rehearsal of this number on these scans."""
        if self._built is None or self._built[0] is not scans:
            self._built = (scans, Sources(scans, self._walks), self._folder(scans))
            self._kept.clear()
        if number not in self._kept:
            self._kept[number] = self._made(number, *self._built[1:])
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[number]

    def _made(self, number: int, sources: Sources, folder: Path | None) -> Rehearsal:
        file = None if folder is None else folder / f"{number:06d}.npz"
        if file is not None and file.is_file():
            return _load(file)
        rng = np.random.default_rng([self._seed, number])
        large = self._large_share > 0 and bool(rng.random() < self._large_share)
        alike = self._alike_share > 0 and bool(rng.random() < self._alike_share)
        made = rehearse(sources, self._cast, rng, share=self._share, large=large, alike=alike)
        if file is not None and not self._store(file, made):
            self._built = None if self._built is None else (*self._built[:2], None)
        return made

    def _store(self, file: Path, made: Rehearsal) -> bool:
        try:
            make_folder(file.parent)
            with replacing(file) as (part,), part.open("wb") as f:
                np.savez(
                    f,
                    image=made.image,
                    guide=made.guide,
                    truth=np.packbits(made.truth),
                    support=made.support,
                    spacing_mm=np.array(made.spacing_mm),
                )
        except FormatError as error:  # a full disk costs time, not the run
            log.warning("rehearsed segmentations are no longer kept on disk: %s", error)
            return False
        return True

    def _folder(self, scans: Sequence[Scan]) -> Path | None:
        files = [s.image.filename for s in scans if isinstance(s.image, np.memmap)]
        if len(files) < len(scans) or not files[0]:
            return None
        how = (digest(self._walks), self._seed, self._share, self._large_share, self._alike_share)
        h = hashlib.sha256(" ".join(str(part) for part in how).encode())
        h.update(" ".join(str(Path(str(f)).stem) for f in files).encode())  # named after the scans' content
        for tensor in () if self._cast is None else self._cast.tensors():
            h.update(tensor.detach().cpu().numpy().tobytes())
        return Path(str(files[0])).parent / "rehearsals" / h.hexdigest()[:16]


def _load(file: Path) -> Rehearsal:
    with np.load(file) as kept:
        image = kept["image"]
        truth = np.unpackbits(kept["truth"], count=image.size).reshape(image.shape).astype(bool)
        z, y, x = (float(mm) for mm in kept["spacing_mm"])
        return Rehearsal(image, truth, kept["guide"], int(kept["support"]), (z, y, x))
