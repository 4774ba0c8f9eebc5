"""The only place that chooses the device, the precision and the memory layout of computing."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from napari_medssl.errors import DeviceError

M = TypeVar("M", bound=torch.nn.Module)

_log = logging.getLogger(__name__)

_CPU_BATCH = 8  # slices of 192 x 192: throughput is flat from 4 to 16 there, and a batch stays under half a second
_GPU_BATCH = 32
_TENSOR_CORES = (7, 0)  # CUDA compute capability from which half precision is faster than float32


@dataclass(frozen=True)
class DevicePolicy:
    """How tensors are computed on one device.

    device: where. autocast: half precision for convolutions and matrix products, or None for float32 throughout.
    channels_last: weights and images in channels-last order. pinned: host memory is page-locked for the transfer.
    batch_size: slices per batch to begin with.

    Never autocast on the CPU: bfloat16 without hardware for it was measured up to 200 times slower. Losses stay
    float32 everywhere: they are computed outside `running`.
    """

    device: torch.device
    autocast: torch.dtype | None = None
    channels_last: bool = False
    pinned: bool = False
    batch_size: int = _CPU_BATCH

    @property
    def precision(self) -> str:
        """Name of the computing precision, for cache keys and reports."""
        return str(self.autocast or torch.float32).removeprefix("torch.")

    def place(self, module: M) -> M:
        """`module` itself, moved to the device in the layout of this policy."""
        module = module.to(self.device)
        if self.channels_last:  # leaves weights that are not 4D alone
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing in PyTorch's stubs
        return module

    def send(self, images: Tensor) -> Tensor:
        """(B, C, H, W) images on the device, in the layout of this policy; the transfer may still be running."""
        if self.pinned and images.device.type == "cpu":
            images = images.pin_memory()
        images = images.to(self.device, non_blocking=self.pinned)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Inference without gradients, in this precision, repeatable; every global switch is put back afterwards.

        Wrap one batch in it, never a `yield`: the switches belong to the thread that asks for the next report.
        """
        fixed = _repeatable_convolutions() if self.device.type == "cuda" else contextlib.nullcontext()
        half = (
            contextlib.nullcontext()
            if self.autocast is None
            else torch.autocast(self.device.type, dtype=self.autocast, cache_enabled=False)
        )
        with torch.inference_mode(), fixed, half:
            yield

    def on_cpu(self) -> DevicePolicy:
        """The policy to go on with when this device has no memory left."""
        return policy_for(torch.device("cpu"))

    def release_memory(self) -> None:
        """Give memory that PyTorch keeps for reuse back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps" and torch.backends.mps.is_available():
            torch.mps.empty_cache()


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`: "auto", "cpu", "cuda", "cuda:N" or "mps".

    "auto" takes the first of CUDA, MPS and CPU that computes.

    Raises DeviceError when the device asked for is not in this machine, or PyTorch cannot compute on it.
    """
    if name == "auto":
        return _first_working()
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps") or name.startswith(("cpu:", "mps:")):
        raise DeviceError(f"no device is called {name!r}; choose auto, cpu, cuda, cuda:0, cuda:1, ... or mps")
    _check_there(device)
    _check_computes(device)
    return device


def policy_for(device: torch.device) -> DevicePolicy:
    """The settings that are fastest on `device` without changing results by more than half precision does.

    CPU: channels-last float32 (17 instead of 24 ms per 192 x 192 slice with the default encoder on one core).
    CUDA with tensor cores: float16 autocast, channels-last, pinned transfer. MPS: plain float32.
    """
    if device.type == "cuda":
        tensor_cores = torch.cuda.get_device_capability(device) >= _TENSOR_CORES
        half = torch.float16 if tensor_cores else None
        return DevicePolicy(device, half, channels_last=tensor_cores, pinned=True, batch_size=_GPU_BATCH)
    if device.type == "mps":
        return DevicePolicy(device, batch_size=_GPU_BATCH)
    return DevicePolicy(device, channels_last=True)


def describe_device(device: torch.device) -> str:
    """The device for people and reports, with the name of the card: "cuda:0 (NVIDIA A100)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


@contextlib.contextmanager
def _repeatable_convolutions() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


def _first_working() -> torch.device:
    for name, there in (("cuda", torch.cuda.is_available), ("mps", torch.backends.mps.is_available)):
        if not there():
            continue
        device = torch.device(name)
        try:
            _check_computes(device)
        except DeviceError as error:
            _log.warning("%s; trying the next device", error)
            continue
        return device
    return torch.device("cpu")


def _check_there(device: torch.device) -> None:
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            built = "this PyTorch sees no CUDA GPU" if torch.version.cuda else "this PyTorch is built without CUDA"
            raise DeviceError(f"the device '{device}' was asked for, but {built}; choose 'auto' or 'cpu'")
        if (device.index or 0) >= count:
            raise DeviceError(
                f"the device '{device}' was asked for, but this machine has {count} CUDA GPU(s), "
                f"cuda:0 to cuda:{count - 1}; choose one of them, 'auto' or 'cpu'"
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(
            "the device 'mps' was asked for, but this machine has no Apple GPU PyTorch can use; choose 'auto' or 'cpu'"
        )


def _check_computes(device: torch.device) -> None:
    # A GPU older than the PyTorch build, or one taken by another process, is listed but cannot compute.
    if device.type == "cpu":
        return
    try:
        torch.ones(2, device=device).add(1).cpu()
    except RuntimeError as error:
        first_line = str(error).splitlines()[0]
        raise DeviceError(f"PyTorch lists '{device}' but cannot compute on it ({first_line}); choose 'cpu'") from error
