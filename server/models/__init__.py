# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables."""

from server.models.base import Base, UtcDateTime
from server.models.coverage import CoverageRun
from server.models.edge import EdgeUpdate
from server.models.evidence import Checkpoint, LogLeaf, LogNode, PrivateValue
from server.models.health import HealthFault
from server.models.incident import (
    Deadline,
    Incident,
    JournalEntry,
    Onset,
    Picture,
    PolicyVersion,
    Sighting,
)
from server.models.notice import Callout, Drill, Notice
from server.models.push import PushSubscription
from server.models.region import Camera, Division, Duty, EdgeBox, Person
from server.models.roster import Absence, CalendarDay, CalibrationRecord, Preflight
from server.models.server import Publication, ServerClock

__all__ = [
    "Absence",
    "Base",
    "CalendarDay",
    "CalibrationRecord",
    "Callout",
    "Camera",
    "Checkpoint",
    "CoverageRun",
    "Deadline",
    "Division",
    "Drill",
    "Duty",
    "EdgeBox",
    "EdgeUpdate",
    "HealthFault",
    "Incident",
    "JournalEntry",
    "LogLeaf",
    "LogNode",
    "Notice",
    "Onset",
    "Person",
    "Picture",
    "PolicyVersion",
    "Preflight",
    "PrivateValue",
    "Publication",
    "PushSubscription",
    "ServerClock",
    "Sighting",
    "UtcDateTime",
]
