# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opening an incident: its first line, its first deadlines and its first call-out, together."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.lifecycle import Event, State
from server.domain.place import Place
from server.models import Callout, Division, Incident
from server.services import deadlines, journal, places, policies

# Digits and capitals that are not mistaken for one another when typed or read out.
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def open_incident(
    session: Session,
    *,
    county_code: str,
    place: Place | None,
    actor: str,
    data: Mapping[str, Any],
    now: datetime,
    camera_id: str | None = None,
    grid_code: str | None = None,
    confidence: float | None = None,
    reopens: Incident | None = None,
    answer_id: str | None = None,
) -> Incident:
    """Open an incident under the county's present policy; T2 is ``now``. The caller commits.

    ``data`` is the opening line's content (for a camera's report the times T0 and T1, see ``server.domain.clocks``);
    ``reopens`` the earlier incident whose fire this is; ``answer_id`` was minted once where it was reported.
    """
    incident = Incident(
        code=_new_code(session),
        state=State.SUSPECTED.value,
        opened_at=now,
        policy=policies.current(session, county_code),
        camera_id=camera_id,
        county_code=county_code,
        grid_code=grid_code,
        confidence=confidence,
        reopens_id=reopens.id if reopens else None,
        last_seq=0,
        last_hash=journal.GENESIS,
    )
    if place is not None:
        places.put(incident, place)
    session.add(incident)
    session.flush()
    # The line binds the rules under which the incident is judged.
    body = incident.policy.body
    policy = {"version": incident.policy.version, "sha256": sha256(journal.canonical(body).encode()).hexdigest()}
    content = dict(data) | {"policy": policy} | ({"reopens": reopens.code} if reopens else {})
    journal.append(
        session, incident, Event.OPEN, State.SUSPECTED, actor=actor, now=now, data=content, answer_id=answer_id
    )
    session.flush()
    deadlines.reconcile(session, incident, now)
    session.add(Callout(incident_id=incident.id, rung="owner", cause="dispatch", kind="dispatch", created_at=now))
    return incident


def open_again(session: Session, earlier: Incident, actor: str, now: datetime) -> Incident:
    """Open a new incident for the fire of one that was over; the old one stays as it ended."""
    place = None
    if earlier.bearing is not None:
        place = Place(earlier.bearing, earlier.lat, earlier.lon, earlier.range_m, earlier.along_m, earlier.across_m)
    opened = open_incident(
        session,
        county_code=earlier.county_code,
        place=place,
        actor=actor,
        data={},
        now=now,
        camera_id=earlier.camera_id,
        grid_code=earlier.grid_code,
        confidence=earlier.confidence,
        reopens=earlier,
    )
    opened.cloud = earlier.cloud
    return opened


def one_at_a_time(session: Session) -> None:
    """Wait until nobody else is opening: two sightings of one fire must not open two incidents, also where the
    cameras stand in different counties. Held until the transaction ends; SQLite's writers are alone anyhow."""
    root = select(Division.code).where(Division.parent_code.is_(None)).order_by(Division.code).limit(1)
    session.execute(root.with_for_update(key_share=True))


def _new_code(session: Session) -> str:
    """A short code nobody has yet: 4 characters (1,048,576 of them), 5 once those collide."""
    for length in (4, 4, 4, 5, 6, 8):
        code = "".join(secrets.choice(_ALPHABET) for _ in range(length))
        if session.scalar(select(Incident.id).where(Incident.code == code)) is None:
            return code
    raise RuntimeError("no free incident code in six tries")
