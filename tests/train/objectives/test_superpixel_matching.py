"""CoWPro's objective: the mean of its episodes' losses, and each of these against a second derivation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from napari_medssl.models.encoder import build_encoder
from napari_medssl.oneshot.cowpro import score_logits, upsample
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.oneshot.prototypes import extract_prototypes
from napari_medssl.train.episodes.episode_source import Episode, EpisodeSettings
from napari_medssl.train.objectives.superpixel_matching import SuperpixelMatching, episode_loss

SETTINGS = EpisodeSettings()
COARSE = EpisodeSettings(prototypes=PrototypeSettings(window=2))


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


def case(seed: int = 0, *, d: int = 12) -> tuple[torch.Tensor, torch.Tensor, Episode]:
    """Features that separate a block, with noise, and an episode of 64 pixels whose query is the block shifted."""
    g = torch.Generator().manual_seed(seed)
    masks = torch.zeros(2, 64, 64)
    masks[0, 8:40, 8:40] = 1
    masks[1, 16:48, 8:40] = 1
    inside, outside = torch.randn(2, d, 1, 1, generator=g)
    share = F.avg_pool2d(masks[:, None], 8)
    features = share * inside + (1 - share) * outside + 0.3 * torch.randn(2, d, 8, 8, generator=g)
    image = torch.zeros(1, 64, 64)
    return features[0], features[1], Episode(image, masks[0], image, masks[1])


def cross_entropy(logits: torch.Tensor, target: torch.Tensor, w: tuple[float, float]) -> float:
    p = torch.softmax(logits[0].double(), 0)
    weight = torch.where(target > 0, w[1], w[0]).double()
    picked = torch.where(target > 0, p[1], p[0])
    return float(-(weight * picked.log()).sum() / weight.sum())


def test_both_losses_follow_the_equations() -> None:
    support, query, e = case()
    settings = replace(COARSE, prototypes=PrototypeSettings(window=2, threshold="dynamic"))
    loss = episode_loss(support, query, e, settings)

    def forward(a: torch.Tensor, mask: torch.Tensor, b: torch.Tensor, mode: str) -> torch.Tensor:
        found = extract_prototypes(a[None], mask[None], settings.prototypes, mode=mode)  # type: ignore[arg-type]
        return upsample(score_logits(b[None], found, settings.prototypes), (64, 64))

    first = forward(support, e.support_mask, query, "dynamic")
    assert float(loss.ssl) == pytest.approx(cross_entropy(first, e.query_mask, (0.05, 1.0)), rel=1e-4)
    predicted = (first[0, 1] > first[0, 0]).float()
    back = forward(query, predicted, support, "fixed")  # 0.95 whatever the main mode is
    assert float(loss.cyclic) == pytest.approx(cross_entropy(back, e.support_mask, (1.0, 1.0)), rel=1e-4)
    assert float(loss.total) == pytest.approx(float(loss.ssl + loss.cyclic))
    overlap = 2 * float((predicted * e.query_mask).sum()) / float(predicted.sum() + e.query_mask.sum())
    assert loss.dice == pytest.approx(overlap)
    weighted = episode_loss(support, query, e, replace(settings, cyclic="weighted"))
    assert float(weighted.cyclic) == pytest.approx(cross_entropy(back, e.support_mask, (0.05, 1.0)), rel=1e-4)
    assert float(episode_loss(support, query, e, replace(settings, cyclic="off")).cyclic) == 0


def test_the_cyclic_gradient_is_finite_and_reaches_both_slices() -> None:
    support, query, e = case()
    support.requires_grad_(), query.requires_grad_()
    loss = episode_loss(support, query, e, COARSE)
    assert float(loss.cyclic.detach()) > 0
    loss.cyclic.backward()
    for features in (support, query):
        assert features.grad is not None
        assert torch.isfinite(features.grad).all()
        assert features.grad.abs().sum() > 0


@pytest.mark.parametrize("value", [0, 1])
def test_an_empty_or_full_prediction_skips_the_cyclic_term(value: int) -> None:
    support, _, e = case()
    found = extract_prototypes(support[None], e.support_mask[None], COARSE.prototypes)
    vector = (found.foreground if value else found.background).mean(0)
    query = vector[:, None, None].expand(-1, 8, 8)
    loss = episode_loss(support, query, e, COARSE)
    assert float(loss.cyclic) == 0
    assert float(loss.total) == float(loss.ssl)


@pytest.mark.parametrize("method", ["alpnet", "panet"])
def test_baselines_train_on_the_same_episodes(method: str) -> None:
    support, query, e = case()
    settings = replace(COARSE, prototypes=PrototypeSettings(window=2, method=method))  # type: ignore[arg-type]
    support.requires_grad_()
    episode_loss(support, query, e, settings).total.backward()
    assert support.grad is not None
    assert torch.isfinite(support.grad).all()
    assert support.grad.abs().sum() > 0
