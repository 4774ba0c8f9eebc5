"""What kind of explanation is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from napari_medssl.settings import setting

Method: TypeAlias = Literal["gradcam", "gradcam++", "occlusion", "integrated"]


@dataclass(frozen=True)
class ExplainSettings:
    """How the evidence for a class is looked for and shown.

    Everything here is ours: the papers explain one image at a time, we a stack of them.
    """

    method: Method = setting(
        "gradcam",
        "Grad-CAM and Grad-CAM++ need one pass per slice; occlusion hides part after part, a hundred passes; "
        "integrated gradients sum what pixels add, some dozen passes.",
    )
    layer: str = setting("", "Layer of the network whose cells are weighed; empty: the last one that has a map.")
    scale: Literal["scan", "slice"] = setting(
        "scan", "What is 1: the strongest evidence of the scan, or that of every slice on its own."
    )
    weigh: bool = setting(True, "Whether a slice that does not show the class is dimmed, by its probability.")
    between: Literal["empty", "linear"] = setting(
        "empty", "Slices the network was not shown: left empty, or blended from their neighbours."
    )
    patch: float = setting(0.15, "Occlusion: side of what is hidden, as a share of the input's.", ge=0.02, le=0.9)
    overlap: float = setting(0.5, "Occlusion: how far neighbouring patches overlap.", ge=0, le=0.9)
    fill: Literal["dark", "mean", "patch"] = setting(
        "mean",
        "Occlusion: what is put in; darkness with a soft rim, the image's mean, or the patch's own mean. Integrated: "
        "where the way to the image begins; in darkness, or at the image much blurred.",
        advanced=True,
    )  # fmt: skip
    batch: int = setting(8, "Slices, or hidden patches, per pass.", ge=1, le=256, advanced=True)
