"""Several processes that train one model: who they are, and how they see each other's embeddings.

Outside `torchrun` everything here is the identity, so losses call it without asking.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from napari_medssl.errors import DeviceError

_GOODBYE_S = 0.5


def world() -> tuple[int, int]:
    """This process' rank and how many processes train together; (0, 1) when it is alone."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def is_main() -> bool:
    """Whether this is the process that writes files and speaks to the user."""
    return world()[0] == 0


def gather(z: Tensor) -> Tensor:
    """(B, ...) of every process to (R * B, ...), ranks in order; the same shape is needed on all of them.

    Gradients flow back to the process an embedding came from, summed over all processes. With that, training under
    DistributedDataParallel, which averages gradients over the R processes, follows the gradient of the mean of the
    processes' losses. So it equals one process on the joined batch both when every process computes the loss of the
    whole gathered batch and when each computes the mean over its own anchors against everybody's candidates.
    """
    if world()[1] == 1:
        return z
    joined: Tensor = _Gather.apply(z)  # type: ignore[no-untyped-call]
    return joined


@torch.no_grad()
def gather_plain(z: Tensor) -> Tensor:
    """As `gather`, without a gradient: for queues, teachers and statistics."""
    return z.detach() if world()[1] == 1 else _collect(z.detach())


@torch.no_grad()
def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, floating point, without a gradient."""
    size = world()[1]
    total = value.detach().clone() if value.is_floating_point() else value.detach().to(torch.float32)
    if size > 1:
        dist.all_reduce(total)
    return total / size


def barrier() -> None:
    """Wait until every process has come here."""
    if world()[1] > 1:
        dist.barrier()


@contextmanager
def main_process_first() -> Iterator[None]:
    """The main process goes through the block alone, then all others: for filling a cache they share."""
    if not is_main():
        barrier()
    try:
        yield
    finally:
        if is_main():
            barrier()


def init_from_environment(device: torch.device | str) -> torch.device:
    """Join the processes that `torchrun` started; gives the device this one computes on.

    device: "cpu", or "cuda" for the GPU of this process' local rank. Processes talk over gloo on CPUs and nccl on
    GPUs. A process that torchrun did not start stays alone. Raises DeviceError when the machine has fewer GPUs than
    processes. End with `shutdown`.
    """
    device = torch.device(device)
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        return device
    if device.type == "cuda":
        device = _own_gpu(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def shutdown() -> None:
    """Leave the group; nothing when there is none."""
    if dist.is_available() and dist.is_initialized():
        # gloo aborts a process whose peer hangs up while it is still on its way out of the last collective: rare, but
        # torchrun then calls a run failed that has written its weights.
        time.sleep(_GOODBYE_S)
        dist.destroy_process_group()


def _own_gpu(local_rank: int) -> torch.device:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise DeviceError(
            f"process {local_rank} of this machine found {count} GPU(s); start at most one process per GPU "
            "(torchrun --nproc-per-node), or train on the CPU"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _collect(z: Tensor) -> Tensor:
    parts = [torch.empty_like(z, memory_format=torch.contiguous_format) for _ in range(world()[1])]
    dist.all_gather(parts, z.contiguous())
    return torch.cat(parts)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.size = len(z)
        return _collect(z)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every process has its own loss, and each of them depends on the embeddings of all.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        start = world()[0] * ctx.size
        return gradient[start : start + ctx.size]
