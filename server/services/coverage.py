# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeping the edge boxes' reports of when they looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from server.domain.errors import Missing
from server.models import Camera, CoverageRun


@dataclass(frozen=True, slots=True)
class Run:
    """One stretch, by the edge's clock."""

    state: str
    from_at: datetime
    to_at: datetime
    looks: int


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """What one box says of one camera; ``id`` was minted once on the box."""

    id: str
    edge: str
    camera: str
    preset: str | None
    clock_offset_ms: float | None
    clock_error_ms: float | None
    runs: Sequence[Run]


def record(session: Session, report: CoverageReport, now: datetime) -> bool:
    """Keep a report; False when it is here already. Raises Missing when the camera is not that box's."""
    camera = session.get(Camera, report.camera)
    if camera is None or camera.edge_id != report.edge:
        raise Missing(f"there is no camera {report.camera!r} on edge box {report.edge!r}")
    if session.get(CoverageRun, (report.id, 0)) is not None:
        return False
    offset = timedelta(milliseconds=report.clock_offset_ms or 0.0)
    session.add_all(
        CoverageRun(
            report_id=report.id,
            number=number,
            camera_id=report.camera,
            preset=report.preset,
            state=run.state,
            from_at=run.from_at + offset,
            to_at=run.to_at + offset,
            looks=run.looks,
            clock_error_ms=report.clock_error_ms,
            received_at=now,
        )
        for number, run in enumerate(report.runs)
    )
    session.flush()
    return True
