"""Pretrained parts carried over into another network, and what of them fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import load_bundle
from napari_medssl.models.unet3d import UNet3dDecoder
from napari_medssl.train.opened_run import STATE, OpenedRun, open_run

Part: TypeAlias = Literal["encoder", "encoder+decoder"]

PARTS: tuple[Part, ...] = ("encoder", "encoder+decoder")
ADVICE = "Transfer the encoder; the decoder is optional, and never alone (R-55; D 45, D 321-323, D 531)"

_ROLES = ("encoder3d", "encoder")
_FILE = "encoder3d.safetensors"


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What pretraining has left.

    parts: "encoder", and "decoder" where the method has one, to their state dicts on the CPU. kind, config: of the
    encoder. skip: whether the decoder saw the finer grids; None without a decoder. method: that trained it, "" when
    unknown.
    """

    name: str
    kind: str
    config: dict[str, Any]
    parts: dict[str, dict[str, Tensor]]
    skip: bool | None = None
    method: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class KeyReport:
    """Names of tensors of one part.

    matched: carried over. missing: of the network, which the weights do not have; they keep their first values.
    unused: of the weights, which the network does not have. misshaped: (name, shape in the network, shape in the
    weights) of those that could not be taken, and keep their first values.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    misshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class TransferReport:
    """What was carried over: a report of keys for each part; share: of the network's numbers that are pretrained now.

    skip_before, skip_now: whether the decoder sees the encoder's finer grids, in pretraining and in the network; None
    where there is no decoder. notes: sentences for people.
    """

    part: Part
    keys: dict[str, KeyReport]
    share: float
    skip_before: bool | None
    skip_now: bool | None
    notes: tuple[str, ...] = field(default=())

    def facts(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


def load_pretrained(path: Path) -> Pretrained:
    """The parts of a weights file (its encoder), or of the folder or state of a run (its decoder, too, if it has one).

    Raises WeightsError when there is none, it is damaged, or it holds no encoder of volumes.
    """
    folder = path.is_dir()
    if (folder and (path / STATE).is_file()) or path.name == STATE:
        return _of_run(open_run(path))
    file = path / _FILE if folder else path
    bundle = load_bundle(file)
    role = next((r for r in _ROLES if r in bundle.modules), None)
    if role is None:
        raise WeightsError(f"{file} holds no encoder of volumes, only: {', '.join(bundle.modules) or 'nothing'}")
    module = bundle.modules[role]
    return Pretrained(
        file.name, str(module.get("name", "")), dict(module.get("config", {})), {"encoder": bundle.state(role)},
        method=str(bundle.card.get("recipe", "")), sha256=bundle.sha256,
    )  # fmt: skip


def transfer(network: nn.Module, pretrained: Pretrained, part: str = "encoder") -> TransferReport:
    """Put pretrained tensors into `network.encoder`, and into `network.decoder` when asked for; say what fitted.

    network: has the parts under these names, such as `Segmenter3d`; changed in place, batch statistics included. What
    does not fit keeps its first values. part: "encoder", or "encoder+decoder".

    Source: paper 002, 321-323: decoders of reconstruction are worth little, and worth least alone. Raises SettingsError
    for the decoder alone (R-55), or a decoder that was not kept; WeightsError when nothing of the encoder fits.
    """
    _check(pretrained, part)
    chosen: Part = "encoder" if part == "encoder" else "encoder+decoder"
    keys = {name: _fill(network.get_submodule(name), pretrained.parts[name]) for name in chosen.split("+")}
    if not _learned(network, keys):
        raise WeightsError(
            f"nothing of the encoder of {pretrained.name} ({pretrained.kind} {pretrained.config}) fits this network; "
            "build it with the same width and normalisation"
        )
    decoder = next((m for m in network.modules() if isinstance(m, UNet3dDecoder)), None)
    skip = None if decoder is None else decoder.skip
    carried = sum(network.get_submodule(p).state_dict()[k].numel() for p, r in keys.items() for k in r.matched)
    share = carried / sum(v.numel() for v in network.state_dict().values())
    return TransferReport(chosen, keys, share, pretrained.skip, skip, tuple(_notes(pretrained, chosen, keys, skip)))


def _check(pretrained: Pretrained, part: str) -> None:
    if part == "decoder":
        raise SettingsError(f"a decoder is not carried over alone. {ADVICE}; choose encoder or encoder+decoder")
    if part not in PARTS:
        raise SettingsError(f"part is {part!r}; choose one of {', '.join(PARTS)}")
    if "decoder" in part and "decoder" not in pretrained.parts:
        raise SettingsError(
            f"{pretrained.name} holds no decoder. Give the folder of a run of a method that restores (autoencoder, "
            "model-genesis, pcrl), whose state has it; the weights file keeps the encoder alone"
        )


def _fill(module: nn.Module, given: Mapping[str, Tensor]) -> KeyReport:
    own = module.state_dict()
    shared = [k for k in own if k in given]
    misshaped = tuple((k, tuple(own[k].shape), tuple(given[k].shape)) for k in shared if own[k].shape != given[k].shape)
    refused = {k for k, _, _ in misshaped}
    matched = tuple(k for k in shared if k not in refused)
    with torch.no_grad():
        for key in matched:
            own[key].copy_(given[key])
    missing, unused = tuple(k for k in own if k not in given), tuple(k for k in given if k not in own)
    return KeyReport(matched, missing, unused, misshaped)


def _learned(network: nn.Module, keys: Mapping[str, KeyReport]) -> list[str]:
    """Parameters of the encoder that were carried over: counts of batches fit any encoder and tell nothing."""
    parameters = dict(network.get_submodule("encoder").named_parameters())
    return [k for k in keys["encoder"].matched if k in parameters]


def _notes(pretrained: Pretrained, part: Part, keys: Mapping[str, KeyReport], skip: bool | None) -> list[str]:
    notes = []
    for name, report in keys.items():
        left = len(report.missing) + len(report.misshaped)
        if left:
            notes.append(f"{left} of {left + len(report.matched)} tensors of the {name} keep their first values")
    if "decoder" in part and pretrained.skip is not None and pretrained.skip != skip:
        told = {True: "with", False: "without"}
        notes.append(
            f"the decoder was trained {told[pretrained.skip]} skip connections and the network is built "
            f"{told[bool(skip)]}: its convolutions do not fit"
        )
    if part == "encoder" and pretrained.method == "pcrl":
        notes.append("the decoder of pcrl is worth keeping, too: encoder+decoder (R-55; D 323)")
    return notes


def _of_run(run: OpenedRun) -> Pretrained:
    objective = run.recipe.objective
    if run.recipe.role != "encoder3d":
        raise WeightsError(f"{run.path} is a run of {run.method.name}, whose encoder sees slices; give a 3D method's")
    parts = {"encoder": dict(objective.encoder.state_dict())}
    decoder = next((m for m in objective.modules() if isinstance(m, UNet3dDecoder)), None)
    if decoder is not None:
        parts["decoder"] = dict(decoder.state_dict())
    return Pretrained(
        run.name, run.recipe.encoder_name, dict(objective.encoder.config), parts,
        skip=None if decoder is None else decoder.skip, method=run.method.name, sha256=run.sha256,
    )  # fmt: skip
