"""Maps of evidence as layers over their scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medssl.widgets._layers import KEY, facts_of, mark, role_of
from napari_medssl.widgets._support import transform_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_medssl.classify.explain.explain import Explanation

ROLE = "evidence"


def show_evidence(viewer: ViewerModel, image: Image, found: Explanation, name: str) -> Image:
    """The evidence for a class, glowing over the scan; a map of the same class and scan is replaced."""
    from napari.layers import Image

    # Known from the start: a layer without a role would be taken for a scan by whoever lists scans.
    facts = {"role": ROLE, "of": image.unique_id, "class": name, "report": found.report}
    layer = next(
        (x for x in viewer.layers if isinstance(x, Image) and role_of(x) == (ROLE, image.unique_id)
         and facts_of(x).get("class") == name), None,
    )  # fmt: skip
    if layer is not None:
        layer.data = found.evidence.data
        layer.visible = True
        mark(layer, **facts)
    else:
        active = viewer.layers.selection.active
        layer = viewer.add_image(
            found.evidence.data,
            name=f"evidence of {name} in {image.name}",
            colormap="inferno",
            blending="additive",
            contrast_limits=(0.0, 1.0),
            opacity=0.6,
            metadata={KEY: facts},
            **transform_of(image),
        )
        viewer.layers.selection.active = active
    return layer
