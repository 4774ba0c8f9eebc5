"""Run under torchrun by test_distributed: writes what each rank computed to the folder given."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from napari_medssl.train.distributed import (
    gather,
    gather_plain,
    init_from_environment,
    main_process_first,
    mean_over_ranks,
    shutdown,
    world,
)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)).double()


def views() -> tuple[Tensor, Tensor]:
    x = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x, x + 0.3 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def info_nce(anchors: Tensor, candidates: Tensor, first: int) -> Tensor:
    """Anchor i belongs to candidate first + i."""
    scores = F.normalize(anchors, dim=1) @ F.normalize(candidates, dim=1).T / 0.2
    return F.cross_entropy(scores, first + torch.arange(len(anchors)))


def train(whole: bool) -> dict[str, Tensor]:
    """Gradients and weights after two steps of SGD; whole: every rank computes the loss of the joined batch."""
    rank, size = world()
    net = model()
    wrapped = DistributedDataParallel(net) if size > 1 else net
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    a, b = (v.chunk(size)[rank] for v in views())
    for _ in range(2):
        optimiser.zero_grad()
        z = wrapped(torch.cat((a, b)))
        one, two = z.chunk(2)
        everyone = gather(two)
        loss = info_nce(gather(one), everyone, 0) if whole else info_nce(one, everyone, rank * len(one))
        loss.backward()
        optimiser.step()
    gradients = {f"grad.{k}": p.grad for k, p in net.named_parameters()}
    return {k: v.clone() for k, v in {**gradients, **net.state_dict()}.items()}


def main(folder: Path) -> None:
    device = init_from_environment("cpu")
    rank, size = world()
    mine = torch.full((2, 3), rank, dtype=torch.uint8).T  # not contiguous
    order = folder / "order"
    with main_process_first(), order.open("a") as f:
        f.write(f"{rank}\n")
    result = {
        "device": str(device),
        "size": size,
        "whole": train(whole=True),
        "anchors": train(whole=False),
        "plain": gather_plain(mine),
        "mean": mean_over_ranks(torch.tensor([1.0, 3.0 * rank])),
        "count": mean_over_ranks(torch.tensor(rank)),
    }
    torch.save(result, folder / f"{rank}.pt")
    shutdown()
    assert world() == (0, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
