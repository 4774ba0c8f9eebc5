"""A network looked at without being changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def looking(model: nn.Module) -> Iterator[None]:
    """The network in eval mode with its parameters left out of the gradients; both are put back as they were.

    Without the parameters, autograd keeps no activations of the layers before the one that is asked, which is most of
    the memory.
    """
    modes = {module: module.training for module in model.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval()
    model.requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, want in wanted.items():
            parameter.requires_grad_(want)
