"""The network that carries a mask: what it is shown, and where crops lie."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.models.propagator import (
    CHANNELS,
    GUIDE_CHANNELS,
    assemble,
    build_propagator,
    crop_grid,
    intensity_posterior,
    paste_grid,
    propagators,
    texture_posterior,
)

S = 32


def crops(seed: int = 0) -> dict[str, Tensor]:
    """Arguments of `assemble` for two crops: a bright disc on darker noise, off centre."""
    g = torch.Generator().manual_seed(seed)
    ys, xs = torch.arange(S)[:, None], torch.arange(S)[None]
    disc = (((ys - 14) ** 2 + (xs - 18) ** 2) < 64).float().expand(2, S, S)
    images = {k: 0.3 + 0.3 * disc + 0.05 * torch.randn(2, S, S, generator=g) for k in ("target", "previous", "beyond")}
    return {
        **images,
        "support": 0.3 + 0.3 * disc + 0.05 * torch.randn(2, S, S, generator=g),
        "previous_mask": disc * 0.9,
        "support_mask": disc.clone(),
        "gap_mm": torch.tensor([2.5, 50.0]),
        "distance_mm": torch.tensor([20.0, 900.0]),
    }


def test_input_channels_in_order() -> None:
    given = crops()
    stack = assemble(**given)
    assert stack.shape == (2, CHANNELS, S, S)
    mean = given["support"].mean((1, 2), keepdim=True)
    deviation = given["support"].std((1, 2), keepdim=True)
    for channel, name in ((0, "target"), (1, "previous"), (2, "beyond"), (4, "support")):
        torch.testing.assert_close(stack[:, channel], ((given[name] - mean) / deviation).clamp(-4, 4))
    torch.testing.assert_close(stack[:, 3], 2 * given["previous_mask"] - 1)
    torch.testing.assert_close(stack[:, 5], 2 * given["support_mask"] - 1)
    posterior = intensity_posterior(stack[:, 0], stack[:, 4], given["support_mask"])
    torch.testing.assert_close(stack[:, 6], 2 * posterior - 1)
    # Distances in cm and dm, held below 2 and 3.
    torch.testing.assert_close(stack[:, 7].mean((1, 2)), torch.tensor([0.25, 2.0]))
    torch.testing.assert_close(stack[:, 8].mean((1, 2)), torch.tensor([0.2, 3.0]))


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.1), (0.3, 0.0), (1.3, -0.2)])
def test_gain_and_offset_of_the_scanner_do_not_matter(gain: float, offset: float) -> None:
    given = crops()
    changed = dict(given)
    for name in ("target", "previous", "beyond", "support"):
        changed[name] = given[name] * gain + offset
    before, after = assemble(**given), assemble(**changed)
    images = [0, 1, 2, 4]
    torch.testing.assert_close(after[:, images], before[:, images], atol=1e-4, rtol=0)
    # Rounding may move single pixels into the neighbouring bin of the histogram.
    assert (after[:, 6] - before[:, 6]).abs().gt(0.05).float().mean() < 0.01


def test_a_flat_support_does_not_blow_up_its_noise() -> None:
    given = crops()
    for name in ("target", "previous", "beyond", "support"):
        given[name] = torch.full((2, S, S), 0.5)
    given["target"] = given["target"] + 0.02
    stack = assemble(**given)
    assert stack.isfinite().all()
    torch.testing.assert_close(stack[:, 0], torch.ones(2, S, S))  # divided by 0.02, not by nothing


def test_posterior_by_hand() -> None:
    # Four pixels of the support are organ at intensity +2, twelve are not at -2. Standardised values lie in
    # [-4, 4] on 48 bins; +-2 are bins 35 and 12, too far apart for the five-bin smoothing to mix.
    support = torch.full((1, 4, 4), -2.0)
    support[0, 1:3, 1:3] = 2.0
    mask = (support > 0).float()
    image = torch.tensor([[[2.0, -2.0, 0.0, 4.0]]])
    found = intensity_posterior(image, support, mask)[0, 0]
    floor = 1e-4  # added to each bin of the smoothed counts, before they are made to sum to one
    inside = [(n * 4 + floor) / (4 + 48 * floor) for n in (0.4, 0, 0, 0)]
    outside = [(n * 12 + floor) / (12 + 48 * floor) for n in (0, 0.4, 0, 0)]
    expected = [a / (a + b + 1e-6) for a, b in zip(inside, outside, strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=1e-4)
    assert found[0] > 0.99
    assert found[1] < 0.01


def test_posterior_has_equal_priors_and_neighbouring_bins_help() -> None:
    # One organ pixel among 63 others at the same intensity: the share inside equals the share outside.
    support, mask = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    mask[0, 3, 3] = 1
    image = torch.tensor([[[0.0, 8 / 47]]])  # the bin itself and the next one
    torch.testing.assert_close(intensity_posterior(image, support, mask), torch.full((1, 1, 2), 0.5), atol=0.01, rtol=0)


def test_posterior_of_an_empty_mask_is_finite() -> None:
    support = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = intensity_posterior(support, support, torch.zeros(1, 8, 8))
    assert found.isfinite().all()
    assert 0 <= found.min() <= found.max() <= 1


def ramp(height: int, width: int) -> Tensor:
    """(1, 2, Y, X): each pixel holds its own y and x."""
    ys, xs = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    return torch.stack([ys[:, None].expand(height, width), xs[None].expand(height, width)])[None]


def test_a_crop_samples_where_its_box_says() -> None:
    boxes = torch.tensor([[30.0, 50.0, 16.0]])
    found = F.grid_sample(ramp(60, 90), crop_grid(boxes, 16, (60, 90)), align_corners=False)[0]
    # Side 16 on 16 pixels: spaced by 1, centred on the box, so from 30 - 7.5 to 30 + 7.5.
    torch.testing.assert_close(found[0, :, 0], 30 + torch.arange(16) - 7.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1, 0], 50 + torch.arange(16) - 7.5, atol=1e-3, rtol=0)


def test_crops_of_different_boxes_have_their_own_scale() -> None:
    boxes = torch.tensor([[20.0, 20.0, 8.0], [25.0, 40.0, 32.0]])
    grid = crop_grid(boxes, 16, (60, 90))
    found = F.grid_sample(ramp(60, 90).expand(2, -1, -1, -1), grid, align_corners=False)
    torch.testing.assert_close(found[0, 1, 0].diff(), torch.full((15,), 0.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1, 0, :, 0].diff(), torch.full((15,), 2.0), atol=1e-3, rtol=0)


@pytest.mark.parametrize("box", [(30.0, 40.0, 24.0), (31.3, 38.6, 27.5), (12.0, 70.0, 40.0)])
def test_paste_undoes_crop_inside_the_box_and_leaves_the_rest_empty(box: tuple[float, float, float]) -> None:
    shape = (60, 90)
    ys, xs = torch.arange(60)[:, None], torch.arange(90)[None]
    image = torch.exp(-((ys - box[0]) ** 2 + (xs - box[1]) ** 2) / 50)[None, None]
    boxes = torch.tensor([box])
    crop = F.grid_sample(image, crop_grid(boxes, 64, shape), align_corners=False)
    back = F.grid_sample(crop, paste_grid(boxes, shape), align_corners=False)
    inside = ((ys - box[0]).abs() < box[2] / 2 - 1) & ((xs - box[1]).abs() < box[2] / 2 - 1)
    outside = ((ys - box[0]).abs() > box[2] / 2 + 1) | ((xs - box[1]).abs() > box[2] / 2 + 1)
    assert (back - image)[0, 0][inside].abs().max() < 0.02
    assert back[0, 0][outside].abs().max() == 0


@pytest.fixture(params=list(propagators))
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    small = {"crop-unet": {"features": (8, 8, 8, 8, 8, 8), "crop_size": 48}}
    return build_propagator(request.param, **small.get(request.param, {}))


def test_a_propagator_gives_one_logit_per_pixel(network: torch.nn.Module) -> None:
    with torch.inference_mode():
        logits = network(torch.randn(2, CHANNELS, 48, 48))
    assert logits.shape == (2, 48, 48)
    assert logits.isfinite().all()
    assert not network.training


def test_constant_channels_reach_the_output(network: torch.nn.Module) -> None:
    # Normalising each channel on its own would erase the distances.
    inputs = torch.randn(1, CHANNELS, 48, 48, generator=torch.Generator().manual_seed(1))
    further = inputs.clone()
    further[:, 8] += 2
    with torch.inference_mode():
        assert (network(inputs) - network(further)).abs().max() > 1e-4


def test_the_config_builds_the_same_network_through_json(network: torch.nn.Module) -> None:
    again = build_propagator("crop-unet", **json.loads(json.dumps(network.config)))
    again.load_state_dict(network.state_dict())
    assert again.crop_size == network.crop_size == 48


def test_shipped_shapes() -> None:
    # Weights on disk are tied to these.
    state = build_propagator("crop-unet").state_dict()
    assert state["net.conv_0.conv_0.conv.weight"].shape == (24, CHANNELS, 3, 3)
    assert state["net.final_conv.weight"].shape == (1, 24, 1, 1)


def test_an_unknown_propagator_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no propagator is called 'rnn'; choose one of: crop-unet"):
        build_propagator("rnn")


def test_a_guide_adds_three_channels_and_a_blank_one_says_nothing() -> None:
    given = crops()
    guide = (torch.full((2, S, S), 0.5), given["support_mask"])
    stack = assemble(**given, guide=guide)
    assert stack.shape == (2, CHANNELS + GUIDE_CHANNELS, S, S)
    torch.testing.assert_close(stack[:, :CHANNELS], assemble(**given))
    assert not stack[:, 9].any()
    torch.testing.assert_close(stack[:, 10], 2 * given["support_mask"] - 1)
    texture = texture_posterior(stack[:, 0], stack[:, 4], given["support_mask"])
    torch.testing.assert_close(stack[:, 11], 2 * texture - 1)


def test_texture_tells_a_noisy_organ_where_single_pixels_do_not() -> None:
    g = torch.Generator().manual_seed(1)
    organ = torch.zeros(1, 64, 64)
    organ[:, 16:48, 16:48] = 1
    support, target = (0.6 * organ + torch.randn(1, 64, 64, generator=g) for _ in range(2))
    single = intensity_posterior(target, support, organ)
    joint = texture_posterior(target, support, organ)
    assert float(joint.min()) >= 0
    assert float(joint.max()) <= 1

    def right(p: Tensor) -> float:
        return float(((p > 0.5) == (organ > 0.5)).float().mean())

    assert right(joint) > right(single) + 0.1 > 0.6


def test_a_guided_network_takes_its_guide_and_says_so_in_its_config() -> None:
    network = build_propagator("crop-unet", features=(8, 8, 8, 8, 8, 8), crop_size=32, guided=True)
    assert network.guided
    assert network.config["guided"] is True
    blank = torch.full((2, S, S), 0.5)
    assert network(assemble(**crops(), guide=(blank, blank))).shape == (2, S, S)
    plain = build_propagator("crop-unet", features=(8, 8, 8, 8, 8, 8), crop_size=32)
    assert not plain.guided
    assert "guided" not in plain.config  # so that older weights keep their description
