"""The curvature of a loss at trained weights: eigenvalues of its Hessian, without ever forming it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

MatVec: TypeAlias = Callable[[Tensor], Tensor]
"""(n,) vector to the product of a symmetric (n, n) matrix with it."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Ritz values of one or several Lanczos runs.

    values: (P, m) eigenvalue estimates in ascending order, a row per run. weights: (P, m), each row sums to 1: the
    share of the spectrum a value stands for (stochastic Lanczos quadrature).
    """

    values: Tensor
    weights: Tensor

    def negative_share(self, *, tolerance: float = 1e-6) -> float:
        """Share of Ritz values below -tolerance times the largest magnitude; what is nearer to 0 is rounding.

        Of the values, not of the Hessian's eigenvalues: Lanczos finds the ends of a spectrum first. `negative_mass`
        estimates the latter.
        """
        return float(self._negative(tolerance).double().mean())

    def negative_mass(self, *, tolerance: float = 1e-6) -> float:
        """Estimated share of the matrix' eigenvalues that are negative.

        Networks have most eigenvalues at 0. After few steps one Ritz value stands for all of these, and its sign
        decides: give a tolerance above its magnitude, or look at `density`.
        """
        return float((self.weights * self._negative(tolerance)).sum(1).mean())

    def density(self, grid: Tensor, *, sigma: float) -> Tensor:
        """Smoothed density of eigenvalues at (G,) places: a Gaussian of deviation `sigma` for each Ritz value."""
        bumps = torch.exp(-((grid[:, None, None] - self.values) ** 2) / (2 * sigma**2))
        total = (bumps * self.weights).sum(-1).mean(-1)
        density: Tensor = total / (sigma * (2 * torch.pi) ** 0.5)
        return density

    def _negative(self, tolerance: float) -> Tensor:
        return self.values < -tolerance * self.values.abs().max()


def hessian_product(loss: Callable[[], Tensor], parameters: Sequence[Tensor]) -> MatVec:
    """The Hessian of `loss` by `parameters` times a vector, by differentiating the gradient twice.

    loss: computes the scalar anew, of a fixed batch, without randomness. parameters: leaf tensors that want a gradient;
        vectors are theirs, flattened and joined. A parameter the loss does not reach has zeros.

    One product costs about three gradients. The graph of the gradient is kept between products.
    """
    value = loss()
    gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True, materialize_grads=True)
    flat = torch.cat([g.reshape(-1) for g in gradients])

    def product(vector: Tensor) -> Tensor:
        if not flat.requires_grad:  # a loss linear in its parameters has no curvature
            return torch.zeros_like(vector)
        seconds = torch.autograd.grad(
            flat, parameters, grad_outputs=vector, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return torch.cat([s.reshape(-1) for s in seconds]).detach()

    return product


def lanczos(product: MatVec, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """(m,) diagonal and (m - 1,) off-diagonal of the tridiagonal matrix after m <= steps Lanczos steps.

    start: (n,) first vector, not zero. Every new vector is made orthogonal to all before it, twice: without that the
    largest eigenvalues come back as copies ("ghosts"). Keeps m vectors of length n. It ends early, with exact
    eigenvalues, when the vectors found span an invariant space.
    """
    basis = [start / start.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for step in range(min(steps, len(start))):
        following = product(basis[-1])
        diagonal.append(following @ basis[-1])
        scale = torch.stack(diagonal).abs().max()
        for _ in range(2):
            for vector in basis:
                following = following - (following @ vector) * vector
        length = following.norm()
        exhausted = length <= 100 * torch.finfo(start.dtype).eps * (scale + sum(beside, scale.new_zeros(())))
        if exhausted or step + 1 == min(steps, len(start)):
            break
        beside.append(length)
        basis.append(following / length)
    empty = start.new_zeros(0)
    return torch.stack(diagonal), torch.stack(beside) if beside else empty


def spectrum(
    product: MatVec,
    size: int,
    *,
    steps: int = 100,
    probes: int = 1,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Spectrum:
    """Stochastic Lanczos quadrature: Ritz values and their weights from `probes` random directions.

    size: n, length of the vectors. steps: Ritz values per run; thesis 5 takes 100 for a ResNet-18 (B5-22), which keeps
        100 copies of its weights in memory. probes: random +-1 directions that are averaged.
    generator: of the directions, on the CPU.

    Runs that end early (small or low-rank matrices) are filled up with values of weight 0 at their last Ritz value.
    Source: Ghorbani, Krishnan and Xiao (2019); Golub and Meurant for the quadrature.
    """
    runs = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (size,), generator=generator).to(dtype) * 2 - 1
        diagonal, beside = lanczos(product, signs.to(device), steps)
        t = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
        values, vectors = torch.linalg.eigh(t.double().cpu())
        runs.append((values, vectors[0] ** 2))
    longest = max(len(values) for values, _ in runs)
    values = torch.stack([torch.cat([v, v[-1:].expand(longest - len(v))]) for v, _ in runs])
    weights = torch.stack([torch.cat([w, w.new_zeros(longest - len(w))]) for _, w in runs])
    return Spectrum(values, weights)


def loss_spectrum(
    network: nn.Module,
    loss: Callable[[], Tensor],
    *,
    steps: int = 100,
    probes: int = 1,
    generator: torch.Generator | None = None,
) -> Spectrum:
    """`spectrum` of the Hessian of `loss` by all parameters of `network`, which is in eval mode meanwhile (B5-22).

    loss: calls the network on a fixed batch. Afterwards the network's modes and gradient flags are as before.
    """
    parameters = list(network.parameters())
    with _frozen_statistics(network, parameters):
        product = hessian_product(loss, parameters)
        size = sum(p.numel() for p in parameters)
        first = parameters[0]
        return spectrum(
            product, size, steps=steps, probes=probes, generator=generator, dtype=first.dtype, device=first.device
        )


@contextlib.contextmanager
def _frozen_statistics(network: nn.Module, parameters: Sequence[Tensor]) -> Iterator[None]:
    modes = [(m, m.training) for m in network.modules()]
    wanted = [p.requires_grad for p in parameters]
    network.eval()
    try:
        for p in parameters:
            p.requires_grad_(True)
        yield
    finally:
        for p, flag in zip(parameters, wanted, strict=True):
            p.requires_grad_(flag)
        for module, training in modes:
            module.training = training
