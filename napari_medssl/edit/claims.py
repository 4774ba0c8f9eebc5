"""From what operations propose to what changes: the rules of who may take which voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.box import Box
from napari_medssl.edit.change import Change
from napari_medssl.edit.operation import Part, Proposal

Locks = Mapping[int, Sequence[int]]


@dataclass(frozen=True, eq=False)
class Claim:
    """What one organ would gain and lose.

    lost, gained: flat positions in the label map. before, score: label and score of each gained voxel.
    """

    organ: int
    lost: np.ndarray
    gained: np.ndarray
    before: np.ndarray
    score: np.ndarray


def claim_of(
    part: Part, proposal: Proposal, box: Box, shape: tuple[int, ...], *, chosen: Sequence[int], locks: Locks
) -> Claim:
    """What an organ may gain and lose of its proposal.

    box: where the part lies in the map of `shape`. chosen: all organs worked on. locks: label to the slices of the map
    on which it must not change. Voxels of other chosen organs are claimed too; `settle` lets those go that their organ
    keeps.
    """
    low, high = part.wanted
    inner = slice(low, high)
    labels, mask, wanted = part.labels[inner], part.mask[inner], proposal.mask[inner]
    first = box[0].start + low
    free = part.free[inner].copy()
    others = [v for v in (*chosen, *proposal.takes) if v != part.organ]
    if others:
        free |= np.isin(labels, others)
    gained = np.nonzero(wanted & ~mask & free)
    lost = np.nonzero(mask & ~wanted)
    locked = locks.get(part.organ, ())
    lost = _without(lost, np.isin(lost[0] + first, locked))
    before = labels[gained]
    closed = np.isin(gained[0] + first, locked)
    for value in np.unique(before):
        closed |= (before == value) & np.isin(gained[0] + first, locks.get(int(value), ()))
    gained, before = _without(gained, closed), before[~closed]
    score = np.zeros(len(before), np.float32) if proposal.score is None else proposal.score[inner][gained]
    corner = (first, box[1].start, box[2].start)
    return Claim(part.organ, _flat(lost, corner, shape), _flat(gained, corner, shape), before, score)


def settle(
    claims: Sequence[Claim], shape: tuple[int, int, int], dtype: np.dtype, *, takes: Sequence[int] = ()
) -> Change:
    """The change that all claims make together.

    A voxel of an organ worked on goes to another only when its own lets it go (or is in `takes`). Among several claims
    the highest score wins, then the first organ.
    """
    organs = [claim.organ for claim in claims]
    lost = np.concatenate([claim.lost for claim in claims])
    lost_of = np.concatenate([np.full(len(c.lost), c.organ, dtype) for c in claims])
    gained = np.concatenate([claim.gained for claim in claims])
    before = np.concatenate([claim.before for claim in claims])
    score = np.concatenate([claim.score for claim in claims])
    rank = np.concatenate([np.full(len(c.gained), at) for at, c in enumerate(claims)])
    kept = np.isin(before, [v for v in organs if v not in takes]) & ~np.isin(gained, lost)
    gained, before, score, rank = (a[~kept] for a in (gained, before, score, rank))
    order = np.lexsort((rank, -score, gained))
    gained, before, rank = gained[order], before[order], rank[order]
    first = np.ones(len(gained), bool)
    first[1:] = gained[1:] != gained[:-1]
    gained, before, rank = gained[first], before[first], rank[first]
    gone = ~np.isin(lost, gained)
    index = np.concatenate([gained, lost[gone]])
    after = np.concatenate([np.asarray(organs, dtype)[rank], np.zeros(int(gone.sum()), dtype)])
    was = np.concatenate([before.astype(dtype), lost_of[gone]])
    order = np.argsort(index)
    return Change(shape, index[order], was[order], after[order], tuple(organs))


def _without(where: tuple[np.ndarray, ...], dropped: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(axis[~dropped] for axis in where)


def _flat(where: tuple[np.ndarray, ...], corner: tuple[int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    z, y, x = (axis.astype(np.int64) + start for axis, start in zip(where, corner, strict=True))
    return np.asarray((z * shape[1] + y) * shape[2] + x)
