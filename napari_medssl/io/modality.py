"""CT or not, told from the intensities."""

from __future__ import annotations

import numpy as np

from napari_medssl.volume import Modality

# Hounsfield units: air is -1000 by definition; lung and bowel gas are above -950. Noise and interpolation spread air.
_AIR_HU = (-1100.0, -900.0)
_LOWEST_HU = -500.0
# At least this share of air: a CT has it around the body or in the lung; an MR difference image has few voxels there.
_AIR_SHARE = 0.005


def guess_modality(data: np.ndarray) -> Modality:
    """ "CT" when the numbers are Hounsfield units (air near -1000 is seen, at least 0.5 % of a sample), else "auto".

    data: any shape. MR has no fixed scale, so nothing here can prove it. A CT cropped to tissue, or stored without its
    offset, gives "auto" too. Costs one pass over at most a million voxels.
    """
    sample = data.ravel()[:: max(1, data.size // 1_000_000)]
    if sample.size == 0 or data.dtype.kind not in "if" or not sample.min() <= _LOWEST_HU:
        return "auto"
    air = np.count_nonzero((sample >= _AIR_HU[0]) & (sample <= _AIR_HU[1]))
    return "CT" if air >= _AIR_SHARE * sample.size else "auto"
