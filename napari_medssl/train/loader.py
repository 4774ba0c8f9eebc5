"""Batches of examples, each drawn from its own number, so that they do not depend on processes or interruptions."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from napari_medssl.errors import MedSSLError
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example, Task

TRAINING, VALIDATION = 0, 1
"""Streams of examples; the same number gives another example in each."""


class Examples(Dataset[Example]):
    """Example `n` of a task on some scans: drawn with a generator seeded by (seed, stream, n) and nothing else."""

    def __init__(self, task: Task, scans: Sequence[Scan], *, seed: int, stream: int = TRAINING) -> None:
        self.task, self.scans, self.seed, self.stream = task, scans, seed, stream

    def __getitem__(self, n: int) -> Example:
        return self.task.draw(self.scans, np.random.default_rng([self.seed, self.stream, n]))


def batch_numbers(first: int, last: int, batch: int, *, rank: int, world: int) -> Iterator[list[int]]:
    """Numbers of the examples one process draws for the steps `first` to `last` (exclusive).

    A step takes the next `batch` examples; process `rank` of `world` takes its part of them, in order, so that the
    parts put one after the other are the batch of a single process.
    """
    part = batch // world
    for step in range(first, last):
        begin = step * batch + rank * part
        yield list(range(begin, begin + part))


def make_loader(examples: Examples, numbers: Iterable[list[int]], *, workers: int, pinned: bool) -> Iterator[Example]:
    """Batches of the examples with these numbers, in order; raises what a task raises for the user to read."""
    loader: DataLoader[Any] = DataLoader(
        _Drawn(examples),
        batch_sampler=numbers,
        collate_fn=_collate_drawn,
        num_workers=workers,
        pin_memory=pinned,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_ctrl_c,
        generator=torch.Generator(),  # for the seeds of the workers, which nobody uses; not the caller's generator
    )
    for batch in loader:
        if isinstance(batch, MedSSLError):
            raise batch
        yield batch


def _leave_ctrl_c(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; a run that wants to end after its step still needs its batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Drawn(Dataset[Example | MedSSLError]):
    """Examples, or what the user is to be told instead: raised in a worker, it would come out in a traceback."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, n: int) -> Example | MedSSLError:
        try:
            return self.examples[n]
        except MedSSLError as error:
            return error


def _collate_drawn(drawn: Sequence[Example | MedSSLError]) -> Example | MedSSLError:
    error = next((d for d in drawn if isinstance(d, MedSSLError)), None)
    return error or collate([d for d in drawn if not isinstance(d, MedSSLError)])


def collate(examples: Sequence[Example]) -> Example:
    """One batch: tensors of the same name stacked along a new first axis."""
    return {name: torch.stack([e[name] for e in examples]) for name in examples[0]}


def to_device(batch: Example, device: torch.device) -> Example:
    """The batch on `device`; from pinned memory the transfer may still be running."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}


def split_batch(batch: Example, parts: int) -> list[Example]:
    """The batch cut along its first axis into `parts` of nearly the same size."""
    if parts == 1:
        return [batch]
    pieces: list[dict[str, Tensor]] = [{} for _ in range(parts)]
    for name, value in batch.items():
        for piece, chunk in zip(pieces, torch.tensor_split(value, parts), strict=True):
            piece[name] = chunk
    return [p for p in pieces if len(next(iter(p.values())))]
