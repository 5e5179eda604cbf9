# SPDX-License-Identifier: AGPL-3.0-or-later
"""From claimed notices to what a channel is given: without the needless, within the budget, and several fires for one
person in one text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from dispatch import needless, texts
from dispatch.budget import Budget
from dispatch.channels import Outgoing
from server.models import Callout, Incident, Notice
from server.services import notices, outcomes
from server.services.notices import NewNotice


@dataclass(frozen=True, slots=True)
class Parcel:
    """One thing to send. ``ids``: the notices it settles, its own among them; ``attempts``: the most of theirs."""

    channel: str
    notice: Outgoing
    ids: tuple[str, ...]
    attempts: int


def claim(session: Session, channel: str, now: datetime, room: int, budget: Budget) -> list[Parcel]:
    """Claim what is due on a channel, at most ``room`` notices; the caller commits, then sends."""
    claimed = notices.claim(session, channel, now, room)
    _load(session, claimed)
    wanted = []
    for notice in claimed:
        if (reason := needless.reason(session, notice)) is not None:
            outcomes.skip(session, notice, reason, now)
        else:
            wanted.append(notice)
    over = budget.over_budget(session, wanted, now)
    for notice in wanted:
        if notice.id in over:
            outcomes.record_failed(session, notice.id, "the number's texts for today are used up", now)
    return _bundle(channel, [notice for notice in wanted if notice.id not in over])


def _load(session: Session, claimed: Sequence[Notice]) -> None:
    """Give the notices their incidents and call-outs, one question for each kind."""
    wanted_incidents = {notice.incident_id for notice in claimed}
    wanted_callouts = {notice.callout_id for notice in claimed}
    incidents = {row.id: row for row in session.scalars(select(Incident).where(Incident.id.in_(wanted_incidents)))}
    callouts = {row.id: row for row in session.scalars(select(Callout).where(Callout.id.in_(wanted_callouts)))}
    for notice in claimed:
        if notice.incident_id is not None and notice.callout_id is not None:
            set_committed_value(notice, "incident", incidents[notice.incident_id])
            set_committed_value(notice, "callout", callouts[notice.callout_id])


def fresh(written: Sequence[NewNotice]) -> list[Parcel]:
    """Notices just written and claimed: each goes by itself."""
    return [_parcel([notice]) for notice in written]


def _bundle(channel: str, claimed: Sequence[Notice]) -> list[Parcel]:
    """First calls for the same person share one text or one message to a group; everything else goes by itself."""
    groups: dict[object, list[Notice]] = defaultdict(list)
    for notice in claimed:
        alike = channel in ("sms", "chat") and notice.callout is not None and notice.callout.kind == "dispatch"
        groups[notice.person_id if alike else notice.id].append(notice)
    return [_parcel(group) for group in groups.values()]


def _parcel(group: Sequence[Notice] | Sequence[NewNotice]) -> Parcel:
    first, person = group[0], group[0].person
    payload = first.payload
    if len(group) > 1:
        codes = [str(notice.payload["incident"]) for notice in group]
        template = {"what": "bundle", "params": {"count": str(len(codes)), "codes": " ".join(codes)}}
        payload = payload | {"text": texts.bundle(person.language, codes), "template": template}
    outgoing = Outgoing(first.id, person.login, person.phone, person.language, payload)
    return Parcel(
        first.channel, outgoing, tuple(notice.id for notice in group), max(notice.attempts for notice in group)
    )
