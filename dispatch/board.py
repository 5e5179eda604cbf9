# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is open for each person, as a retained MQTT message: a phone that comes back sees it at once, with any client.

The broker's own retained messages are read back (they are the present state, whoever wrote them), what they should be
is read from the record, and the difference is published. So nothing is remembered between runs, brokers may forget,
and any number of dispatchers may do it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection
from itertools import islice
from typing import Any

import paho.mqtt.client as paho
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dispatch.channels.mqtt import Connection
from dispatch.message import handed_over
from server.admin.brokerusers import ROOT
from server.db import Database
from server.domain.lifecycle import OPEN_STATES, Event, State
from server.models import Callout, Incident, JournalEntry, Notice, Person
from server.models.notice import INFORMING
from server.settings import Broker
from server.wake import Sleeper

log = logging.getLogger("dispatch.board")

# Before somebody was called there is nobody to tell.
_OPEN = sorted(state.value for state in OPEN_STATES - {State.SUSPECTED, State.REVIEWED})
_TAKEN = (State.ACCEPTED, State.ON_SITE, State.IN_HAND, State.REPORTED, State.VERIFIED)
_AT_ONCE = 10  # incidents looked at in one step
_PAUSE_S = 0.2  # between steps: the notices themselves come first
_EVERY_S = 2.0  # all that changed is gone through at most so often
_LOOK_EVERY_S = 5.0
_TOPIC = f"{ROOT}/person/+/open"


class Board:
    """Keeps ``person/<login>/open`` right. ``step`` does a part of what is to do; ``run`` goes on until stopped."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._broker = broker
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._subscribed = threading.Event()
        self._held: dict[str, bytes] = {}  # what the broker keeps, by login
        self._wanted: dict[str, bytes] = {}
        self._seen: dict[int, tuple[object, ...]] = {}  # open incident -> as it was when it was looked at
        self._changed: dict[int, tuple[object, ...] | None] = {}  # to be looked at, as it is; None: not open any more

    def step(self) -> bool:
        """Bring the broker's messages up to the record; True when more is to do. Nothing while the broker is away."""
        if not self._connected():
            return False
        with self._database.read() as session:
            more = self._look(session)
        self._publish(whole=not more)
        return more

    def run(self, stop: threading.Event) -> None:
        """Step until told to stop, woken by changes."""
        with Sleeper(self._database.url, "board") as sleeper:
            while not stop.wait(_PAUSE_S):
                try:
                    more = self.step()
                except Exception:
                    log.exception("what is open could not be published; trying again")
                    more = False
                if not more:
                    stop.wait(_EVERY_S)
                    sleeper.sleep(_LOOK_EVERY_S)
        self.close()

    def close(self) -> None:
        """Disconnect; what the broker keeps stays."""
        if self._connection is not None:
            self._connection.drop()
            self._connection = None

    def wait_connected(self, timeout_s: float) -> bool:
        """Connect and subscribe, waiting at most this long."""
        self._connected()
        return self._subscribed.wait(timeout_s)

    def _connected(self) -> bool:
        if self._connection is not None and self._connection.dead.is_set():
            self.close()
        if self._connection is None:
            self._subscribed.clear()
            # Another broker may be another memory: all of it is compared again.
            self._held, self._wanted, self._seen, self._changed = {}, {}, {}, {}
            self._connection = Connection(self._broker, "board", self._prepare)
        return self._subscribed.is_set()

    def _prepare(self, client: paho.Client) -> None:
        known = client.on_connect

        def connected(one: paho.Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
            assert known is not None
            known(one, data, flags, reason, properties)  # type: ignore[call-arg]
            if not reason.is_failure:
                one.subscribe(_TOPIC, qos=1)

        client.on_connect = connected
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._hear

    def _hear(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        login = message.topic.split("/")[-2]
        with self._lock:
            if message.payload:
                self._held[login] = bytes(message.payload)
            else:
                self._held.pop(login, None)

    def _look(self, session: Session) -> bool:
        afresh = not self._changed
        if afresh:
            self._changed = self._find_changed(session)
        part = dict(islice(self._changed.items(), _AT_ONCE))
        if part:
            self._wanted |= _open_for(session, part)
        for number, known in part.items():
            del self._changed[number]
            if known is None:
                del self._seen[number]
            else:
                self._seen[number] = known
        # Through a long list one goes without asking again; what moved in the meantime is looked for at its end.
        return bool(self._changed) or not afresh

    def _find_changed(self, session: Session) -> dict[int, tuple[object, ...] | None]:
        # The ladder tells further people without moving the incident.
        last_told = (
            select(func.max(Callout.id))
            .where(Callout.incident_id == Incident.id, Callout.expanded_at.is_not(None))
            .correlate(Incident)
            .scalar_subquery()
        )
        rows = session.execute(
            select(Incident.id, Incident.state, Incident.grid_code, Incident.lat, last_told.label("last_told")).where(
                Incident.state.in_(_OPEN)
            )
        )
        now = {row.id: tuple(row) for row in rows}
        moved = {number: known for number, known in now.items() if self._seen.get(number) != known}
        return moved | {number: None for number in self._seen if number not in now}

    def _publish(self, *, whole: bool) -> None:
        """``whole``: every open incident was looked at, so what is wanted for nobody can go."""
        assert self._connection is not None
        with self._lock:
            stale = {login: b"" for login in self._held if whole and login not in self._wanted}
            due = {
                login: payload
                for login, payload in (self._wanted | stale).items()
                if self._held.get(login, b"") != payload
            }
        for login, payload in due.items():
            self._connection.client.publish(f"{ROOT}/person/{login}/open", payload, qos=1, retain=True)
            with self._lock:
                self._held[login] = payload
        self._wanted = {login: payload for login, payload in self._wanted.items() if payload}


def _open_for(session: Session, incident_ids: Collection[int]) -> dict[str, bytes]:
    """The messages of everybody who was told of these incidents by MQTT; empty for whom nothing is open. What was
    handed over is not open any more for those who were told before."""
    people: dict[int, str] = {
        number: login
        for number, login in session.execute(
            select(Person.id, Person.login)
            .join(Notice, Notice.person_id == Person.id)
            .where(Notice.incident_id.in_(incident_ids), Notice.channel == "mqtt")
            .distinct()
        )
    }
    rows = session.execute(
        select(Notice.person_id, Notice.payload, Incident.id, Incident.state)
        .join(Incident, Incident.id == Notice.incident_id)
        .join(Callout, Callout.id == Notice.callout_id)
        .where(
            Notice.person_id.in_(people),
            Notice.channel == "mqtt",
            Incident.state.in_(_OPEN),
            Callout.kind.not_in(INFORMING),
            Callout.id >= handed_over(Incident.id),
        )
        .order_by(Incident.opened_at, Incident.id, Notice.created_at, Notice.callout_id)
    ).all()
    takers = _takers(session, {row.id for row in rows if row.state in _TAKEN})
    boards: dict[int, dict[int, dict[str, Any]]] = {number: {} for number in people}
    for person_id, payload, incident_id, state in rows:
        # The newest word about each incident.
        boards[person_id][incident_id] = payload | {"state": state, "taken_by": takers.get(incident_id)}
    return {people[number]: _encode(list(board.values())) for number, board in boards.items()}


def _takers(session: Session, incident_ids: Collection[int]) -> dict[int, str]:
    last = (
        select(func.max(JournalEntry.id))
        .where(JournalEntry.incident_id.in_(incident_ids), JournalEntry.event == Event.ACCEPT.value)
        .group_by(JournalEntry.incident_id)
    )
    actors = session.execute(
        select(JournalEntry.incident_id, JournalEntry.actor).where(JournalEntry.id.in_(last))
    ).all()
    ids = {incident_id: int(actor.partition(":")[2]) for incident_id, actor in actors}
    names = {
        row.id: row.name for row in session.execute(select(Person.id, Person.name).where(Person.id.in_(ids.values())))
    }
    return {incident_id: names[number] for incident_id, number in ids.items() if number in names}


def _encode(open_now: list[dict[str, Any]]) -> bytes:
    if not open_now:
        return b""
    return json.dumps({"v": 1, "open": open_now}, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
