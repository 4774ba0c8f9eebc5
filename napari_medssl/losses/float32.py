"""Losses are computed in float32, whatever the networks are computed in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

R = TypeVar("R")


def in_float32(loss: Callable[..., R]) -> Callable[..., R]:
    """Decorator: tensors in half precision become float32, and autocast is off while `loss` runs.

    Exponentials of similarities over a temperature leave the range of float16, and their sums the precision of bfloat16
    (B5-20); float32 and float64 tensors are left as they are.
    """

    @functools.wraps(loss)
    def computed(*args: Any, **kwargs: Any) -> R:
        kinds = {a.device.type for a in (*args, *kwargs.values()) if isinstance(a, Tensor)} or {"cpu"}
        with torch.autocast(kinds.pop(), enabled=False):
            return loss(*map(_upcast, args), **{k: _upcast(v) for k, v in kwargs.items()})

    return computed


def in_full(z: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _upcast(value: Any) -> Any:
    return in_full(value) if isinstance(value, Tensor) else value
