"""Published backbone weights (ImageNet, COCO) from a local file into our encoders, by matching names."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from napari_medssl.errors import WeightsError

_PREFIXES = ("module.", "backbone.")  # of DataParallel, and of torchvision's segmentation models
_HEADS = ("classifier.", "aux_classifier.", "fc.", "conv_seg.")  # belong to the published task, not to the encoder
_WRAPPERS = ("state_dict", "model", "model_state_dict")


@dataclass(frozen=True)
class KeyReport:
    """What came of each entry.

    matched: loaded. missing: of the encoder, not in the file, kept as they were. misshapen: in both, of different
    shape, kept. ignored: heads of the published task. unknown: in the file only.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...]

    def sentence(self) -> str:
        """One line for people."""
        text = f"{len(self.matched)} of {len(self.matched) + len(self.missing) + len(self.misshapen)} tensors loaded"
        for words, names in (("not in the file", self.missing), ("of another shape", self.misshapen)):
            if names:
                text += f"; {len(names)} {words} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        return text


def load_published(encoder: nn.Module, path: Path) -> KeyReport:
    """Fill an encoder of `models.resnet` with the weights of a torchvision ResNet or DeepLabv3 file.

    path: a .pth/.pt state dict (read without running any code in it) or .safetensors. The reduction to the encoder's
    channels has no published counterpart and keeps its random start.

    Raises WeightsError when the file is missing or unreadable, or when nothing in it fits.
    """
    stored = read_published(path)
    own = encoder.state_dict()
    plain = {_plain(name): tensor for name, tensor in stored.items()}
    ignored = sorted(name for name in plain if name.startswith(_HEADS))
    fitting = {n: t for n, t in plain.items() if n in own and t.shape == own[n].shape}
    if not any(n.endswith("weight") for n in fitting):
        raise WeightsError(f"nothing in {path} fits this encoder; give the weights of a ResNet of the same depth")
    encoder.load_state_dict(fitting, strict=False)
    # Counters of batches seen are absent from older files and change nothing.
    wanted = {n for n in own if not n.endswith("num_batches_tracked")}
    return KeyReport(
        matched=tuple(sorted(wanted & set(fitting))),
        missing=tuple(sorted(wanted - set(plain))),
        misshapen=tuple(sorted(n for n in wanted & set(plain) if n not in fitting)),
        ignored=tuple(ignored),
        unknown=tuple(sorted(set(plain) - set(own) - set(ignored))),
    )


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def read_published(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .pth/.pt state dict (read without running any code in it) or .safetensors file, by their names.

    Raises WeightsError when the file is missing, unreadable, or holds something else.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; give the path of a downloaded .pth or .safetensors file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"cannot read weights from {path}: {first}; download it again") from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise WeightsError(f"{path} holds no state dict; save the model's state_dict() to a file")
    return loaded
