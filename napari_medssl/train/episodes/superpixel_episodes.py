"""The pretext task of CoWPro: find a superpixel of a slice in a changed copy of the slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.train.episodes.episode_source import EpisodeSettings, EpisodeSource, EpisodeVolume
from napari_medssl.train.episodes.pseudo_masks import PseudoMasks


class SuperpixelEpisodes:
    """Draws {"support", "query"} (C, S, S) float32 in [0, 1] and {"support_mask", "query_mask"} (S, S) in {0, 1}.

    context: slices of an input, C. stride: pixels per feature cell of the encoder. exclude: slices that show one of
    these labels are never drawn (thesis 7.4.1.5 leaves out the other group's organs). It needs labels and is therefore
    off by default (B7-26). It looks at the framed label map, in which an organ thinner than a framed pixel can be lost.

    The change of the query is applied while drawing, because an episode whose changed mask gives no prototype is drawn
    anew.

    Source: thesis 7.4.1. Raises SettingsError when labels are to be excluded and a scan has none, FormatError when no
    slice can be drawn.
    """

    def __init__(
        self,
        settings: EpisodeSettings,
        cut: SuperpixelSettings,
        *,
        context: int,
        stride: int,
        exclude: frozenset[int] = frozenset(),
    ) -> None:
        self._settings, self._context, self._stride, self._exclude = settings, context, stride, exclude
        self._masks = PseudoMasks(cut)
        self._built: tuple[Sequence[Scan], EpisodeSource] | None = None

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """One episode: every slice that may be drawn and has superpixels of a usable size is equally likely."""
        if self._built is None or self._built[0] is not scans:
            self._built = (scans, self._source(scans))
        episode = self._built[1].draw(rng)
        return {
            "support": episode.support,
            "query": episode.query,
            "support_mask": episode.support_mask,
            "query_mask": episode.query_mask,
        }

    def prepare(self, batch: Example) -> Example:
        """The batch as it is."""
        return batch

    def _source(self, scans: Sequence[Scan]) -> EpisodeSource:
        volumes = [EpisodeVolume(s.image, self._masks.planes(s), _usable(s, self._exclude)) for s in scans]
        return EpisodeSource(volumes, self._settings, context=self._context, stride=self._stride)


def _usable(scan: Scan, exclude: frozenset[int]) -> npt.NDArray[np.intp]:
    if not exclude:
        return np.arange(len(scan.image))
    if scan.labels is None:
        raise SettingsError(
            f"exclude_labels needs a label map for every scan and {scan.name} has none; "
            "put it under the same name into a folder 'labels' beside 'images', or exclude nothing"
        )
    return np.flatnonzero(~np.isin(scan.labels, list(exclude)).any(axis=(1, 2)))


def parse_labels(text: str) -> frozenset[int]:
    """Label values from text such as "1 4" or "1, 4". Raises SettingsError for anything but whole numbers from 1."""
    words = text.replace(",", " ").split()
    if not all(word.isdecimal() and int(word) >= 1 for word in words):
        raise SettingsError(f"exclude_labels is {text!r}; give label values such as '1 4'")
    return frozenset(int(word) for word in words)
