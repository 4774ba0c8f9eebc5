"""File > Open Sample: the package's own phantoms, a scan and its true labels."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

LayerData = tuple[np.ndarray, dict[str, Any], str]


def phantom_ct() -> list[LayerData]:
    """An abdominal CT phantom and its labels."""
    return _phantom("CT")


def phantom_mr() -> list[LayerData]:
    """An abdominal MR phantom and its labels."""
    return _phantom("MR")


def _phantom(modality: Literal["CT", "MR"]) -> list[LayerData]:
    from napari_medssl.samples.phantom import phantom
    from napari_medssl.widgets._layers import image_layer, labels_layer
    from napari_medssl.widgets.reader import _show_orientation

    scan, labels = phantom(modality)
    truth = labels_layer(labels, f"phantom {modality} truth")
    truth[1]["visible"] = False  # the user is to label the scan; the truth is for the Dice column
    _show_orientation()
    return [image_layer(scan, f"phantom {modality}"), truth]
