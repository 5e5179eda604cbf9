# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dispatcher on the small region: what it wrote, and a channel that keeps what it is given."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from dispatch.channels import Outcome, Outgoing, Sent
from dispatch.expand import Expander
from server.models import Incident, Notice, Person
from tests.support.world import World

ZONE = ZoneInfo("Asia/Shanghai")


@dataclass
class WorldClock:
    """Tells the world's time."""

    world: World

    def now(self, _session: Session) -> datetime:
        """The moment at which the world stands."""
        return self.world.now


@dataclass
class Pigeon:
    """A channel whose outcomes are given beforehand (then Sent), and which keeps what it was given.

    While ``gate`` is closed, sends wait: a channel that hangs.
    """

    name: str = "mqtt"
    parallel: int = 8
    outcomes: list[Outcome] = field(default_factory=list)
    carried: list[Outgoing] = field(default_factory=list)
    up: bool = True
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def ready(self) -> bool:
        """Whether it flies today."""
        return self.up

    def send(self, notice: Outgoing) -> Outcome:
        """Keep the notice and answer as told."""
        self.gate.wait(30)
        self.carried.append(notice)
        return self.outcomes.pop(0) if self.outcomes else Sent(f"ref-{len(self.carried)}")

    def close(self) -> None:
        """Nothing to let go of."""


def expand(world: World, channels: Sequence[str] = ("mqtt", "sms")) -> int:
    """Expand everything that waits."""
    with world.database.write() as session:
        return Expander(channels, ZONE).step(session, world.now)[0]


@dataclass(frozen=True)
class Told:
    """A notice as written."""

    login: str
    channel: str
    rung: str
    text: str
    state: str


def told(world: World, code: str, channel: str | None = None) -> list[Told]:
    """Everybody told of an incident so far, in the order of writing."""
    with world.database.read() as session:
        rows = session.execute(
            select(Notice, Person.login)
            .join(Person, Person.id == Notice.person_id)
            .join(Incident, Incident.id == Notice.incident_id)
            .where(Incident.code == code)
            .order_by(Notice.created_at, Notice.callout_id, Person.id, Notice.channel)
        )
        return [
            Told(login, notice.channel, notice.payload["rung"], notice.payload["text"], notice.state)
            for notice, login in rows
            if channel in (None, notice.channel)
        ]


def logins(world: World, code: str) -> list[str]:
    """Who was told, each once, in order."""
    return list(dict.fromkeys(notice.login for notice in told(world, code)))
