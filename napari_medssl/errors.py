"""The errors a user can cause, each a sentence that says what was wrong, where, and what to do."""

from __future__ import annotations


class MedSSLError(Exception):
    """Base of every error raised for a user's mistake or a machine's limit."""


class FormatError(MedSSLError):
    """A file or folder cannot be read as a volume, or a volume cannot be written in a format."""


class GeometryError(MedSSLError):
    """Grids, spacings or orientations do not fit together."""


class SupportError(MedSSLError):
    """The labelled slices cannot be used: empty mask, wrong shape, no labelled slice."""


class SettingsError(MedSSLError):
    """A setting is unknown or outside its limits."""


class WeightsError(MedSSLError):
    """A weights file is missing, damaged or made for another architecture."""


class OutOfMemoryError(MedSSLError):
    """The work cannot fit the memory of the device, even in the smallest batch."""


class VolumeError(MedSSLError):
    """The voxels of a scan cannot be worked with: none at all, all equal, or not numbers."""


class DeviceError(MedSSLError):
    """The computing device asked for is not there, or stopped answering."""
