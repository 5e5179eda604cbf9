# SPDX-License-Identifier: AGPL-3.0-or-later
"""A notice as it goes over the wire (docs/wire.md, Notice), in the words of its channel and its reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, SQLColumnExpression, func, select
from sqlalchemy.orm import Session, aliased

from dispatch import texts
from dispatch.region import Region
from dispatch.texts import Facts
from server.domain.policy import Key, Policy, Step
from server.models import Callout, Incident
from server.models.notice import INFORMING

# What a ladder's step waits for -> the first half of its sentence's key.
_STAGES = {"accept": "respond", "arrive": "arrive", "report": "dispose", "verify": "verify", "close": "close"}


def compose(
    callout: Callout,
    policy: Policy,
    facts: Facts,
    language: str,
    channel: str,
    tails: Sequence[str] = (),
) -> dict[str, Any]:
    """The payload of one notice, all but its id. ``tails``: what may follow a text, the best first."""
    incident = callout.incident
    picture = incident.first_picture
    return words(facts, language, channel, tails) | {
        "incident": incident.code,
        "rung": callout.rung,
        "kind": callout.kind,
        "lat": incident.lat,
        "lon": incident.lon,
        "radius_m": _radius(incident),
        "bearing": incident.bearing,
        "t2": incident.opened_at.isoformat(),
        "accept_by": (incident.opened_at + timedelta(seconds=policy.respond_limit_s)).isoformat(),
        "dispose_by": (incident.opened_at + timedelta(seconds=policy.dispose_limit_s)).isoformat(),
        "picture": f"/media/{picture}.jpg" if picture else None,
    }


def words(facts: Facts, language: str, channel: str, tails: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a payload that people read, and for texts the facts alone, for providers with templates."""
    read = {
        "v": 1,
        "drill": facts.drill,
        "title": texts.title(language, facts),
        "text": texts.sms(language, facts, tails) if channel == "sms" else texts.sentence(language, facts),
        "place": " ".join(facts.place),
    }
    template = {"what": facts.what, "params": texts.params(language, facts)}
    return read | ({"template": template} if channel == "sms" else {})


def facts_of(place: Region, callout: Callout, policy: Policy, part: str, zone: ZoneInfo) -> Facts:
    """What can be said of an incident to somebody. ``part``: "lead", "neighbour" or "unplaced"; in a call-out that
    informs, the name of who accepted."""
    incident = callout.incident
    step = step_of(policy, callout)
    limit_s = policy.dispose_limit_s if step and step.until == "report" else policy.respond_limit_s
    lead = place.name(incident.grid_code) if incident.grid_code else ""
    if callout.kind in INFORMING:
        lead = part
    return Facts(
        code=incident.code,
        what=_what(policy, callout, step, part),
        kind=callout.kind,
        place=_place(place, incident),
        time=f"{incident.opened_at.astimezone(zone):%H:%M}",
        minutes=_minutes(step, callout) if step else 0,
        limit=limit_s // 60,
        bearing=round(incident.bearing) % 360 if incident.bearing is not None else None,
        lead=lead,
    )


def _minutes(step: Step, callout: Callout) -> int:
    """How long the wait for a step has lasted when it speaks."""
    return (step.after_s + Key.parse(callout.cause).round * step.every_s) // 60


def _what(policy: Policy, callout: Callout, step: Step | None, part: str) -> str:
    if callout.kind in INFORMING:
        return callout.kind
    if (
        step is not None
        and step.until == "report"
        and callout.kind == "remind"
        and step.after_s > policy.dispose_limit_s
    ):
        return "dispose.again"
    if step is not None:
        return f"{_STAGES[step.until]}.{callout.kind}"
    if part == "unplaced" and callout.incident.bearing is None:
        return "nowhere"
    if part != "lead":
        return part
    return "transfer" if callout.cause.startswith("transfer:") else "dispatch"


def asked(session: Session, callout: Callout) -> Callout:
    """The call-out whose step is spoken of: its own, or that of the people who were not reached and for whom it stands
    in."""
    while callout.cause.startswith("unreached:"):
        callout = session.get_one(Callout, int(callout.cause.partition(":")[2]))
    return callout


def handed_over(incident_id: SQLColumnExpression[int]) -> ColumnElement[int]:
    """The id of the call-out of an incident's last hand-over, 0 before there is one; for a statement's condition."""
    later = aliased(Callout)
    return (
        select(func.coalesce(func.max(later.id), 0))
        .where(later.incident_id == incident_id, later.cause.startswith("transfer:"))
        .scalar_subquery()
    )


def step_of(policy: Policy, callout: Callout) -> Step | None:
    """The ladder's step that caused the call-out; None for a first call. After a transfer the key carries its seq."""
    key = Key.parse(callout.cause).step if ":" not in callout.cause else None
    return next((step for step in policy.ladder if step.key == key), None)


def _place(place: Region, incident: Incident) -> tuple[str, ...]:
    """The names from the county to the village; without a grid the county's and the camera's."""
    if incident.grid_code is not None:
        return place.names(incident.grid_code)
    camera = (incident.camera.name,) if incident.camera is not None else ()
    return place.names(incident.county_code) + camera


def _radius(incident: Incident) -> float | None:
    """Two standard deviations of the worse direction, metres."""
    if incident.along_m is None or incident.across_m is None:
        return None
    return round(2 * max(incident.along_m, incident.across_m), 0)
