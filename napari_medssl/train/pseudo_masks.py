"""Scans as slices with superpixels, ready for drawing self-supervised episodes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SettingsError
from napari_medssl.io import read
from napari_medssl.oneshot.episodes import EpisodeVolume
from napari_medssl.oneshot.superpixels import PseudoMaskCache, SuperpixelSettings, cache_variant, superpixels
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case, FramedVolume


def cases_of(paths: Sequence[Path]) -> list[Case]:
    """Scans by their paths; a scan in a folder `images` has its label map under the same name in `labels` beside it."""
    return [_case(Path(path)) for path in paths]


def _case(path: Path) -> Case:
    if path.parent.name != "images":
        return Case(path, None, path.parent.name)
    labels = path.parent.parent / "labels" / path.name
    return Case(path, labels if labels.is_file() else None, path.parent.parent.name)


def parse_labels(text: str) -> frozenset[int]:
    """Label values from text such as "1 4" or "1, 4". Raises SettingsError for anything but whole numbers from 1."""
    words = text.replace(",", " ").split()
    if not all(word.isdecimal() and int(word) >= 1 for word in words):
        raise SettingsError(f"exclude_labels is {text!r}; give label values such as '1 4'")
    return frozenset(int(word) for word in words)


def episode_volumes(
    framed: Sequence[FramedVolume],
    settings: SuperpixelSettings,
    *,
    exclude: frozenset[int] = frozenset(),
    cache: PseudoMaskCache | None = None,
) -> Steps[list[EpisodeVolume]]:
    """Superpixels of every slice, from the cache where they are there, and the slices that may be drawn.

    exclude: slices that hold one of these labels are never drawn (thesis 7.4.1.5 leaves out the other group's
    organs). It needs labels and is therefore off in the plugin (B7-26).

    Yields Progress per scan. Raises SettingsError when labels are to be excluded and a scan has no label map.
    """
    volumes = []
    for i, volume in enumerate(framed):
        yield Progress(i, len(framed), f"superpixels of {volume.case.image.name or 'the scan'}")
        banned = _slices_with(volume.case, exclude)
        maps = _superpixels(volume.image, settings, cache)
        usable = [z for z in range(len(maps)) if z not in banned and maps[z].any()]
        volumes.append(EpisodeVolume(volume.image, maps, np.array(usable, np.intp)))
    return volumes


def _slices_with(case: Case, exclude: frozenset[int]) -> frozenset[int]:
    if not exclude:
        return frozenset()
    if case.labels is None:
        raise SettingsError(
            f"exclude_labels needs a label map for every scan and {case.image.name} has none; "
            "put it under the same name into a folder 'labels' beside 'images', or exclude nothing"
        )
    # The stored label map, not the framed one: a thin organ can fall between the pixels of a smaller frame.
    data = read(case.labels, labels=True).data
    return frozenset(np.flatnonzero(np.isin(data, list(exclude)).any(axis=(1, 2))).tolist())


def _superpixels(
    image: npt.NDArray[np.uint8], settings: SuperpixelSettings, cache: PseudoMaskCache | None
) -> npt.NDArray[np.uint16]:
    content = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
    variant = cache_variant(settings, image.shape[-1])
    stored = cache.load(content, variant) if cache is not None else None
    if stored is not None and stored.shape == image.shape:
        return stored
    maps = np.stack([superpixels(plane, settings) for plane in image]).astype(np.uint16)
    if cache is not None:
        cache.store(content, variant, maps)
    return maps


def cache_in(folder: Path) -> PseudoMaskCache:
    """The cache of a run."""
    return PseudoMaskCache(folder / "superpixels")
