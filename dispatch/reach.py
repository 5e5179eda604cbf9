# SPDX-License-Identifier: AGPL-3.0-or-later
"""By which channels a person can be reached, and what a text to a number may hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.policy import Step
from server.models import Callout, Person, PushSubscription
from server.services import tickets

# A telephone call follows unless a receipt came in this time.
VOICE_WAIT = timedelta(seconds=45)
# A link outlives what it is for by little: then somebody else has been told.
_LINK_LIVES = timedelta(hours=1)
_ASKS = {
    "zh": (" 签收 {link} 或回复编号", " 签收 {link}", " 回复编号即签收"),
    "en": (" {link} or reply {code}", " {link}", " Reply {code}"),
}


def may_accept(callout: Callout, step: Step | None, person: Person) -> bool:
    """Whether a call-out asks this person to accept: duties and departments cannot, and later steps ask for more."""
    return person.role == "worker" and (callout.kind == "dispatch" or (step is not None and step.until == "accept"))


@dataclass(frozen=True, slots=True)
class Links:
    """Signed links into the pages at ``url``; ``replies``: whether texts that come back are taken in."""

    url: str | None = None
    key: str | None = None
    replies: bool = False

    def tails(self, callout: Callout, step: Step | None, person: Person, now: datetime) -> list[str]:
        """What may follow a text that asks this person to accept, the best first; nothing where the number's country
        takes neither links nor replies (mainland China), or where there is nothing to accept."""
        if not may_accept(callout, step, person) or (person.phone or "").startswith("+86"):
            return []
        both, link, reply = _ASKS[person.language]
        forms = [both] if self.url and self.key and self.replies else []
        forms += [link] if self.url and self.key else []
        forms += [reply] if self.replies else []
        address = ""
        if self.url and self.key:
            address = f"{self.url}/t/{tickets.tap(self.key, callout.incident_id, person.id, now + _LINK_LIVES)}"
        return [form.format(link=address, code=callout.incident.code) for form in forms]


@dataclass(slots=True)
class Reach:
    """``channels``: the names of those set up; ``listed``: by channel, the logins that have an address of that kind."""

    channels: Sequence[str]
    listed: Mapping[str, Collection[str]] = field(default_factory=dict)
    browsers: frozenset[int] = frozenset()  # people who asked for push messages in one

    def refresh(self, session: Session) -> None:
        """Look who has asked for push messages."""
        if "webpush" in self.channels:
            self.browsers = frozenset(session.scalars(select(PushSubscription.person_id).distinct()))

    def of(self, person: Person) -> list[tuple[str, timedelta]]:
        """The channels that lead to a person, and how long each waits. A call waits to see whether the word has
        arrived; with no other channel there is nothing to wait for."""
        usable = [name for name in self.channels if self._leads(name, person)]
        return [(name, VOICE_WAIT if name == "voice" and len(usable) > 1 else timedelta()) for name in usable]

    def _leads(self, name: str, person: Person) -> bool:
        if name in ("sms", "voice"):
            return bool(person.phone)
        if name == "webpush":
            return person.id in self.browsers
        return name == "mqtt" or person.login in self.listed.get(name, ())
