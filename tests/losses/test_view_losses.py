"""What every loss of two views must hold: precision, gradients, invariances, and that collapse is dear."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.arb import arb
from napari_medssl.losses.barlow import barlow_twins
from napari_medssl.losses.cosine import cosine_regression
from napari_medssl.losses.logdet import logdet
from napari_medssl.losses.swav import swapped_prediction
from napari_medssl.losses.vicreg import vicreg
from napari_medssl.losses.w_mse import w_mse
from napari_medssl.losses.zero_cl import zero_cl, zero_fcl, zero_icl

Loss = Callable[[Tensor, Tensor], Tensor]

JOINT: dict[str, Loss] = {
    "barlow": barlow_twins,
    "vicreg": vicreg,
    "w-mse": w_mse,
    "zero-icl": zero_icl,
    "zero-fcl": zero_fcl,
    "zero-cl": zero_cl,
    "arb": arb,
    "arb-groups": partial(arb, group=2),
    "logdet": logdet,
}
ALL = JOINT | {"cosine": cosine_regression, "swav": swapped_prediction}
# The matrices of ZeroCL and the bases of ARB carry no gradient; test_whitening_losses.py checks theirs.
SMOOTH = {k: v for k, v in JOINT.items() if k in ("barlow", "vicreg", "w-mse", "logdet")}


def _views(seed: int = 0, *, rows: int = 12, width: int = 4, apart: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return z, z + apart * torch.randn(rows, width, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", ALL)
def test_float32_is_close_to_float64(name: str) -> None:
    z1, z2 = _views()
    assert float(ALL[name](z1.float(), z2.float())) == pytest.approx(float(ALL[name](z1, z2)), rel=1e-4)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_it(name: str, kind: torch.dtype) -> None:
    z1, z2 = (z.to(kind) for z in _views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ALL[name](z1, z2)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(ALL[name](z1.float(), z2.float())), rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_order_of_the_batch_does_not_matter(name: str) -> None:
    z1, z2 = _views()
    order = torch.randperm(len(z1), generator=torch.Generator().manual_seed(1))
    assert float(ALL[name](z1[order], z2[order])) == pytest.approx(float(ALL[name](z1, z2)), rel=1e-9)


@pytest.mark.parametrize("name", [n for n in ALL if n != "cosine"])
def test_the_views_may_change_places(name: str) -> None:
    z1, z2 = _views()
    assert float(ALL[name](z2, z1)) == pytest.approx(float(ALL[name](z1, z2)), rel=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_against_finite_differences(name: str) -> None:
    z1, z2 = (z.requires_grad_() for z in _views(rows=8, width=3))
    assert torch.autograd.gradcheck(SMOOTH[name], (z1, z2))


@pytest.mark.parametrize("name", ["cosine", "logdet"])
def test_rotation_of_the_embedding_does_not_matter(name: str) -> None:
    z1, z2 = _views()
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    assert float(ALL[name](z1 @ turn, z2 @ turn)) == pytest.approx(float(ALL[name](z1, z2)), rel=1e-9)


def _spread(name: str) -> tuple[Tensor, Tensor]:
    """Embeddings that use every direction, and noise of a twentieth; instance-wise losses want them long."""
    rows, width = (6, 24) if name == "zero-icl" else (48, 6)
    return _views(5, rows=rows, width=width)[0], 0.05 * _views(6, rows=rows, width=width)[0]


@pytest.mark.parametrize("name", JOINT)
def test_strangers_cost_more_than_partners(name: str) -> None:
    z, noise = _spread(name)
    assert float(JOINT[name](z, z + noise)) < float(JOINT[name](z, z.roll(1, 0))) - 0.1


@pytest.mark.parametrize("name", JOINT)
def test_collapse_costs_more_than_spreading(name: str) -> None:
    z, noise = _spread(name)
    good = float(JOINT[name](z, z + noise))
    point, line = 0.01 * z, z[:, :1].expand_as(z)
    assert float(JOINT[name](point, point + noise)) > good + 0.1
    assert float(JOINT[name](line, line + noise)) > good + 0.05  # least with bases of two features


@pytest.mark.parametrize("name", ALL)
def test_inputs_stay_as_they_were(name: str) -> None:
    z1, z2 = _views()
    before = copy.deepcopy((z1, z2))
    ALL[name](z1, z2)
    assert torch.equal(z1, before[0])
    assert torch.equal(z2, before[1])


@pytest.mark.parametrize("name", JOINT)
def test_descending_spreads_a_nearly_collapsed_embedding(name: str) -> None:
    """A free embedding that starts near a point, with noisy views, ends with every direction in use."""
    rows, width = (12, 24) if name == "zero-icl" else (24, 6)
    generator = torch.Generator().manual_seed(9)
    z = (1 + 0.02 * torch.randn(rows, width, generator=generator)).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.03)
    for _ in range(150):
        noise = 0.02 * torch.randn(2, rows, width, generator=generator)
        optimiser.zero_grad()
        JOINT[name](z + noise[0], z + noise[1]).backward()
        optimiser.step()
    axis = 1 if name == "zero-icl" else 0
    centred = (z - z.mean(axis, keepdim=True)).detach()
    strengths = torch.linalg.svdvals(centred)[: min(rows, width) - 1]
    noise_floor = 0.02 * (max(rows, width) ** 0.5)
    assert float(strengths.min()) > 2 * noise_floor
