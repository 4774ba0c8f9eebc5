"""The number format a run computes its networks in, on the device it was given."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from napari_medssl.errors import SettingsError


class Precision:
    """Autocast and, for fp16, loss scaling; on a CPU always plain float32.

    Never autocast on a CPU: bfloat16 without hardware for it was measured up to 200 times slower.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        """Raises SettingsError when the device does not compute in this format."""
        self.device = device
        self.dtype = _dtype(name, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)

    def running(self) -> AbstractContextManager[None]:
        """Around the forward pass; losses leave it by themselves (`losses.float32`)."""
        return nullcontext() if self.dtype is None else torch.autocast(self.device.type, dtype=self.dtype)


def _dtype(name: str, device: torch.device) -> torch.dtype | None:
    if name == "float32" or (name == "auto" and device.type != "cuda"):
        return None
    if device.type == "cpu":
        raise SettingsError(f"run.precision {name} is for GPUs; on a CPU it is far slower than float32, choose auto")
    has_bf16 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if name == "bf16" and device.type == "cuda" and not has_bf16:
        raise SettingsError("this GPU does not compute in bf16; choose run.precision fp16, auto or float32")
    if name == "auto":
        return torch.bfloat16 if has_bf16 else None
    return torch.bfloat16 if name == "bf16" else torch.float16
