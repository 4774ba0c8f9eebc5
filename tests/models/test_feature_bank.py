"""The training-free encoder: what its vectors tell apart, and what they do not depend on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.feature_bank import FeatureBank
from napari_medssl.oneshot.cowpro import predict, unit_centred


def scene(seed: int = 0, *, size: int = 64) -> tuple[Tensor, Tensor]:
    """(1, size, size) slice with a body, two organs of different grey and noise, and the mask of the first organ."""
    y, x = torch.meshgrid(*[torch.arange(size) * 64.0 / size] * 2, indexing="ij")
    image = torch.where((y - 32) ** 2 + (x - 32) ** 2 < 29**2, 0.4, 0.0)
    organ = (y - 30) ** 2 + (x - 20) ** 2 < 9**2
    image = torch.where(organ, 0.75, image)
    image = torch.where((y - 30) ** 2 + (x - 45) ** 2 < 8**2, 0.2, image)
    noise = 0.03 * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + noise * (image > 0)).clamp(0, 1)[None], organ.float()[None]


def test_a_noisy_copy_is_segmented_without_any_training() -> None:
    encoder = build_encoder("feature-bank")
    support, mask = scene(0, size=256)
    query, _ = scene(1, size=256)
    found = predict(encoder(support[None]), mask, encoder(query[None]), stride=4) > 0.5
    assert 2 * (found & (mask > 0)).sum() / (found.sum() + mask.sum()) > 0.85


def test_a_slice_does_not_depend_on_its_batch() -> None:
    encoder = build_encoder("feature-bank", input_size=64)
    a, b = scene(0)[0][None], 1 - scene(1)[0][None]
    assert torch.allclose(encoder(torch.cat([a, b]))[:1], encoder(a), atol=1e-6)


def test_more_channels_keep_every_angle() -> None:
    image = scene()[0][None]
    natural = build_encoder("feature-bank", input_size=64)
    wide = build_encoder("feature-bank", channels=natural.channels + 40, input_size=64)
    vectors = [e(image).flatten(2)[0].T for e in (natural, wide)]
    assert vectors[1].shape[1] == vectors[0].shape[1] + 40
    for prepare in (lambda v: F.normalize(v, dim=1), lambda v: unit_centred(v, eps=1e-4)):
        products = [prepare(v) @ prepare(v).T for v in vectors]
        # Centring removes the mean times the root of the number of channels, which differs; the rest is kept.
        assert torch.allclose(products[0], products[1], atol=2e-3)


def test_position_tells_equal_tissue_apart() -> None:
    image = torch.full((1, 1, 64, 64), 0.5)
    with_place, without = (build_encoder("feature-bank", position=p, input_size=64)(image) for p in (1.0, 0.0))
    assert without.std((2, 3)).max() < 1e-4
    assert F.cosine_similarity(with_place[0, :, 2, 2], with_place[0, :, 13, 13], dim=0) < 0.95


def test_neighbours_matter_only_when_asked_for() -> None:
    encoder = build_encoder("feature-bank", in_slices=3, input_size=64)
    a, b = scene(0)[0], 1 - scene(1)[0]
    plain, changed = encoder(torch.stack([a, a, a], 1)), encoder(torch.stack([b, a, b], 1))
    assert torch.allclose(plain[:, :45], changed[:, :45])
    assert not torch.allclose(plain, changed)


def test_an_empty_slice_gives_finite_features() -> None:
    assert torch.isfinite(build_encoder("feature-bank")(torch.zeros(1, 1, 64, 64))).all()


def test_gradients_have_a_sign_and_a_direction() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    encoder = FeatureBank(input_size=64, position=0.0)
    right, down = encoder(ramp)[0, :, 8, 8], encoder(ramp.transpose(2, 3))[0, :, 8, 8]
    left = encoder(ramp.flip(3))[0, :, 8, 7]
    slopes = slice(39, 45)  # (y, x) at three scales, last of the 45 channels
    assert right[slopes][1::2].min() > 0
    assert right[slopes][::2].abs().max() < 1e-5
    assert torch.allclose(down[slopes][::2], right[slopes][1::2], atol=1e-5)
    assert left[slopes][1::2].max() < 0


def test_even_context_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        build_encoder("feature-bank", in_slices=4)
