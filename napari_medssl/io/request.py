"""What a caller wants from a file, handed to every format."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """Choices for reading.

    labels: the file is a label map. series: DICOM series UID or number. index: which volume of several (4D).
    """

    labels: bool = False
    series: str | int | None = None
    index: int | None = None
