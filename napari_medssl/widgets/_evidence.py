"""Maps of evidence as layers over their scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medssl.widgets._layers import mark, role_of
from napari_medssl.widgets._support import transform_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_medssl.classify.explain.explain import Explanation

ROLE = "evidence"


def show_evidence(viewer: ViewerModel, image: Image, found: Explanation, name: str) -> Image:
    """The evidence for a class, glowing over the scan; a map of the same class and scan is replaced."""
    from napari.layers import Image

    layer = next(
        (x for x in viewer.layers if isinstance(x, Image) and role_of(x) == (ROLE, image.unique_id)
         and x.metadata.get("class") == name), None,
    )  # fmt: skip
    if layer is not None:
        layer.data = found.evidence.data
        layer.visible = True
    else:
        active = viewer.layers.selection.active
        layer = viewer.add_image(
            found.evidence.data,
            name=f"evidence of {name} in {image.name}",
            colormap="inferno",
            blending="additive",
            contrast_limits=(0.0, 1.0),
            opacity=0.6,
            metadata={"class": name},
            **transform_of(image),
        )
        viewer.layers.selection.active = active
    mark(layer, role=ROLE, of=image.unique_id, report=found.report)
    return layer
