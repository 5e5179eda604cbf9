# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that cannot see and boxes that are silent: when it is worth telling the county's duty, and that it is over.

Told once, when it has lasted; told once more when it is well again and has stayed so. What comes and goes in between
is one fault. While a whole box is silent, its cameras are not told of one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session, aliased

from server.models import Camera, EdgeBox, HealthFault

EVERY_S = 15.0
TOLD_AFTER = timedelta(minutes=10)
WELL_AFTER = timedelta(minutes=2)
SILENT_AFTER = timedelta(minutes=3)
"""A box speaks each half minute."""
OFFLINE = "offline"
# Looked at, though not as planned.
_WATCHED = frozenset({"ok", "resized", "slow"})
# Neither says anything of a fault: it may be there still, or be about to show.
_UNDECIDED = frozenset({"starting", "manual"})
_DAY_HOURS = (8, 16)


def observe(session: Session, edge: str, states: Mapping[str, str], now: datetime) -> None:
    """A box has spoken: it is well itself, and its cameras are in these states; the caller commits."""
    opened = {fault.camera_id: fault for fault in session.scalars(_open().where(HealthFault.edge_id == edge))}
    if (silent := opened.get(None)) is not None and silent.well_at is None:
        silent.well_at = now
    for camera in session.scalars(select(Camera.id).where(Camera.edge_id == edge)):
        state = states.get(camera, "starting")
        if state not in _UNDECIDED:
            _note(session, edge, camera, opened.get(camera), None if state in _WATCHED else state, now)


def watch(session: Session, now: datetime) -> None:
    """Notice boxes that have gone silent, and what has stayed well that nobody was told of; the caller commits."""
    opened = {fault.edge_id: fault for fault in session.scalars(_open().where(HealthFault.camera_id.is_(None)))}
    silent = or_(EdgeBox.online.is_(False), EdgeBox.status_at < now - SILENT_AFTER)
    for edge in session.scalars(select(EdgeBox.id).where(EdgeBox.status_at.is_not(None), silent)):
        _note(session, edge, None, opened.get(edge), OFFLINE, now)
    untold = _open().where(HealthFault.told_at.is_(None), HealthFault.well_at <= now - WELL_AFTER)
    for fault in session.scalars(untold):
        fault.closed_at = now


def to_tell(session: Session, now: datetime) -> Sequence[HealthFault]:
    """The faults to be told of now, the longest first, locked: those with a ``well_at`` that they are over, the others
    that they are there."""
    box = aliased(HealthFault)
    silent = select(box.edge_id).where(box.camera_id.is_(None), box.closed_at.is_(None))
    begun = and_(
        HealthFault.told_at.is_(None),
        HealthFault.well_at.is_(None),
        HealthFault.since <= now - TOLD_AFTER,
        or_(HealthFault.camera_id.is_(None), HealthFault.edge_id.not_in(silent)),
    )
    over = and_(HealthFault.told_at.is_not(None), HealthFault.well_at <= now - WELL_AFTER)
    due = _open().where(or_(begun, over)).order_by(HealthFault.since, HealthFault.id)
    found = session.scalars(due.with_for_update(of=HealthFault, skip_locked=True)).all()
    return [fault for fault in found if fault.well_at is not None or _is_fault(fault, now)]


def told(fault: HealthFault, now: datetime) -> None:
    """The county's duty is told what ``to_tell`` said; the caller commits."""
    if fault.well_at is None:
        fault.told_at = now
    else:
        fault.closed_at = now


def _open() -> Select[HealthFault]:
    return select(HealthFault).where(HealthFault.closed_at.is_(None))


def _note(
    session: Session, edge: str, camera: str | None, fault: HealthFault | None, state: str | None, now: datetime
) -> None:
    """What its open fault becomes by being in ``state``, None for well."""
    if fault is None:
        if state is not None:
            session.add(HealthFault(edge_id=edge, camera_id=camera, state=state, since=now))
    elif state is not None:
        fault.state, fault.well_at = state, None
    elif fault.well_at is None:
        fault.well_at = now


def _is_fault(fault: HealthFault, now: datetime) -> bool:
    """A camera that sees nothing at night is as it should be, by the sun at its place."""
    if fault.state != "dark" or fault.camera is None:
        return True
    at = now.astimezone(UTC)
    hour = (at.hour + at.minute / 60 + fault.camera.lon / 15) % 24
    return _DAY_HOURS[0] <= hour < _DAY_HOURS[1]
