"""Run under torchrun by test_teachers_in_processes: trains each objective for two steps on this rank's half."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from napari_medssl.losses.vicreg import vicreg
from napari_medssl.losses.zero_cl import zero_cl
from napari_medssl.models.heads import mlp
from napari_medssl.train.distributed import init_from_environment, shutdown, world
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.byol import ByolObjective
from napari_medssl.train.objectives.dino import DinoObjective
from napari_medssl.train.objectives.joint import JointObjective
from napari_medssl.train.objectives.momentum_queue import MomentumQueueObjective
from napari_medssl.train.objectives.swav import SwavObjective


def objectives() -> dict[str, Objective]:
    """Without batch normalisation, whose statistics belong to a process on CPUs."""

    def parts(*widths: int) -> list[nn.Module]:
        return [nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), *(mlp([4, w], norm=False) for w in widths)]

    torch.manual_seed(0)
    made = {
        "vicreg": JointObjective(*parts(4), vicreg),
        "zero": JointObjective(*parts(4), zero_cl),
        "byol": ByolObjective(*parts(4, 4), momentum=0.5),
        "moco": MomentumQueueObjective(*parts(4), width=4, queue=12),
        "dino": DinoObjective(*parts(4), width=4, prototypes=5, still=0.4),
        "swav": SwavObjective(*parts(4), width=4, prototypes=5, still=0.4),
    }
    return {name: net.double() for name, net in made.items()}


def train() -> dict[str, dict[str, Tensor]]:
    """State of each objective after three steps, the first of them with prototypes at rest."""
    rank, size = world()
    states = {}
    for name, net in objectives().items():
        wrapped = DistributedDataParallel(net) if size > 1 else net
        optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
        for step in range(3):
            g = torch.Generator().manual_seed(step)
            views = torch.rand(2, 8, 1, 6, 6, dtype=torch.float64, generator=g)
            mine = [view.chunk(size)[rank] for view in views]
            net.begin_step(step / 3)
            optimiser.zero_grad()
            wrapped({"view1": mine[0], "view2": mine[1]})["loss"].backward()
            optimiser.step()
            net.end_step()
        states[name] = {k: v.clone() for k, v in net.state_dict().items()}
    return states


if __name__ == "__main__":
    init_from_environment("cpu")
    torch.save(train(), Path(sys.argv[1]) / f"{world()[0]}.pt")
    shutdown()
