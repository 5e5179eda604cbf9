# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables."""

from server.models.base import Base, UtcDateTime
from server.models.coverage import CoverageRun
from server.models.evidence import Checkpoint, LogLeaf, LogNode, PrivateValue
from server.models.incident import (
    Deadline,
    Incident,
    JournalEntry,
    Picture,
    PolicyVersion,
    Sighting,
)
from server.models.notice import Callout, Drill, Notice
from server.models.region import Camera, Division, Duty, EdgeBox, Person

__all__ = [
    "Base",
    "Callout",
    "Camera",
    "Checkpoint",
    "CoverageRun",
    "Deadline",
    "Division",
    "Drill",
    "Duty",
    "EdgeBox",
    "Incident",
    "JournalEntry",
    "LogLeaf",
    "LogNode",
    "Notice",
    "Person",
    "Picture",
    "PolicyVersion",
    "PrivateValue",
    "Sighting",
    "UtcDateTime",
]
