"""A short training on the scan at hand: kept when it helps, dropped when it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import build_encoder
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.progress import finish
from napari_medssl.samples.phantom import phantom
from napari_medssl.train import adapt
from napari_medssl.train.adapt import AdaptSettings, adapt_encoder
from napari_medssl.volume import Volume


def prototype_dice(encoder: torch.nn.Module, image: Volume, labels: Volume) -> float:
    """Mean Dice over organs: the largest slice of each as support, all its other slices as queries."""
    from napari_medssl.intensity import window_limits
    from napari_medssl.models.slices import make_frame, mask_to_frame, slice_batch
    from napari_medssl.oneshot.cowpro import predict

    frame = make_frame(image.shape[1:], image.spacing_mm[1:], 64)
    slices = slice_batch(image, range(image.shape[0]), frame, 1, limits=window_limits(image))
    scores = []
    with torch.inference_mode():
        features = encoder(slices)
        for value in range(1, 5):
            mask = labels.data == value
            present = np.flatnonzero(mask.any((1, 2)))
            z = int(mask.sum((1, 2)).argmax())
            target = mask_to_frame(mask[present], frame) > 0.5
            found = (
                predict(features[z : z + 1], mask_to_frame(mask[z : z + 1], frame), features[present], stride=4) > 0.5
            )
            scores.append(2 * float((found & target).sum()) / max(float(found.sum() + target.sum()), 1.0))
    return float(np.mean(scores))


def test_adapting_to_a_scan_does_not_harm_it_and_leaves_the_encoder_alone() -> None:
    image, labels = phantom("MR", shape=(8, 64, 64), seed=3)
    torch.manual_seed(0)
    encoder = build_encoder("slice-resnet", width=8, channels=16, in_slices=1, input_size=64).requires_grad_(False)
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    settings = AdaptSettings(iterations=60, learning_rate=0.01, checks=8, superpixels=SuperpixelSettings(min_size=800))
    adapted = finish(adapt_encoder(encoder, [image], settings))
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert adapted.kept
    assert adapted.after > adapted.before
    assert not adapted.encoder.training
    assert not any(p.requires_grad for p in adapted.encoder.parameters())
    # 0.24 to 0.27 for the seeds 0 to 3, after 0.195.
    assert prototype_dice(adapted.encoder, image, labels) > prototype_dice(encoder, image, labels) + 0.02


@pytest.mark.parametrize(("after", "kept"), [(0.4, False), (0.5, True)])
def test_an_adaptation_that_does_harm_is_dropped(after: float, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, after])
    monkeypatch.setattr(adapt, "held_out_dice", lambda *_: next(scores))
    image, _ = phantom("MR", shape=(4, 64, 64), seed=3)
    torch.manual_seed(0)
    encoder = build_encoder("slice-resnet", width=8, channels=16, in_slices=1, input_size=64)
    settings = AdaptSettings(iterations=1, superpixels=SuperpixelSettings(min_size=800))
    adapted = finish(adapt_encoder(encoder, [image], settings))
    assert (adapted.before, adapted.after, adapted.kept) == (0.5, after, kept)
    assert (adapted.encoder is encoder) == (not kept)


def test_an_encoder_without_weights_is_refused() -> None:
    image, _ = phantom("MR", shape=(4, 64, 64), seed=3)
    with pytest.raises(SettingsError, match="nothing to train"):
        finish(adapt_encoder(build_encoder("feature-bank"), [image]))
