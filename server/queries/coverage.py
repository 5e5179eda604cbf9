# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of a time each camera was truly looked at, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Camera, CoverageRun

LOOKED = "ok"


@dataclass(frozen=True, slots=True)
class Coverage:
    """One camera in a period, in seconds. ``blind_s`` is by cause (docs/wire.md's states); ``unreported_s`` is what
    no box has told of yet: a box without link tells of it later."""

    camera: str
    looked_s: float
    looks: int
    blind_s: Mapping[str, float]
    unreported_s: float

    @property
    def share(self) -> float:
        """Of the period, truly looked at: 0 to 1."""
        whole = self.looked_s + sum(self.blind_s.values()) + self.unreported_s
        return self.looked_s / whole if whole else 0.0


def coverage(session: Session, since: datetime, until: datetime) -> list[Coverage]:
    """Every registered camera, by id. ``looks`` of a run that reaches beyond the period count in proportion."""
    runs = session.scalars(
        select(CoverageRun)
        .where(CoverageRun.to_at > since, CoverageRun.from_at < until)
        .order_by(CoverageRun.camera_id, CoverageRun.from_at)
    ).all()
    by_camera: dict[str, list[CoverageRun]] = {}
    for run in runs:
        by_camera.setdefault(run.camera_id, []).append(run)
    cameras = session.scalars(select(Camera.id).order_by(Camera.id)).all()
    return [_sum(camera, by_camera.get(camera, []), since, until) for camera in cameras]


def _sum(camera: str, runs: list[CoverageRun], since: datetime, until: datetime) -> Coverage:
    """Time told of twice (a restart by a clock that is a little off) counts once, for the earlier run."""
    seconds: dict[str, float] = {}
    looks, told_until = 0.0, since
    for run in runs:
        begin, end = max(run.from_at, told_until), min(run.to_at, until)
        part = max(0.0, (end - begin).total_seconds())
        whole = (run.to_at - run.from_at).total_seconds()
        seconds[run.state] = seconds.get(run.state, 0.0) + part
        looks += run.looks * (part / whole if whole else 1.0)
        told_until = max(told_until, end)
    looked = seconds.pop(LOOKED, 0.0)
    unreported = (until - since).total_seconds() - looked - sum(seconds.values())
    return Coverage(camera, looked, round(looks), dict(sorted(seconds.items())), max(0.0, unreported))
