"""The numbers of a run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from napari_medssl.errors import SettingsError


class Events(Protocol):
    """A place numbers are written to."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step, each under its own name."""
        ...

    def close(self) -> None:
        """Write what is pending."""
        ...


def open_events(folder: Path, *, step: int = 0) -> Events:
    """A writer of event files in `folder`; what was written there after `step` is hidden, as a resumed run redoes it.

    Raises SettingsError when the package tensorboard, which only this needs, is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "run.tensorboard needs the package tensorboard, which is not installed: pip install tensorboard, "
            "or leave run.tensorboard off (log.csv holds the same numbers)"
        ) from error
    return _TensorBoard(SummaryWriter(str(folder), purge_step=step + 1 if step else None))


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
