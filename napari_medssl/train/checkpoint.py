"""The whole state of a run in one file: what is needed to go on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.io.atomic import replacing

FORMAT = "napari-medssl run 1"


@dataclass(frozen=True)
class RunState:
    """What lies beside model and optimiser.

    step: steps done. seconds: wall time of all parts so far. settings: plain values; a run goes on only with the same
    ones. facts: what the recipe wants back (running means, counts), plain JSON values.
    """

    step: int
    seconds: float
    settings: dict[str, Any]
    facts: dict[str, Any]


def save_run(
    path: Path,
    state: RunState,
    *,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write everything to one safetensors file, whole or not at all. No pickle is involved.

    The optimiser's state must be tensors per parameter (SGD, Adam). Raises FormatError when the disk refuses.
    """
    tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in model.state_dict().items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
    meta = {
        "format": FORMAT,
        "run": json.dumps(state.__dict__),
    }
    # Not save_file: it hides why the disk refused, and makes files that only their owner may read.
    content = save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, metadata=meta)
    with replacing(path) as (part,):
        part.write_bytes(content)


def resume_run(
    path: Path,
    settings: dict[str, Any],
    *,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    may_change: tuple[str, ...] = (),
) -> RunState | None:
    """Put model and optimiser into the stored state and return the rest; None when there is no file.

    may_change: top-level settings that may differ from the stored ones.

    Raises SettingsError when other settings differ, WeightsError when the file is damaged or of another model.
    """
    if not path.is_file():
        return None
    state, tensors = read_run(path)
    _same_settings(path, json.loads(json.dumps(settings)), state.settings, may_change)
    try:
        model.load_state_dict(model_state(tensors))
    except RuntimeError as error:
        raise WeightsError(f"{path} is a run of another encoder; choose another folder") from error
    _load_optimiser(optimiser, {k: v for k, v in tensors.items() if k.startswith("optimiser.")})
    return state


def read_run(path: Path) -> tuple[RunState, dict[str, Tensor]]:
    """The stored facts and every tensor, by the names of the file ("model...", "optimiser...").

    Raises WeightsError when the file is damaged or no state of a run.
    """
    tensors, meta = _read(path)
    return RunState(**json.loads(meta["run"])), tensors


def model_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the objective among the tensors of a run: encoder, heads, teachers and queues."""
    return {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(str(path), framework="pt") as f:
            meta = f.metadata() or {}
            tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot resume from {path}: {error}; remove it to start anew") from error
    if meta.get("format") != FORMAT:
        raise WeightsError(f"{path} is not the state of a run of this version; remove it to start anew")
    return tensors, meta


def _same_settings(path: Path, now: dict[str, Any], then: dict[str, Any], may_change: tuple[str, ...]) -> None:
    differ = sorted(k for k in {*now, *then} - set(may_change) if now.get(k) != then.get(k))
    if differ:
        raise SettingsError(
            f"the run in {path.parent} was begun with {_difference(differ, now, then)}; "
            "use the same to go on with it, or another folder to begin anew"
        )


def _difference(differ: list[str], now: dict[str, Any], then: dict[str, Any]) -> str:
    """What a run had, and in brackets what is asked now; of another method or other scans the name is enough."""
    if "method" in differ:  # then most settings differ as well, which tells nothing
        return f"the method {then.get('method')} (now {now.get('method')})"
    known = [k for k in differ if k != "data"]
    facts = [f"{k} {then.get(k, 'unknown')} (now {now.get(k, 'unknown')})" for k in known]
    return " and ".join([*([", ".join(facts)] if facts else []), *(["other scans"] if "data" in differ else [])])


def _load_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        _, index, key = name.split(".", 2)
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
