"""From the scores of a scan to the slice range of One-shot segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_medssl.widgets._layers import layer_affine
from napari_medssl.widgets._notify import tell
from napari_medssl.widgets.segment import OneShotWidget

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_medssl.classify.slices.scores import SliceScores

_DOCK = "One-shot segmentation"


def use_range(viewer: Any, image: Image, scores: SliceScores, name: str, threshold: float) -> tuple[int, int] | None:
    """Choose the slices of a class in One-shot segmentation, which is opened when it is not.

    Returns the half-open range; None, with a sentence, when the class is on no slice.
    """
    from napari_medssl.classify.slices.ranges import slice_range_from_scores

    probability, _ = scores.of(name)
    slice_mm = float((layer_affine(image)[:3, 0] ** 2).sum() ** 0.5)
    span = slice_range_from_scores(probability, threshold=threshold, slice_mm=slice_mm)
    if span is None:
        tell(f"'{name}' is on no slice of '{image.name}', by its scores.")
        return None
    dock = _one_shot(viewer)
    if dock is None:
        tell(f"'{name}' lies on the slices {span[0]} to {span[1] - 1} of '{image.name}'.")
        return span
    dock.panel.image.choose(image)
    dock.panel.range.choose(*span, about=True)
    tell(f"One-shot segmentation looks for organs on the slices {span[0]} to {span[1] - 1} of '{image.name}' only.")
    return span


def _one_shot(viewer: Any) -> OneShotWidget | None:
    """The segmentation's dock; None where there is no window."""
    window = getattr(viewer, "window", None)
    if window is None:
        return None
    for widget in window.dock_widgets.values():
        if isinstance(widget, OneShotWidget):
            return widget
    _, made = window.add_plugin_dock_widget("napari-medssl", _DOCK)
    return made if isinstance(made, OneShotWidget) else None
