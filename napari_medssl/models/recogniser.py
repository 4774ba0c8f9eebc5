"""A network that knows some structures by name: what the organs of its training look like, in any contrast.

Everything else in one-shot segmentation compares with the labelled slice and knows no organ. A walk that only compares
cannot tell a spleen from a kidney that is equally bright beside it; who has seen many of both can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from napari_medssl.models.slice_encoder import body_coordinates
from napari_medssl.registry import Registry

recognisers: Registry[Any] = Registry("recogniser")

CONTEXT = 5  # slices of an input
_FIELD = 2.0  # times larger or smaller than in training structures are still looked for; training reaches 1.25
REACH_MM = 6.0  # from slice to slice of an input, or one slice where slices are thicker


def build_recogniser(name: str, **config: Any) -> nn.Module:
    """The registered recogniser `name`, in eval mode, with untrained weights."""
    module: nn.Module = recognisers[name](**config)
    return module.eval()


@recognisers.register("structure-unet")
class StructureUNet(nn.Module):
    """2D U-Net on framed slices; (B, 5, S, S) in [0, 1] to (B, K, S, S) logits. S: multiple of 16.

    structures: data set to the names of what is labelled in it, label values 1, 2 and so on. Each set has channels of
    its own, a background first: what is not labelled in one set must not be background for the organs of another.
    K is the number of all names and sets. input_size: S it was trained on, used for the frame. fields_mm: data set to
    the least and the greatest longer side of the slices it taught, in mm; sets without are looked for in all slices.
    Slices are framed whole, so that a blob in a body would look like a hippocampus in a crop of the brain. Raises
    ValueError for fields of unknown sets or that are no range.

    Input is the slice between two neighbours on each side, `REACH_MM` apart (`context_offsets`), in the order the
    reader gives axial stacks: z toward the head, y toward the back, x toward the left of the patient.
    """

    def __init__(
        self,
        *,
        structures: Mapping[str, Sequence[str]],
        features: tuple[int, ...] = (16, 32, 64, 128, 192, 16),
        input_size: int = 192,
        fields_mm: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.fields_mm = _as_fields(fields_mm or {}, structures)
        self.structures = {group: tuple(names) for group, names in structures.items()}
        self.input_size = input_size
        self.config: dict[str, Any] = {
            "structures": {group: list(names) for group, names in structures.items()},
            "features": list(features),
            "input_size": input_size,
            "fields_mm": {group: list(field) for group, field in self.fields_mm.items()},
        }
        self.net = BasicUNet(
            spatial_dims=2,
            in_channels=CONTEXT + 2,
            out_channels=sum(len(names) + 1 for names in self.structures.values()),
            features=tuple(features),
            norm=("group", {"num_groups": 8}),
            act=("relu", {"inplace": True}),
        )

    def forward(self, slices: Tensor) -> Tensor:
        mean = slices.mean((1, 2, 3), keepdim=True)
        deviation = slices.std((1, 2, 3), keepdim=True).clamp(min=0.02)
        coordinates = body_coordinates(slices[:, CONTEXT // 2])
        logits: Tensor = self.net(torch.cat([(slices - mean) / deviation, coordinates.to(slices.dtype)], 1))
        return logits

    def groups_for(self, side_mm: float) -> list[str]:
        """Data sets whose structures could be seen in slices with this longer side."""
        fields = {group: self.fields_mm.get(group, (side_mm, side_mm)) for group in self.structures}
        return [group for group, (least, most) in fields.items() if least / _FIELD <= side_mm <= most * _FIELD]

    def channels(self, group: str) -> slice:
        """Where the background and the structures of a data set lie among the K channels."""
        start = 0
        for name, structures in self.structures.items():
            if name == group:
                return slice(start, start + 1 + len(structures))
            start += 1 + len(structures)
        raise KeyError(group)


def _as_fields(
    fields: Mapping[str, Sequence[float]], structures: Mapping[str, Sequence[str]]
) -> dict[str, tuple[float, float]]:
    for group, field in fields.items():
        if group not in structures:
            raise ValueError(f"fields_mm names {group!r}, the structures are of {', '.join(structures)}")
        if len(field) != 2 or not 0 < field[0] <= field[1]:
            raise ValueError(f"fields_mm of {group!r} must be the least and the greatest side in mm, not {field}")
    return {group: (float(low), float(high)) for group, (low, high) in fields.items()}


def context_offsets(spacing_z_mm: float) -> tuple[int, ...]:
    """Slice numbers of an input around its middle, for slices this far apart."""
    stride = max(1, round(REACH_MM / spacing_z_mm))
    return tuple(stride * k for k in range(-(CONTEXT // 2), CONTEXT // 2 + 1))
