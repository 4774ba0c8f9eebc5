"""Random contrasts by small networks with random weights.

Global intensity non-linear augmentation (Ouyang et al. 2022, "Causality-inspired single-source domain generalization
for medical image segmentation", arXiv 2111.12525): a shallow network of random convolutions changes brightness and
texture and leaves shapes, so that what is learned does not hang on one scanner.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_LAYERS, _WIDTH = 4, 2  # as published


def apply_random_network(slices: Tensor, rng: np.random.Generator) -> Tensor:
    """(C, H, W) slices in [0, 1] through one random network each alike, blended with themselves; again in [0, 1].

    Each layer is a 1 x 1 or 3 x 3 convolution with a random bias and a leaky ReLU, none after the last. The blend is
    scaled to the length of the input, as published, and then moved into [0, 1] by its 0.5th and 99.5th percentiles
    (ours: the source works on standardised images). Air stays dark.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    out = slices[:, None]
    for layer in range(_LAYERS):
        inputs, outputs = out.shape[1], 1 if layer == _LAYERS - 1 else _WIDTH
        k = int(rng.choice([1, 3]))
        out = F.conv2d(out, torch.randn(outputs, inputs, k, k, generator=generator), padding=k // 2)
        out = out + 0.05 * torch.randn(1, outputs, 1, 1, generator=generator)
        if layer < _LAYERS - 1:
            out = F.leaky_relu(out, 0.01)
    blend = float(rng.random())
    mixed = blend * out[:, 0] + (1 - blend) * slices
    mixed = mixed * slices.norm() / mixed.norm().clamp(min=1e-6)
    low, high = np.quantile(mixed[:, ::4, ::4].numpy(), (0.005, 0.995))
    mixed = ((mixed - float(low)) / max(float(high - low), 1e-3)).clamp(0, 1)
    return torch.where(slices < 0.02, mixed * 0.3, mixed)
