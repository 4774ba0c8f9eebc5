"""What tissues look like: CT numbers of a portal-venous scan and signal of a fat-suppressed T2-weighted MR."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tissue:
    """ct: Hounsfield units. mr: T2 signal, arbitrary units with bright fluid near 900. texture: relative graininess."""

    ct: float
    mr: float
    texture: float = 1.0


# Typical textbook values; organs in the portal-venous phase, so that kidney, spleen, liver and vessels all differ from
# muscle but only mildly from one another, as in a patient. The MR column follows a T2-SPIR scan: fat is dark, blood in
# fast vessels is void, spleen and kidney are bright, liver is darker than both.
TISSUES: dict[str, Tissue] = {
    "air": Tissue(-1000, 4, 0),
    "skin": Tissue(20, 140),
    "fat": Tissue(-105, 70, 0.8),
    "muscle": Tissue(58, 105),
    "lung": Tissue(-850, 22, 4),
    "heart": Tissue(120, 160),
    "bone shell": Tissue(420, 35, 5),
    "marrow": Tissue(190, 120, 4),
    "disc": Tissue(85, 330),
    "canal": Tissue(15, 820),
    "cord": Tissue(38, 300),
    "liver": Tissue(108, 195, 1.2),
    "vein": Tissue(150, 90),
    "artery": Tissue(165, 45),
    "gallbladder": Tissue(8, 900, 0.3),
    "spleen": Tissue(122, 400),
    "cortex": Tissue(185, 400),
    "medulla": Tissue(132, 540),
    "kidney pelvis": Tissue(5, 740),
    "stomach wall": Tissue(70, 190),
    "stomach content": Tissue(22, 640, 2.5),
    "gas": Tissue(-900, 8, 0),
    "pancreas": Tissue(92, 255, 2),
    "bowel wall": Tissue(75, 210),
    "bowel content": Tissue(28, 480, 3),
    "stool": Tissue(-20, 230, 8),
}
