"""What a pretext task is: how examples are drawn from scans, and what is done to a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from torch import Tensor

from napari_medssl.pretext.scan import Scan

Example: TypeAlias = dict[str, Tensor]
"""Named tensors of one example, or, with a leading batch axis, of a batch."""


class Task(Protocol):
    """Makes training examples.

    An example depends on the scans and the generator alone: the same seed gives the same example, in any process.
    What is random is drawn in `draw` (on the CPU, in a loader process) and travels in the example as parameters;
    `prepare` applies it to a whole batch where the batch lies, without drawing anything.
    """

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """One example; every example of a task has the same names, shapes and types."""
        ...

    def prepare(self, batch: Example) -> Example:
        """The batch as the network takes it: images float32 in [0, 1], (B, C, H, W) or (B, C, Z, Y, X)."""
        ...
