"""Work in batches that shrink when memory runs out, and move to the CPU when even one item does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import DeviceError, OutOfMemoryError
from napari_medssl.progress import Progress, Steps

T = TypeVar("T")

_log = logging.getLogger(__name__)

# What PyTorch's allocators say. CUDA and, since 2.5, MPS raise torch.OutOfMemoryError; the rest is known by its text.
_MEMORY_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "alloc_failed",
    "failed to allocate",
)
_LOST_TEXTS = (
    "cuda error",
    "cuda driver error",
    "cudnn_status_execution_failed",
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "command buffer",
)


@dataclass(frozen=True)
class Batches(Generic[T]):
    """What running in batches gave.

    results: what the function returned, batch after batch. policy, batch_size: those the work ended with.
    notes: what had to change on the way, as sentences for the user.
    """

    results: tuple[T, ...]
    policy: DevicePolicy
    batch_size: int
    notes: tuple[str, ...] = ()


def run_batches(
    fn: Callable[[range, DevicePolicy], T],
    n_items: int,
    *,
    policy: DevicePolicy,
    label: str,
    batch_size: int | None = None,
) -> Steps[Batches[T]]:
    """Call `fn(range of items, policy)` over all items in order; one progress report per finished batch.

    fn: may be called again for the first items of a batch that failed, so it must not leave half-done work behind.
    batch_size: items per batch to begin with; the policy's own by default.

    When memory runs out the batch is halved, and stays halved; a batch of one item that does not fit moves the rest
    of the work to the CPU. Raises OutOfMemoryError when one item does not fit there either, DeviceError when the
    device stops answering; any other error of `fn` passes through.
    """
    size = max(1, batch_size or policy.batch_size)
    results: list[T] = []
    notes: list[str] = []
    start = 0
    yield Progress(0, n_items, label)
    while start < n_items:
        items = range(start, min(start + size, n_items))
        shortage = _attempt(fn, items, policy, results)
        if shortage is None:
            start = items.stop
            yield Progress(start, n_items, label)
            continue
        # Outside the except clause: the traceback would keep the tensors of the failed batch alive.
        policy.release_memory()
        policy, size, note = _shrink(policy, len(items), label, shortage)
        _log.warning(note)
        notes.append(note)
    return Batches(tuple(results), policy, size, tuple(notes))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that host or device memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in text for part in _MEMORY_TEXTS)


def is_device_lost(error: BaseException) -> bool:
    """Whether `error` says that the GPU stopped answering, so that nothing can be computed on it in this process."""
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    accelerator_error = getattr(torch, "AcceleratorError", None)  # PyTorch 2.8 and later
    if accelerator_error is not None and isinstance(error, accelerator_error):
        return True
    return any(part in str(error).lower() for part in _LOST_TEXTS)


def device_lost(device: torch.device, error: BaseException) -> DeviceError:
    """The error to raise from `error` when `is_device_lost`."""
    lines = str(error).splitlines() or [type(error).__name__]
    return DeviceError(
        f"the device '{device}' stopped answering ({lines[0]}); save your work, then choose the device 'cpu' "
        "or restart the program"
    )


def _attempt(
    fn: Callable[[range, DevicePolicy], T], items: range, policy: DevicePolicy, results: list[T]
) -> str | None:
    """Append the batch's result and give None, or give the first line of the out-of-memory message."""
    try:
        results.append(fn(items, policy))
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return (str(error).splitlines() or ["out of memory"])[0]
        if policy.device.type != "cpu" and is_device_lost(error):
            raise device_lost(policy.device, error) from error
        raise
    return None


def _shrink(policy: DevicePolicy, size: int, label: str, shortage: str) -> tuple[DevicePolicy, int, str]:
    """The policy and batch size to go on with, and a note saying so."""
    if size > 1:
        return (
            policy,
            size // 2,
            f"{label}: '{policy.device}' ran out of memory at batches of {size}; using {size // 2}",
        )
    if policy.device.type != "cpu":
        cpu = policy.on_cpu()
        return cpu, cpu.batch_size, f"{label}: one item does not fit on '{policy.device}'; the rest runs on the CPU"
    raise OutOfMemoryError(
        f"{label}: memory ran out even one item at a time ({shortage}); close other programs, "
        "crop the scan or use a smaller encoder"
    )
