"""The pretext networks of the two-dimensional jigsaw: a nine-branch trunk and a classifier of arrangements."""

from __future__ import annotations

from torch import Tensor, nn

from napari_medssl.models.heads import mlp, pooled
from napari_medssl.models.nine_branches import scaled
from napari_medssl.models.skid import SkidTrunk, SkidVersion
from napari_medssl.models.sslacl import SslaclBottleneck, SslaclTrunk

_FC = 1024


class JigsawNet(nn.Module):
    """(B, 9, in_slices, h, w) patches, the k-th to branch k, to (B, classes) logits.

    encoder: the trunk that is kept. bottleneck: between trunk and pooling. classifier: linear layers on the means over
    all places.
    """

    def __init__(self, encoder: SkidTrunk | SslaclTrunk, bottleneck: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.encoder, self.bottleneck, self.classifier = encoder, bottleneck, classifier

    def forward(self, patches: Tensor) -> Tensor:
        out: Tensor = self.classifier(pooled(self.bottleneck(self.encoder.patches(patches))))
        return out


def sslacl_net(classes: int, *, in_slices: int = 1, width: float = 1.0, norm: bool = True) -> JigsawNet:
    """The SSLACL pretext network: trunk, bottleneck, two hidden layers of 1024 (S06, B3-18).

    Patches of 64 pixels or any multiple of 8. 173.0 M parameters for 500 classes at width 1 without `norm`; 173.5 M for
    1000, as in thesis 3.5.4.2.
    """
    trunk = SslaclTrunk(in_slices=in_slices, width=width, norm=norm)
    bottleneck = SslaclBottleneck(trunk.channels, width=width, norm=norm)
    hidden = scaled(_FC, width)
    return JigsawNet(trunk, bottleneck, mlp([bottleneck.channels, hidden, hidden, classes], norm=False))


def skid_net(classes: int, *, version: SkidVersion = "v3", in_slices: int = 3, width: float = 1.0) -> JigsawNet:
    """A SKID pretext network: trunk and one hidden layer of 1024 (S09, S10).

    Patches of 64 pixels or any multiple of 16. 108.3, 169.9 and 217.1 M parameters for versions v1, v2 and v3 with 500
    classes at width 1; 0.5 M more for 1000 (thesis, Tables 3.1 and 3.12; B3-20).
    """
    trunk = SkidTrunk(version=version, in_slices=in_slices, width=width)
    return JigsawNet(trunk, nn.Identity(), mlp([trunk.channels, scaled(_FC, width), classes], norm=False))
