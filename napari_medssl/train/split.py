"""Splits that keep every person on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_medssl.pretext.scan import Scan


def split_subjects(scans: Sequence[Scan], share: float, seed: int) -> tuple[list[Scan], list[Scan]]:
    """Scans for training and scans kept aside.

    share: of the subjects of each data set to keep, rounded; a data set of one subject is never kept, and the training
        part is never empty.
    """
    groups: dict[str, list[str]] = {}
    for scan in scans:
        members = groups.setdefault(scan.group, [])
        if scan.subject not in members:
            members.append(scan.subject)
    rng = np.random.default_rng([seed, 7])
    kept: set[tuple[str, str]] = set()
    for group in sorted(groups):
        members = sorted(groups[group])
        count = min(round(share * len(members)), len(members) - 1)
        kept |= {(group, members[i]) for i in rng.permutation(len(members))[:count]}
    aside = [s for s in scans if (s.group, s.subject) in kept]
    return [s for s in scans if (s.group, s.subject) not in kept], aside
