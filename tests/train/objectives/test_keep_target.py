"""Keeping the target network: the same training, another encoder."""

from __future__ import annotations

from dataclasses import replace

import torch

from napari_medssl.train.method import find_method


def test_the_target_is_kept_and_trained_as_before() -> None:
    method = find_method("byol3d")
    small = replace(method.small, width=0.0625, norm="group", momentum=0.5)
    kept = {}
    for keep in ("online", "target"):
        torch.manual_seed(0)
        objective = method.build(replace(small, keep=keep)).objective.train()
        batch = {
            name: torch.rand(4, 1, 8, 8, 8, generator=torch.Generator().manual_seed(1)) for name in ("view1", "view2")
        }
        optimiser = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], 0.1)
        objective.begin_step(0.0)
        found = objective(batch)
        found["loss"].backward()
        optimiser.step()
        objective.end_step()
        kept[keep] = float(found["loss"].detach()), objective
    assert kept["online"][0] == kept["target"][0]
    online, target = kept["online"][1], kept["target"][1]
    wanted = online.target_encoder.module.state_dict()
    assert all(torch.equal(v, wanted[n]) for n, v in target.encoder.state_dict().items())
    assert any(not torch.equal(v, wanted[n]) for n, v in online.encoder.state_dict().items())
    assert target.encoder.config == online.encoder.config
    assert len(target.state_dict()) == len(online.state_dict())
