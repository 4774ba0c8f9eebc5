"""MoCo and PIRL: negatives from a queue, keys from a slowly following network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_medssl.losses.keys import queue_infonce
from napari_medssl.losses.pirl import pirl
from napari_medssl.models.feature_queue import FeatureQueue
from napari_medssl.models.heads import pooled
from napari_medssl.models.momentum import MomentumCopy
from napari_medssl.pretext.task import Example
from napari_medssl.train.distributed import gather_plain
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.spread import spread


class MomentumQueueObjective(Objective):
    """MoCo-v2: find view2's key among the keys of earlier batches, with the query of view1.

    encoder: of slices or volumes, features averaged over all places. projector: (B, D) to (B, width). width: length of
    a key. queue: keys kept, of all processes. momentum: share of itself the key network keeps at each step.

    A batch has view1 and view2, (B, C, H, W) or (B, C, Z, Y, X). The queue is filled with random directions at first,
    and takes the keys of a batch after their loss, in training only.

    The published shuffling of the batch across GPUs is left out. It keeps a query and its key from knowing each other
    by the statistics that batch normalisation takes over a GPU's share of the batch. Here all GPUs normalise together,
    and each key's statistics come from all keys of the batch; within one device, too, the order would change nothing.

    Gives loss, spread of the queries (0: collapsed, 1: spread evenly).

    Source: He et al., "Momentum Contrast" (2020), Eqs. 1 and 2, algorithm 1; Chen et al., "Improved Baselines with
    Momentum Contrastive Learning" (2020); guide 001 for the comparison with SimCLR.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        *,
        width: int = 128,
        queue: int = 4096,
        momentum: float = 0.999,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector
        self.key_encoder, self.key_projector = MomentumCopy(encoder), MomentumCopy(projector)
        self.queue = FeatureQueue(queue, width)
        self._momentum, self._temperature = momentum, temperature

    def forward(self, batch: Example) -> dict[str, Tensor]:
        queries = self.projector(pooled(self.encoder(batch["view1"])))
        with torch.no_grad():
            keys = self.key_projector(pooled(self.key_encoder(batch["view2"])))
        loss = queue_infonce(queries, keys, self.queue(), temperature=self._temperature)
        if self.training:
            self.queue.push(gather_plain(keys.float()))
        return {"loss": loss, "spread": spread(queries)}

    def end_step(self) -> None:
        self.key_encoder.follow(self.encoder, self._momentum)
        self.key_projector.follow(self.projector, self._momentum)


class PirlObjective(Objective):
    """Image and jigsaw puzzle of it have one embedding, unlike those of other images.

    encoder: of slices, features averaged over all places. image_head: (B, D) to (B, width). patch_head: (B P, D) to
    (B P, E), for each patch. puzzle_head: (B, P E) to (B, width), patches joined in the order of the puzzle.
    bank: embeddings of other images kept. momentum: share of itself the remembering network keeps at each step.
    share: weight of the puzzle beside the image (lambda).

    A batch has image (B, C, H, W) and patches (B, P, C, h, w).

    The paper's memory bank has an entry for each image of the data set, the running mean of its embeddings over the
    epochs. Slices are drawn anew here, so there is no list of images to keep entries for. Instead, what is remembered
    of an image is the embedding of a slowly following network, and the others come from a queue of these: the step
    that MoCo made from the memory bank. The thesis (3.5.3.2) has a bank of 1024.

    Gives loss, spread of the images' embeddings (0: collapsed, 1: spread evenly).

    Source: Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations" (2020), Eqs. 2-5.
    """

    def __init__(
        self,
        encoder: nn.Module,
        image_head: nn.Module,
        patch_head: nn.Module,
        puzzle_head: nn.Module,
        *,
        width: int = 128,
        bank: int = 1024,
        momentum: float = 0.99,
        temperature: float = 0.07,
        share: float = 0.5,
    ) -> None:
        super().__init__()
        self.encoder, self.image_head = encoder, image_head
        self.patch_head, self.puzzle_head = patch_head, puzzle_head
        self.memory_encoder, self.memory_head = MomentumCopy(encoder), MomentumCopy(image_head)
        self.bank = FeatureQueue(bank, width)
        self._momentum, self._temperature, self._share = momentum, temperature, share

    def forward(self, batch: Example) -> dict[str, Tensor]:
        image = self.image_head(pooled(self.encoder(batch["image"])))
        puzzle = self._puzzle(batch["patches"])
        with torch.no_grad():
            memory = self.memory_head(pooled(self.memory_encoder(batch["image"])))
        loss = pirl(image, puzzle, memory, self.bank(), temperature=self._temperature, share=self._share)
        if self.training:
            self.bank.push(gather_plain(memory.float()))
        return {"loss": loss, "spread": spread(image)}

    def end_step(self) -> None:
        self.memory_encoder.follow(self.encoder, self._momentum)
        self.memory_head.follow(self.image_head, self._momentum)

    def _puzzle(self, patches: Tensor) -> Tensor:
        features = self.patch_head(pooled(self.encoder(patches.flatten(0, 1))))  # (B P, E)
        embedding: Tensor = self.puzzle_head(features.view(len(patches), -1))
        return embedding
