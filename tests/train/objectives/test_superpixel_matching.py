"""CoWPro's objective is the mean of its episodes' losses; those are tested with `oneshot.episodes`."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.models.encoder import build_encoder
from napari_medssl.oneshot.episodes import Episode, EpisodeSettings, episode_loss
from napari_medssl.train.objectives.superpixel_matching import SuperpixelMatching

SETTINGS = EpisodeSettings()


def batch() -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(0)
    support = torch.rand(3, 1, 64, 64, generator=noise)
    mask = torch.zeros(3, 64, 64)
    mask[:, 16:48, 8:40] = 1
    support[:, 0] += mask
    turned = [support.roll(4, 3) / 2, mask.roll(4, 2)]
    return {"support": support / 2, "support_mask": mask, "query": turned[0], "query_mask": turned[1]}


def objective(name: str = "slice-resnet", *, freeze_norm: bool = False) -> SuperpixelMatching:
    torch.manual_seed(0)
    encoder = build_encoder(name, width=8, channels=16, in_slices=1, input_size=64)
    return SuperpixelMatching(encoder, SETTINGS, freeze_norm=freeze_norm).train()


def test_the_loss_is_the_mean_over_episodes() -> None:
    net, examples = objective(), batch()
    found = net(examples)
    features = net.encoder(torch.cat((examples["support"], examples["query"])))
    names = ("support", "support_mask", "query", "query_mask")
    each = [
        episode_loss(features[i], features[3 + i], Episode(*(examples[n][i] for n in names)), SETTINGS, stride=4)
        for i in range(3)
    ]
    torch.testing.assert_close(found["loss"], torch.stack([x.total for x in each]).mean())
    torch.testing.assert_close(found["loss"].detach(), found["ssl"] + found["cyclic"])
    assert float(found["dice"]) == pytest.approx(sum(x.dice for x in each) / 3)
    assert [k for k, v in found.items() if v.requires_grad] == ["loss"]


def test_half_precision_networks_are_judged_in_float32() -> None:
    net, examples = objective(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = net(examples)["loss"]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, net(examples)["loss"], rtol=0.1, atol=0.05)


@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_of_normalisation_can_be_frozen(frozen: bool) -> None:
    net = objective("resnet18-s8", freeze_norm=frozen)
    net(batch())
    moved = bool(net.encoder.bn1.running_mean.abs().sum() > 0)
    assert moved != frozen
    assert net.encoder.training
    assert net.encoder.bn1.training != frozen
    assert not net.eval().encoder.bn1.training
