# SPDX-License-Identifier: AGPL-3.0-or-later
"""Things the edge box's tests need again and again."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from detector.wire import Interval, ModelName, PictureAnnounced, Sighting, Size, TrackPoint

START = datetime(2026, 10, 4, 17, 30, tzinfo=UTC)
BOX = (0.41, 0.52, 0.44, 0.57)


class StillClock:
    """Both clocks stand still until told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 1000 + self.seconds


def sighting(picture: bytes | None = None, edge: str = "edge-1") -> Sighting:
    """A sighting with an id of its own."""
    return Sighting(
        id=str(uuid.uuid4()),
        edge=edge,
        camera="cam-1",
        preset=None,
        t0=Interval(earliest=START, latest=START + timedelta(seconds=10)),
        t1=START + timedelta(seconds=14),
        sent_at=START + timedelta(seconds=14),
        label="smoke",
        confidence=0.8,
        box=BOX,
        frame=Size(width=1280, height=720),
        view=None,
        track=(TrackPoint(at=START, box=BOX, confidence=0.8),),
        model=ModelName(name="smoke", sha256="0" * 64),
        picture=PictureAnnounced(sha256="1" * 64, bytes=len(picture)) if picture else None,
    )
