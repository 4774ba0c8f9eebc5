"""Results as layers and as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.labels import Label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.widgets._layers import colormap, features, mark, name_organs, role_of
from napari_medssl.widgets._support import made_for, transform_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels


@dataclass(frozen=True)
class OrganRow:
    """What the table says of one organ.

    first, last: slices it reaches, None when it is empty. dice: overlap with the truth in [0, 1], None without truth.
    """

    label: Label
    voxels: int
    volume_ml: float
    first: int | None
    last: int | None
    dice: float | None = None


def organ_rows(
    data: np.ndarray, organs: tuple[Label, ...], voxel_ml: float, truth: np.ndarray | None = None
) -> tuple[OrganRow, ...]:
    """Size, extent and overlap of every organ of a label map (Z, Y, X).

    truth: labels with the same values on the same grid; Dice is 2 |A and B| / (|A| + |B|), 1 when both are empty.
    One pass over the voxels whatever the number of organs: about 0.4 s for 512 x 512 x 400.
    """
    top = max((label.value for label in organs), default=0) + 1
    counts = np.array([_counts(plane, top) for plane in data]).reshape(-1, top)  # (Z, label)
    true = both = np.zeros(top, int)
    if truth is not None:
        true = sum((_counts(plane, top) for plane in truth), true)
        both = sum((_counts(plane[plane == other], top) for plane, other in zip(data, truth, strict=True)), both)
    rows = []
    for label in organs:
        slices = np.flatnonzero(counts[:, label.value])
        first, last = (int(slices[0]), int(slices[-1])) if len(slices) else (None, None)
        voxels = int(counts[:, label.value].sum())
        dice = None if truth is None else _dice(voxels, int(true[label.value]), int(both[label.value]))
        rows.append(OrganRow(label, voxels, voxels * voxel_ml, first, last, dice))
    return tuple(rows)


def _counts(plane: np.ndarray, top: int) -> np.ndarray:
    """Voxels of each label below `top`."""
    return np.bincount(plane.ravel(), minlength=top)[:top]


def _dice(found: int, true: int, both: int) -> float:
    return 2.0 * both / (found + true) if found + true else 1.0


def show_result(viewer: ViewerModel, image: Image, result: Segmentation, *, probability: bool) -> Labels:
    """Put a result into its layers beside the scan, making them when they are not there (or were deleted)."""
    organs = result.labels.labels
    layer = made_for(viewer, image, "result")
    data = result.labels.data.copy()  # the user may paint on the layer; the result stays as the run gave it
    if layer is None:
        layer = _add_result(viewer, image, data, organs)
    else:
        layer.data = data
    mark(layer, role="result", of=image.unique_id, volume=result.labels, report=result.report)
    name_organs(layer, organs)
    show_probability(viewer, image, result, wanted=probability)
    return layer


def _add_result(viewer: ViewerModel, image: Image, data: np.ndarray, organs: tuple[Label, ...]) -> Labels:
    """A new result layer below the support, on which the brush stays."""
    from napari.layers import Labels

    layer = Labels(
        data, name=f"{image.name} organs", colormap=colormap(organs), features=features(organs), opacity=0.5,
        **transform_of(image),
    )  # fmt: skip
    active = viewer.layers.selection.active
    support = made_for(viewer, image, "support")
    viewer.layers.insert(viewer.layers.index(support) if support is not None else len(viewer.layers), layer)
    viewer.layers.selection.active = active
    return layer


def show_probability(viewer: ViewerModel, image: Image, result: Segmentation, *, wanted: bool) -> None:
    """One Image per organ in its colour; removed again when not wanted."""
    old = {layer.metadata["medssl"].get("organ"): layer for layer in _probability_layers(viewer, image)}
    organs = {label.value: label for label in result.labels.labels}
    new = {organs[v].name: (organs[v], p) for v, p in result.probability.items() if v in organs} if wanted else {}
    for name, layer in old.items():
        if name not in new:
            viewer.layers.remove(layer)
    active = viewer.layers.selection.active
    for name, (label, values) in new.items():
        data = np.asarray(values, np.float32)
        if name in old:
            old[name].data = data
            layer = old[name]
        else:
            layer = _add_probability(viewer, image, label, data)
        mark(layer, role="probability", of=image.unique_id, organ=name, volume=result.labels, report=result.report)
    if active in viewer.layers:
        viewer.layers.selection.active = active


def shown_probability(viewer: ViewerModel, image: Image, organs: tuple[Label, ...]) -> dict[int, np.ndarray]:
    """The probability maps on show for a scan, by organ value, as a result has them."""
    values = {label.name: label.value for label in organs}
    layers = {layer.metadata["medssl"].get("organ"): layer for layer in _probability_layers(viewer, image)}
    return {values[name]: np.asarray(layer.data, np.float16) for name, layer in layers.items() if name in values}


def _add_probability(viewer: ViewerModel, image: Image, label: Label, data: np.ndarray) -> Image:
    from napari.utils import Colormap

    colors = Colormap([[0, 0, 0, 0], [*(c / 255 for c in label.color), 1.0]], name=f"medssl {label.color}")
    layer: Image = viewer.add_image(
        data, name=f"{image.name} {label.name} probability", colormap=colors, contrast_limits=(0, 1), opacity=0.7,
        blending="additive", visible=True, **transform_of(image),
    )  # fmt: skip
    return layer


def _probability_layers(viewer: ViewerModel, image: Image) -> list[Any]:
    return [layer for layer in viewer.layers if role_of(layer) == ("probability", image.unique_id)]
