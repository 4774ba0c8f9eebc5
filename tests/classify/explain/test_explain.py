"""A bright block is found where it lies in the patient, whatever the orientation, the spacing and the way in."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.classify.explain import (
    ExplainSettings,
    as_bag,
    explain,
    explain_steps,
    framed_slices,
    given_slices,
    resampled_box,
)
from napari_medssl.errors import GeometryError, SettingsError, VolumeError
from napari_medssl.geometry import same_grid
from napari_medssl.io import read, write
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.heads import pooled
from napari_medssl.progress import Progress
from napari_medssl.volume import Volume
from tests.classify.explain.conftest import CODES, FULL, BrightDetector, marked_file, slices_of

SPACINGS = [(1.5, 2.0, 4.0), (3.0, 1.0, 1.0)]


def far_mm(found, place) -> float:
    return float(np.linalg.norm(np.asarray(found.report["peak"]["ras_mm"]) - place))


def block_mm(volume: Volume) -> float:
    """How far a voxel of the block can be from its middle, and a cell's middle from a voxel."""
    return float(np.linalg.norm(np.asarray(volume.spacing_mm)) * 2.5)


@pytest.mark.parametrize("spacing", SPACINGS, ids=["thick", "long"])
@pytest.mark.parametrize("oblique", [False, True], ids=["straight", "oblique"])
@pytest.mark.parametrize("code", CODES)
def test_the_peak_is_on_the_block_and_stays_there_in_the_file(tmp_path, code, oblique, spacing):
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "evidence.nii.gz"
    place = marked_file(scan, code=code, oblique=oblique, spacing=spacing)
    volume = read(scan)
    found = explain(BrightDetector(), slices_of(volume, BrightDetector()), target=1)
    assert same_grid(found.evidence, volume)
    assert far_mm(found, place) <= block_mm(volume)
    write(out, found.evidence)
    image = nib.load(out)
    np.testing.assert_allclose(image.affine, nib.load(scan).affine, atol=1e-4)
    values = np.asarray(image.dataobj)
    index = np.unravel_index(values.argmax(), values.shape)
    assert np.linalg.norm(image.affine[:3, :3] @ index + image.affine[:3, 3] - place) <= block_mm(volume)
    bright = np.asarray(nib.load(scan).dataobj) > 200
    assert values[bright].mean() > 20 * values[~bright].mean(), "the evidence lies on the block and nowhere else"


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion"])
def test_every_method_finds_the_block(marked, method):
    volume, place = marked
    model = BrightDetector()
    found = explain(model, slices_of(volume, model), target=1, settings=ExplainSettings(method=method))
    assert far_mm(found, place) <= 2 * block_mm(volume)
    assert found.evidence.data.dtype == np.float32
    assert found.evidence.data.min() >= 0
    assert found.evidence.data.max() == pytest.approx(1, abs=0.35)
    assert found.report["settings"]["method"] == method


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_a_network_of_volumes_finds_the_block(tmp_path, oblique, method):
    place = marked_file(tmp_path / "scan.nii.gz", code="PIR", oblique=oblique)
    volume = read(tmp_path / "scan.nii.gz")
    shown = resampled_box(volume, spacing_mm=2.0, multiple=4, intensity=FULL)
    assert all(side % 4 == 0 for side in shown.inputs(range(1)).shape[2:])
    found = explain(BrightDetector(dims=3), shown, target=1, settings=ExplainSettings(method=method, overlap=0.25))
    assert same_grid(found.evidence, volume)
    assert far_mm(found, place) <= 2 * block_mm(volume)


class MaxOverSlices(nn.Module):
    """An examination network: (1, S, C, y, x) bags, slices folded into the batch, the largest score over them."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, bags: Tensor) -> Tensor:
        return self.inner(bags.flatten(0, 1)).unflatten(0, bags.shape[:2]).amax(1)


@pytest.mark.parametrize("method", ["gradcam", "occlusion"])
def test_a_network_of_examinations_finds_the_slice_that_decides(marked, method):
    volume, place = marked
    model = BrightDetector()
    shown = as_bag(slices_of(volume, model, slices=range(0, volume.shape[0], 2)))
    found = explain(MaxOverSlices(model), shown, target=1, settings=ExplainSettings(method=method, overlap=0))
    assert far_mm(found, place) <= 2 * block_mm(volume) + volume.spacing_mm[0]
    lit = np.flatnonzero(found.per_slice > 1e-3)
    assert len(lit) == 1, "only the slice with the largest score has a part in it"


def test_given_inputs_are_placed_as_framed_ones(marked):
    volume, _ = marked
    model = BrightDetector()
    shown = slices_of(volume, model)
    again = given_slices(volume, shown.inputs(range(shown.count)), shown.slices)
    first, second = (explain(model, s, target=1).evidence.data for s in (shown, again))
    np.testing.assert_allclose(first, second, atol=1e-6)
    with pytest.raises(GeometryError, match="2 slices with inputs"):
        given_slices(volume, torch.zeros(3, 3, 8, 8), [0, 1])


def test_an_untrained_encoder_with_a_fitted_head_finds_the_block(marked):
    """The shipped architecture: the head is the difference of its features with and without the block."""
    volume, place = marked
    torch.manual_seed(1)
    encoder = build_encoder("slice-resnet", width=8, channels=16, input_size=96)
    shown = slices_of(volume, encoder)
    inputs = shown.inputs(range(shown.count))
    with torch.no_grad():
        change = pooled(encoder(inputs)) - pooled(encoder(inputs.clamp(max=0.2)))  # the block is above, all else below
    head = nn.Linear(16, 1)
    head.weight.data = change.mean(0, keepdim=True)
    model = nn.Sequential()
    model.add_module("encoder", encoder)
    model.add_module("pool", _Pool())
    model.add_module("head", head)
    found = explain(model, shown, target=0)
    assert found.report["layer"] == "encoder.out"
    assert far_mm(found, place) <= 3 * block_mm(volume)


class _Pool(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return pooled(features)


def test_weights_dim_slices_and_scale_lifts_them(marked):
    volume, _ = marked
    model = BrightDetector()
    shown = slices_of(volume, model)
    plain = explain(model, shown, target=1)
    lit = plain.per_slice > 0
    weights = np.where(np.arange(shown.count) == plain.per_slice.argmax(), 0.25, 1.0).astype(np.float32)
    dimmed = explain(model, shown, target=1, weights=weights)
    assert dimmed.per_slice.argmax() != plain.per_slice.argmax()
    ignored = explain(model, shown, target=1, weights=weights, settings=ExplainSettings(weigh=False))
    np.testing.assert_array_equal(ignored.evidence.data, plain.evidence.data)
    each = explain(model, shown, target=1, settings=ExplainSettings(scale="slice"))
    assert each.per_slice[lit].min() > 0.6
    assert plain.per_slice[lit].min() <= each.per_slice[lit].min()


def test_slices_between_are_empty_or_blended(marked):
    volume, _ = marked
    model = BrightDetector()
    middle = int(explain(model, slices_of(volume, model), target=1).per_slice.argmax())
    shown = slices_of(volume, model, slices=[middle - 2, middle, middle + 2])
    empty, linear = (
        explain(model, shown, target=1, settings=ExplainSettings(between=b)).per_slice for b in ("empty", "linear")
    )
    assert empty[middle - 1] == empty[middle + 1] == 0
    assert linear[middle - 1] == pytest.approx((linear[middle - 2] + linear[middle]) / 2, abs=1e-5)
    assert linear[: middle - 2].max() == linear[middle + 3 :].max() == 0, "nothing is said beyond what was shown"


def test_no_evidence_is_zero_and_said(marked):
    volume, _ = marked
    dark = volume.like(np.where(np.arange(volume.data.size).reshape(volume.shape) % 2, 30.0, 31.0).astype(np.float32))
    model = BrightDetector()
    with torch.no_grad():
        model.cells[0].bias.fill_(-5.0)
    found = explain(model, slices_of(dark, model), target=1)
    assert not found.evidence.data.any()
    assert found.report["peak"] is None
    assert "speaks for this class" in found.report["notes"][-1]


def test_one_slice_and_anisotropic_slices(tmp_path):
    place = marked_file(tmp_path / "s.nii.gz", shape=(40, 12, 2), spacing=(1.0, 5.0, 8.0), at=(0.2, 0.5, 0.0))
    volume = read(tmp_path / "s.nii.gz")
    model = BrightDetector()
    found = explain(model, slices_of(volume, model, slices=[1]), target=1)
    assert volume.shape[0] == 2
    assert not found.evidence.data[0].any()
    assert far_mm(found, place) <= block_mm(volume)


def test_it_can_be_stopped_and_leaves_the_network_as_it_was(marked):
    volume, _ = marked
    model = BrightDetector().train()
    model.head.requires_grad_(False)
    steps = explain_steps(model, slices_of(volume, model), target=1, settings=ExplainSettings(batch=2))
    assert [type(next(steps)) for _ in range(4)] == [Progress] * 4
    steps.close()
    explain(model, slices_of(volume, model), target=1)
    assert model.training
    assert model.cells.training
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, False]
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_mistakes_are_named(marked):
    volume, _ = marked
    model = BrightDetector()
    shown = slices_of(volume, model)
    with pytest.raises(SettingsError, match=r"no layer called 'cels'; choose one of: cells"):
        explain(model, shown, target=1, settings=ExplainSettings(layer="cels"))
    with pytest.raises(SettingsError, match="keeps no map of its input in the layer 'head'"):
        explain(model, shown, target=1, settings=ExplainSettings(layer="head"))
    for method in ("gradcam", "occlusion"):
        with pytest.raises(SettingsError, match="class number 2"):
            explain(model, shown, target=2, settings=ExplainSettings(method=method))
    with pytest.raises(SettingsError, match="patch"):
        explain(model, shown, target=1, settings=ExplainSettings(patch=2.0))
    with pytest.raises(IndexError, match="has slices 0 to"):
        framed_slices(volume, model, slices=[99])
    with pytest.raises(VolumeError, match="every voxel"):
        framed_slices(volume.like(np.zeros(volume.shape)), model)
