# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can go wrong on the edge box. Each message is one sentence naming the thing and the mend."""

from __future__ import annotations


class DetectorError(Exception):
    """Base of the edge box's errors; the text is fit to be shown to an operator."""


class ConfigError(DetectorError):
    """The settings file is missing, unreadable or says something that is not allowed."""


class ModelError(DetectorError):
    """The model file is missing, damaged, or not the model its card describes."""


class StreamError(DetectorError):
    """A video source could not be opened or stopped giving pictures."""


class OutboxError(DetectorError):
    """The outbox could not write to its disk."""


class NoRoomError(OutboxError):
    """There is no room on the outbox's disk, or the disk fails."""


class PtzError(DetectorError):
    """A camera's mount does not answer, or answers what cannot be read."""


class PtzRefused(PtzError):
    """A camera's mount answers, and says no."""
