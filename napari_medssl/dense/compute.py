"""How extraction computes: on which device, in which precision, and in which batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import torch

from napari_medssl.errors import SettingsError
from napari_medssl.progress import Progress, Steps


class Compute(Protocol):
    """Where and how tensors are computed; `engine.device.DevicePolicy` is one."""

    @property
    def device(self) -> torch.device: ...

    @property
    def precision(self) -> str: ...

    def running(self) -> AbstractContextManager[None]:
        """Inference of one batch without gradients, in this precision."""
        ...


Work: TypeAlias = Callable[[range, Any, Compute], None]
"""Does some items with an encoder, computing as told. It may be called again for the first of the same items, so it
leaves no half-done work behind when it raises."""

Runner: TypeAlias = Callable[[Work, int, str], Steps[tuple[str, ...]]]
"""Does n items in batches, one report with this label after each, and gives notes of what had to change on the way."""


@dataclass(frozen=True)
class PlainCompute:
    """One device and one precision, without falling back to others."""

    device: torch.device
    precision: str = "float32"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """See `Compute`."""
        half = self.precision != "float32"
        with torch.inference_mode(), torch.autocast(self.device.type, _dtype(self.precision), enabled=half):
            yield


def plain_runner(encoder: Any, compute: Compute, *, batch: int) -> Runner:
    """Batches of a fixed size with one encoder, which is already where `compute` computes."""

    def run(work: Work, count: int, label: str) -> Steps[tuple[str, ...]]:
        yield Progress(0, count, label)
        for start in range(0, count, batch):
            stop = min(start + batch, count)
            work(range(start, stop), encoder, compute)
            yield Progress(stop, count, label)
        return ()

    return run


def _dtype(precision: str) -> torch.dtype:
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if precision not in known:
        raise SettingsError(f"precision is {precision!r}; choose one of {', '.join(known)}")
    # Autocast that is switched off still wants a half-precision type.
    return torch.bfloat16 if precision == "float32" else known[precision]
