"""Two random views of a random slice: the task of all methods that compare views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.slice_choice import draw_slice
from napari_medssl.pretext.task import Example
from napari_medssl.settings import check, setting
from napari_medssl.transforms.view_presets import VIEW_PRESETS, ViewPreset
from napari_medssl.transforms.views import ViewRanges, apply_views, draw_views


@dataclass(frozen=True)
class ViewSettings:
    """How two views of a slice are made."""

    preset: ViewPreset = setting(
        "medical", "Strength of the changes: medical keeps lesions; thesis-4 and simclr as published; s1 to s6; none."
    )
    size: int = setting(192, "Side of the framed slice and of a view in pixels.", ge=16, le=1024)


class SliceViews:
    """The task: a random slice with content, seen twice (thesis 4.5.2.1; Chen et al., 2020).

    settings: ranges and size. channels: neighbouring slices stacked as channels (odd). ranges: instead of a preset's.

    A prepared batch has view1 and view2, (B, channels, size, size) float32 in [0, 1]. Neighbouring slices of a view
    share its geometry and intensities.

    The thesis takes one slice of each scan into a batch. Here every example draws its scan anew, so that it depends on
    its own number alone: with fewer scans than a batch has examples, some that are held apart as negatives are slices
    of one scan, at times near ones (ours).
    """

    def __init__(self, settings: ViewSettings, channels: int = 1, *, ranges: ViewRanges | None = None) -> None:
        check(settings)
        self.size, self.channels = settings.size, channels
        self.ranges = ranges or VIEW_PRESETS[settings.preset]

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """slices (channels, size, size) uint8 and the parameters of two views; see `draw_views`."""
        slices = draw_slice(scans, rng, size=self.size, channels=self.channels)
        mean = float(slices[0, ::4, ::4].float().mean()) / 255
        return {"slices": slices, **draw_views(rng, self.ranges, count=2, mean=mean)}

    def prepare(self, batch: Example) -> Example:
        """view1 and view2 of every example."""
        parameters = {name: value for name, value in batch.items() if name != "slices"}
        views = apply_views(batch["slices"], parameters, self.ranges, size=self.size)
        return {"view1": views[:, 0], "view2": views[:, 1]}
