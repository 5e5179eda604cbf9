# SPDX-License-Identifier: AGPL-3.0-or-later
"""MQTT in: sightings, pictures, box status, receipts and answers become records, and their senders are told."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from server import wake
from server.admin.brokerusers import ROOT
from server.db import Clock, Database
from server.domain.errors import DomainError, Invalid, Missing
from server.engine import timekeeping
from server.engine.wire import (
    MAX_PICTURE,
    AnswerMessage,
    CoverageMessage,
    OnsetMessage,
    ReceiptMessage,
    SightingMessage,
    StatusMessage,
    WantMessage,
    parse,
    sighting_id_of,
    to_report,
)
from server.locate.terrain import Terrain
from server.models import EdgeBox, Notice, Person
from server.queries import falseplaces
from server.services import actors, coverage, health, incidents, onsets, outcomes, pictures, sightings, updates

log = logging.getLogger("intake")
Publish = Callable[[str, bytes], None]

SUBSCRIPTIONS = [
    f"{ROOT}/edge/+/sighting",
    f"{ROOT}/edge/+/picture/+",
    f"{ROOT}/edge/+/onset",
    f"{ROOT}/edge/+/status",
    f"{ROOT}/edge/+/time",
    f"{ROOT}/edge/+/coverage",
    f"{ROOT}/edge/+/want",
    f"{ROOT}/person/+/receipt",
    f"{ROOT}/person/+/answer",
]


class Intake:
    """Turns one message into one transaction. ``publish`` sends the acknowledgements; fires are placed on ``terrain``,
    on flat ground where there is none."""

    def __init__(
        self, database: Database, clock: Clock, evidence: Path, publish: Publish, terrain: Terrain | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._evidence = evidence
        self._publish = publish
        self._terrain = terrain

    def handle(self, topic: str, payload: bytes) -> None:
        """Handle one message. Bad ones are refused to their sender and logged; database errors propagate, and
        the message must then be handled again."""
        match topic.removeprefix(f"{ROOT}/").split("/"):
            case ["edge", edge, "sighting"]:
                self._sighting(edge, payload)
            case ["edge", edge, "picture", picture_id]:
                self._picture(edge, picture_id, payload)
            case ["edge", edge, "onset"]:
                self._onset(edge, payload)
            case ["edge", edge, "status"]:
                self._refusing(f"status of {edge}", lambda: self._status(edge, payload))
            case ["edge", edge, "coverage"]:
                self._coverage(edge, payload)
            case ["edge", edge, "want"]:
                self._refusing(f"want of {edge}", lambda: self._want(edge, payload))
            case ["edge", edge, "time"]:
                self._refusing(f"time for {edge}", lambda: self._time(edge, payload))
            case ["person", login, "receipt"]:
                self._refusing(f"receipt of {login}", lambda: self._receipt(login, payload))
            case ["person", login, "answer"]:
                self._answer(login, payload)
            case _:
                log.warning("a message on the unknown topic %r was passed over", topic)

    def _refusing(self, what: str, action: Callable[[], None]) -> None:
        """For messages whose senders wait for no answer: log the refusal and go on."""
        try:
            action()
        except DomainError as error:
            log.warning("%s refused: %s", what, error)

    # Edge boxes

    def _sighting(self, edge: str, payload: bytes) -> None:
        try:
            message = parse(SightingMessage, payload)
            if message.edge != edge:
                raise Invalid(f"edge: the message names {message.edge!r} but came from {edge!r}")
            with self._database.write() as session:
                now = self._clock.now(session)
                recorded = sightings.record(session, to_report(message, now), now, self._terrain)
                code, opened = recorded.incident.code, recorded.opened
        except DomainError as error:
            log.warning("sighting from %s refused: %s", edge, error)
            self._ack(edge, sighting_id_of(payload), "sighting", "refused", str(error))
            return
        if not recorded.duplicate:
            log.info("%s %s by %s", "opened" if opened else "joined", code, message.camera)
        self._ack(edge, str(message.id), "sighting", "duplicate" if recorded.duplicate else "stored")

    def _picture(self, edge: str, picture_id: str, payload: bytes) -> None:
        try:
            if len(payload) > MAX_PICTURE:
                raise Invalid(f"the picture has {len(payload):,} bytes; at most {MAX_PICTURE:,} are taken")
            with self._database.write() as session:
                now = self._clock.now(session)
                stored = pictures.add_edge_picture(session, picture_id, edge, payload, folder=self._evidence, now=now)
        except DomainError as error:
            log.warning("picture from %s refused: %s", edge, error)
            self._ack(edge, picture_id, "picture", "refused", str(error))
            return
        self._ack(edge, picture_id, "picture", "stored" if stored else "duplicate")

    def _onset(self, edge: str, payload: bytes) -> None:
        try:
            message = parse(OnsetMessage, payload)
            with self._database.write() as session:
                stored = onsets.record(session, message.to_report(edge), self._clock.now(session))
        except DomainError as error:
            log.warning("onset from %s refused: %s", edge, error)
            self._ack(edge, sighting_id_of(payload), "onset", "refused", str(error))
            return
        self._ack(edge, str(message.id), "onset", "stored" if stored else "duplicate")

    def _ack(self, edge: str, sighting_id: str | None, part: str, result: str, reason: str | None = None) -> None:
        if sighting_id is None:
            return  # nobody can be told which message it was
        answer = {"v": 1, "id": sighting_id, "part": part, "result": result, "reason": reason}
        self._send(f"{ROOT}/edge/{edge}/ack", answer)

    def _status(self, edge: str, payload: bytes) -> None:
        message = parse(StatusMessage, payload)
        with self._database.write() as session:
            box = session.get(EdgeBox, edge)
            if box is None:
                raise Missing(f"there is no edge box {edge!r}")
            now = box.status_at = self._clock.now(session)
            box.online = message.online
            if message.cameras or message.online:  # a last will knows nothing of cameras: keep what was known
                box.status = message.model_dump(mode="json")
            wake.request(session)
            if message.online:
                health.observe(session, edge, message.states, now)
            offers = updates.reconcile(session, edge, message.versions, now) if message.online else []
            places = falseplaces.of_edge(session, edge, now) if message.places is not None else b""
        for offer in offers:
            self._publish(f"{ROOT}/edge/{edge}/update", offer)
        if message.places is not None and hashlib.sha256(places).hexdigest() != message.places:
            self._publish(f"{ROOT}/edge/{edge}/places", places)

    def _want(self, edge: str, payload: bytes) -> None:
        message = parse(WantMessage, payload)
        with self._database.read() as session:
            piece = updates.piece(session, edge, message.sha256, message.offset, updates.folder(self._evidence.parent))
        self._publish(f"{ROOT}/edge/{edge}/piece/{message.sha256}/{message.offset}", piece)

    def _coverage(self, edge: str, payload: bytes) -> None:
        try:
            message = parse(CoverageMessage, payload)
            with self._database.write() as session:
                stored = coverage.record(session, message.to_report(edge), self._clock.now(session))
        except DomainError as error:
            log.warning("coverage from %s refused: %s", edge, error)
            self._ack(edge, sighting_id_of(payload), "coverage", "refused", str(error))
            return
        self._ack(edge, str(message.id), "coverage", "stored" if stored else "duplicate")

    def _time(self, edge: str, payload: bytes) -> None:
        self._publish(f"{ROOT}/edge/{edge}/time-reply", timekeeping.answer(self._database, self._clock, payload))

    # Phones

    def _receipt(self, login: str, payload: bytes) -> None:
        message = parse(ReceiptMessage, payload)
        with self._database.write() as session:
            notice = session.get(Notice, str(message.notice))
            if notice is None or notice.person.login != login:
                raise Missing(f"there is no notice {message.notice} to {login!r}")
            outcomes.record_delivered(session, notice, self._clock.now(session))

    def _answer(self, login: str, payload: bytes) -> None:
        result: dict[str, Any] = {"v": 1, "id": None, "result": "done", "reason": None, "state": None}
        try:
            message = parse(AnswerMessage, payload)
            result["id"] = message.id
            result["state"] = self._apply(login, message)
        except DomainError as error:
            log.warning("answer from %s refused: %s", login, error)
            result |= {"result": "refused", "reason": str(error), "code": error.code}
        self._send(f"{ROOT}/person/{login}/result", result)

    def _apply(self, login: str, message: AnswerMessage) -> str:
        with self._database.write() as session:
            person = session.scalar(select(Person).where(Person.login == login))
            if person is None:
                raise Missing(f"there is no person {login!r}")
            now: datetime = self._clock.now(session)
            entry = incidents.apply(
                session,
                message.incident,
                message.domain_event,
                actor=actors.person(person),
                now=now,
                data={**message.journal_data(), "via": "mqtt"},
                answer_id=message.id,
            )
            return entry.to_state

    def _send(self, topic: str, message: dict[str, Any]) -> None:
        self._publish(topic, json.dumps(message, ensure_ascii=False).encode())
