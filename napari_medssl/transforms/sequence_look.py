"""What an MR sequence would show of tissues whose relaxation times are known.

A curve from intensity to intensity cannot part what a CT shows alike: with contrast agent spleen and liver are nearly
equally bright there, on T2 one is three times as bright as the other. Relaxation times say how bright each organ is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_medssl.transforms.blur import blur_slices
from napari_medssl.transforms.smooth_map import smooth_map

# T1 and T2 in ms at 3 T (de Bazelaire et al. 2004, Radiology 230:652; kidney: mean of cortex and medulla). Bile and
# blood at rest are rough figures of ours; flow takes part of the blood's signal.
_TIMES = {
    "spleen": (1328.0, 61.0),
    "right kidney": (1340.0, 78.0),
    "left kidney": (1340.0, 78.0),
    "liver": (809.0, 34.0),
    "pancreas": (725.0, 43.0),
    "gallbladder": (2500.0, 400.0),
    "aorta": (1900.0, 250.0),
    "inferior vena cava": (1900.0, 250.0),
    "portal and splenic vein": (1900.0, 250.0),
}
_BLOOD = ("aorta", "inferior vena cava", "portal and splenic vein")
_FAT, _MUSCLE, _MARROW = (382.0, 68.0), (898.0, 29.0), (586.0, 49.0)
_SPREAD = 0.2  # of a tissue's times between people, field strengths and sequences (standard deviation of the logarithm)
# Where CT shows air, fat, muscle and bone in a soft-tissue window; between muscle and bone lie bowel and vessels.
_CT_TISSUES = (0.0, 0.02, 0.15, 0.5, 0.6, 0.75, 0.95, 1.0)
_REACH = 0.25  # brightness around an organ's mean that is its texture; beyond that lies a wrong label


def has_relaxation_times(structures: Sequence[str]) -> bool:
    """Whether relaxation times of any of these structures are known."""
    return any(name in _TIMES for name in structures)


def spin_echo(t1_ms: float, t2_ms: float, *, repeat_ms: float, echo_ms: float) -> float:
    """Signal of a spin-echo sequence, 1 for a proton density that is seen in full."""
    return float((1 - np.exp(-repeat_ms / t1_ms)) * np.exp(-echo_ms / t2_ms))


def apply_sequence_look(slices: Tensor, labels: Tensor, structures: Sequence[str], rng: np.random.Generator) -> Tensor:
    """(C, H, W) slices in [0, 1] as a random spin-echo sequence might show them, again in [0, 1].

    labels: (C, H, W), value k is structures[k - 1]. Repetition and echo time, fat suppression and all relaxation times
    are drawn at random. Organs get the signal of their name, or any where that is unknown, and keep their texture,
    stronger or weaker, now and then turned over; the rest goes by what CT shows of it. Ours.
    """
    echo, repeat = rng.uniform(10, 100), float(np.exp(rng.uniform(np.log(300), np.log(6000))))

    def signal(times: tuple[float, float]) -> float:
        t1, t2 = np.array(times) * np.exp(rng.normal(0, _SPREAD, 2))
        return spin_echo(float(t1), float(t2), repeat_ms=repeat, echo_ms=echo)

    fat = signal(_FAT) * (rng.uniform(0, 0.4) if rng.random() < 0.5 else 1.0)
    muscle, marrow = signal(_MUSCLE), signal(_MARROW) * rng.uniform(0.1, 1.0)
    levels = {name: signal(times) for name, times in _TIMES.items()}
    # White where the brighter of solid organs and fat are, more or less: fluid is beyond that, as in a scan's window.
    white = max(levels["spleen"], levels["right kidney"], levels["liver"], fat) * rng.uniform(0.8, 1.3)
    between = rng.uniform(0, white)
    curve = np.array([0.0, 0.0, fat, muscle, muscle * rng.uniform(0.8, 1.4), between, marrow, marrow])
    # Blurred first: the curve is steep in fat, and would make snow of the noise there.
    out = torch.from_numpy(np.interp(_blurred(slices, rng).numpy(), _CT_TISSUES, curve).astype(np.float32))
    for value in torch.unique(labels).long().tolist():
        if 0 < value <= len(structures):
            name = structures[value - 1]
            level = levels.get(name, rng.uniform(0, white)) * (rng.uniform(0, 1) if name in _BLOOD else 1.0)
            organ = labels == value
            own = slices[organ]
            gain = rng.uniform(0.3, 4.0) * level * (1 if rng.random() < 0.75 else -1)
            out[organ] = (level + gain * (own - own.mean()).clamp(-_REACH, _REACH)).clamp(min=0)
    field = torch.tensor(1 + rng.normal(0, 0.15, (1, 1, 4, 4)), dtype=torch.float32)
    out = out * smooth_map(field, (out.shape[-2], out.shape[-1]))[0].clamp(min=0.2)
    return (_blurred(out, rng) / white).clamp(0, 1)


def _blurred(slices: Tensor, rng: np.random.Generator) -> Tensor:
    return blur_slices(slices[None], torch.tensor([rng.uniform(0.3, 0.8)]), border="replicate")[0]
