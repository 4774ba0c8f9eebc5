"""Distance on the sphere between a prediction and a target that is not trained."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def cosine_regression(prediction: Tensor, target: Tensor) -> Tensor:
    """Scalar in [0, 4]: mean over the batch of 2 - 2 cos(prediction, target), both (B, D).

    No gradient reaches `target`: both methods that use this loss stop it there.

    Source: Grill et al., "Bootstrap Your Own Latent" (2020), Eq. 2. Chen and He, "Exploring Simple Siamese
    Representation Learning" (2021), Eq. 1, take -cos, half of it but for a constant.
    """
    return (2 - 2 * F.cosine_similarity(prediction, target.detach(), dim=1)).mean()
