"""PCRL-lite: contrast, restoration under a told change, and mix-up of what two networks see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.keys import key_infonce
from napari_medssl.models.heads import mlp, pooled
from napari_medssl.models.momentum import MomentumCopy
from napari_medssl.models.unet3d import UNet3dDecoder, UNet3dEncoder
from napari_medssl.pretext.task import Example
from napari_medssl.train.distributed import gather, world
from napari_medssl.train.objective import Objective

Stages: TypeAlias = Sequence[Tensor]


class PcrlObjective(Objective):
    """The mean of three contrastive terms plus the mean of four restorations.

    An encoder f and its slowly following teacher f' see both views. With z and z' their projected mean features and
    lambda = batch["mix"], one number for each example:

    - contrast: z1 against the key z2', z2 against z1', and the mixed features lambda f(view1) + (1 - lambda) f'(view2)
      against z1' and z2' in proportion; negatives are the keys of the other examples, of all processes.
    - restoration (mean squared error, sigmoid output): target1 from f(view1) under condition1, target2 from f(view2)
      under condition2, and from either mixture, lambda f(view1) + (1 - lambda) f'(view2) and lambda f'(view1) +
      (1 - lambda) f(view2), the targets mixed alike under the conditions mixed alike. A condition gates the channels of
      the grids that the decoder takes.

    momentum: the teacher keeps this share of itself at each step. conditions: length of a condition. projector: widths
    after the encoder's.

    Gives loss, contrast, restoration.

    Source: Zhou et al., 2021 (PCRL); paper 002, section 3.2, omits the equations. The counts of terms, the teacher and
    Beta(1, 1) are those of its code (S75); what the terms mix is our reading, hence "lite" (B2-29). The momentum is
    MoCo's.
    """

    def __init__(
        self,
        encoder: UNet3dEncoder,
        *,
        conditions: int,
        skip: bool = True,
        projector: Sequence[int] = (512, 256),
        momentum: float = 0.999,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = mlp([encoder.channels, *projector])
        self.decoder = UNet3dDecoder(encoder, 1, skip=skip)
        used = encoder.stage_channels if skip else encoder.stage_channels[-1:]
        self.gates = nn.ModuleList(nn.Linear(conditions, channels) for channels in used)
        self.teacher = MomentumCopy(self.encoder)
        self.teacher_projector = MomentumCopy(self.projector)
        self._momentum, self._temperature = momentum, temperature

    def forward(self, batch: Example) -> dict[str, Tensor]:
        seen = [self.encoder.stages(batch[name]) for name in ("view1", "view2")]
        with torch.no_grad():
            teacher = cast(UNet3dEncoder, self.teacher.module)
            taught = [teacher.stages(batch[name]) for name in ("view1", "view2")]
            keys = [self.teacher_projector(pooled(stages[-1])) for stages in taught]
        mixtures = [_mixed(seen[0], taught[1], batch["mix"]), _mixed(taught[0], seen[1], batch["mix"])]
        contrast = self._contrast(seen, mixtures[0], keys, batch["mix"])
        restoration = self._restoration(seen, mixtures, batch)
        return {
            "loss": contrast + restoration,
            "contrast": contrast.detach(),
            "restoration": restoration.detach(),
        }

    def end_step(self) -> None:
        self.teacher.follow(self.encoder, self._momentum)
        self.teacher_projector.follow(self.projector, self._momentum)

    def _contrast(self, seen: Sequence[Stages], mixture: Stages, keys: Sequence[Tensor], mix: Tensor) -> Tensor:
        first, second = keys
        terms = [
            self._against(seen[0], second),
            self._against(seen[1], first),
            mix * self._against(mixture, first) + (1 - mix) * self._against(mixture, second),
        ]
        return torch.stack(terms).mean()

    def _against(self, stages: Stages, keys: Tensor) -> Tensor:
        queries = self.projector(pooled(stages[-1]))
        own = torch.arange(len(queries), device=queries.device) + world()[0] * len(queries)
        return key_infonce(queries, gather(keys), own, temperature=self._temperature)

    def _restoration(self, seen: Sequence[Stages], mixtures: Sequence[Stages], batch: Example) -> Tensor:
        told, wanted = ([batch[f"{name}{i}"] for i in (1, 2)] for name in ("condition", "target"))
        both_told, both_wanted = (
            _mixed(told[:1], told[1:], batch["mix"])[0],
            _mixed(wanted[:1], wanted[1:], batch["mix"])[0],
        )
        terms = [
            _squared_error(self._restored(stages, condition), target)
            for stages, condition, target in zip(
                (*seen, *mixtures), (*told, both_told, both_told), (*wanted, both_wanted, both_wanted), strict=True
            )
        ]
        return torch.stack(terms).mean()

    def _restored(self, stages: Stages, condition: Tensor) -> Tensor:
        """(B, 1, Z, Y, X) logits."""
        gated = list(stages)
        for i, gate in enumerate(self.gates, start=len(stages) - len(self.gates)):
            gated[i] = stages[i] * torch.sigmoid(gate(condition))[:, :, None, None, None]
        out: Tensor = self.decoder(gated)
        return out


@in_float32
def _squared_error(logits: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(logits.sigmoid(), target)


def _mixed(first: Stages, second: Stages, mix: Tensor) -> list[Tensor]:
    """mix * first + (1 - mix) * second, with one number of (B,) `mix` for each example."""
    share = [mix.view(-1, *[1] * (a.ndim - 1)) for a in first]
    return [m * a + (1 - m) * b for m, a, b in zip(share, first, second, strict=True)]
