# SPDX-License-Identifier: AGPL-3.0-or-later
"""The others are told: whoever heard of a fire hears that somebody accepted it, or took that back, by the one channel
that has proved to reach them."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from server.domain.lifecycle import State
from server.models import Callout, JournalEntry, Notice, Person

# The cheapest first. Nobody is rung up only to be informed.
_CHANNELS = ("mqtt", "webpush", "chat", "webhook", "sms")
_UNANSWERED = (State.SUSPECTED, State.REVIEWED, State.DISPATCHED)


def still_true(callout: Callout) -> bool:
    """Whether what a call-out tells is still so: an acceptance can be taken back, and given again."""
    return (callout.kind == "released") == (callout.incident.state in _UNANSWERED)


def who(session: Session, callout: Callout) -> Person:
    """Who accepted, or took that back."""
    seq = int(callout.cause.partition(":")[2])
    line = select(JournalEntry.actor).where(JournalEntry.incident_id == callout.incident_id, JournalEntry.seq == seq)
    actor = session.scalars(line).one()
    return session.get_one(Person, int(actor.partition(":")[2]))


def others(session: Session, callout: Callout, but: Person) -> list[tuple[Person, str]]:
    """Everybody else who was told, each with a channel: one that brought a receipt, else one that took the word, else
    one to which it is on its way just now."""
    rows = session.scalars(
        select(Notice)
        .where(
            Notice.incident_id == callout.incident_id,
            Notice.person_id != but.id,
            Notice.channel.in_(_CHANNELS),
            or_(Notice.state.in_(("sent", "delivered")), (Notice.state == "pending") & (Notice.attempts > 0)),
        )
        .order_by(Notice.person_id)
    )
    by_person: dict[int, list[Notice]] = defaultdict(list)
    for row in rows:
        by_person[row.person_id].append(row)
    return [(found[0].person, min(found, key=_preference).channel) for found in by_person.values()]


def _preference(notice: Notice) -> tuple[bool, bool, int]:
    return notice.delivered_at is None, notice.sent_at is None, _CHANNELS.index(notice.channel)
