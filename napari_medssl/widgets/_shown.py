"""One scan of several on show, with what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_medssl.widgets._layers import role_of
from napari_medssl.widgets._slice_marks import ROLE

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image


def show_only(viewer: ViewerModel, image: Image, images: Sequence[Image]) -> None:
    """Show one of the scans with its marks; hide the others with all layers made for them.

    Other layers of the scan itself, such as results, stay shown or hidden as the user left them.
    """
    ids = {other.unique_id for other in images}
    for layer in viewer.layers:
        role, of = role_of(layer)
        if layer in images:
            layer.visible = layer is image
        elif of in ids and of != image.unique_id:
            layer.visible = False
        elif of == image.unique_id and role == ROLE:
            layer.visible = True
