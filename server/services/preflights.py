# SPDX-License-Identifier: AGPL-3.0-or-later
"""The daily look at whether everybody who would have to be called can be: kept, so that the console can warn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from server import wake
from server.models import Preflight

# Before the day's work begins, local time.
_DAILY = time(7, 0)
_KEPT = timedelta(days=400)


def is_due(session: Session, now: datetime, zone: ZoneInfo) -> bool:
    """Whether the last look is from before this morning's hour (yesterday's, while that has not come)."""
    last = session.scalar(select(func.max(Preflight.at)))
    hour = datetime.combine(now.astimezone(zone).date(), _DAILY, zone)
    return last is None or last < (hour if now >= hour else hour - timedelta(days=1))


def keep(
    session: Session,
    now: datetime,
    channels: Mapping[str, Collection[str] | None],
    gaps: Sequence[Mapping[str, Any]],
) -> None:
    """Keep what a look found (``server.queries.preflight.look``), and forget the old ones; the caller commits."""
    session.execute(delete(Preflight).where(Preflight.at < now - _KEPT))
    there = {name: None if logins is None else sorted(logins) for name, logins in channels.items()}
    session.add(Preflight(at=now, channels=there, gaps=[dict(gap) for gap in gaps]))
    wake.request(session)
