# SPDX-License-Identifier: AGPL-3.0-or-later
"""What arrives over MQTT, good and bad."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from datetime import datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.brokerusers import ROOT
from server.domain.lifecycle import State
from server.engine.broker import BrokerLink
from server.engine.intake import Intake
from server.models import EdgeBox, Incident, Notice, Person, Picture, Sighting
from server.services import bulk, notices, outcomes
from server.services.notices import Draft
from tests.support.brokers import RunningBroker
from tests.support.world import World, jpeg


class StandingClock:
    """Tells the world's time."""

    def __init__(self, world: World) -> None:
        self.world = world

    def now(self, session: Session) -> datetime:
        """The time in the story."""
        return self.world.now


class Desk:
    """An intake whose acknowledgements are kept to be read."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.intake = Intake(
            world.database,
            StandingClock(world),
            world.evidence,
            lambda topic, payload: self.sent.append((topic.removeprefix(f"{ROOT}/"), json.loads(payload))),
        )

    def receive(self, topic: str, payload: bytes | dict[str, Any]) -> dict[str, Any] | None:
        """A message comes in; returns the acknowledgement that goes out, if any."""
        before = len(self.sent)
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.intake.handle(f"{ROOT}/{topic}", raw)
        return self.sent[-1][1] if len(self.sent) > before else None


@pytest.fixture
def desk(world: World) -> Desk:
    """The intake at its desk."""
    return Desk(world)


def message(world: World, **changes: Any) -> dict[str, Any]:
    """A sighting as an edge box sends it."""
    now = world.now
    whole = {
        "v": 1,
        "id": str(uuid.uuid4()),
        "edge": "edge-1",
        "camera": "tower-1",
        "t0": {
            "earliest": (now - timedelta(seconds=20)).isoformat(),
            "latest": (now - timedelta(seconds=10)).isoformat(),
        },
        "t1": (now - timedelta(seconds=1)).isoformat(),
        "sent_at": now.isoformat(),
        "clock": {"offset_ms": None, "error_ms": None},
        "label": "smoke",
        "confidence": 0.8,
        "box": [0.4, 0.5, 0.45, 0.55],
        "frame": {"width": 1280, "height": 720},
        "view": None,
        "track": [],
        "picture": None,
    }
    return whole | changes


def test_a_sighting_is_stored_then_known(desk: Desk) -> None:
    """Stored once, acknowledged each time."""
    sighting = message(desk.world)
    assert desk.receive("edge/edge-1/sighting", sighting) == {
        "v": 1, "id": sighting["id"], "part": "sighting", "result": "stored", "reason": None
    }  # fmt: skip
    answer = desk.receive("edge/edge-1/sighting", sighting)
    assert answer is not None
    assert answer["result"] == "duplicate"
    with desk.world.database.read() as session:
        assert len(session.scalars(select(Sighting)).all()) == 1


BAD = [
    ({"camera": "tower-9"}, "tower-9"),
    ({"edge": "edge-2"}, "edge-2"),
    ({"v": 2}, "version 2"),
    ({"box": [0.5, 0.5, 0.4, 0.6]}, "x1 < x2"),
    ({"box": [0.5, 0.5, 1.4, 0.6]}, "box.2"),
    ({"t1": "2026-10-08T09:00:00"}, "t1"),
    ({"t0": {"earliest": "2026-10-08T09:00:10Z", "latest": "2026-10-08T09:00:00Z"}}, "earliest"),
    ({"confidence": float("nan")}, "confidence"),
    ({"frame": {"width": 0, "height": 720}}, "frame.width"),
    ({"camera": "../../etc/passwd"}, "camera"),
    ({"filler": "x" * 70_000}, "bytes"),
    ({"preset": "a\0b"}, "NUL"),
    ({"preset": "\ud800"}, "half a character"),
]


@pytest.mark.parametrize(("change", "named"), BAD, ids=[named for _, named in BAD])
def test_a_bad_sighting_is_refused_by_name_and_nothing_is_written(
    desk: Desk, change: dict[str, Any], named: str
) -> None:
    """The acknowledgement says what is wrong; what was accepted before stays."""
    desk.receive("edge/edge-1/sighting", message(desk.world))
    answer = desk.receive("edge/edge-1/sighting", message(desk.world, **change))
    assert answer is not None
    assert answer["result"] == "refused"
    assert named in answer["reason"]
    with desk.world.database.read() as session:
        assert len(session.scalars(select(Sighting)).all()) == 1


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"[" * 60_000])
def test_rubbish_is_survived(desk: Desk, raw: bytes) -> None:
    """What cannot be read at all is passed over, on every topic."""
    for topic in ("edge/edge-1/sighting", "edge/edge-1/status", "person/worker-1/receipt", "nowhere"):
        assert desk.receive(topic, raw) is None


def test_a_picture_follows_its_sighting(desk: Desk) -> None:
    """The announced bytes are kept under their digest; others are refused; twice is once."""
    photo = jpeg()
    digest = hashlib.sha256(photo).hexdigest()
    sighting = message(desk.world, picture={"sha256": digest, "bytes": len(photo)})
    desk.receive("edge/edge-1/sighting", sighting)
    topic = f"edge/edge-1/picture/{sighting['id']}"
    results = [desk.receive(topic, data) for data in (jpeg(shade=10), photo, photo)]
    assert [answer and answer["result"] for answer in results] == ["refused", "stored", "duplicate"]
    with desk.world.database.read() as session:
        assert session.scalars(select(Picture.sha256)).all() == [digest]
    assert (desk.world.evidence / digest[:2] / f"{digest}.jpg").read_bytes() == photo


def test_two_sightings_of_one_fire_may_bring_the_same_picture(desk: Desk) -> None:
    """A frozen camera sends the same bytes twice: kept once, and both are acknowledged."""
    photo = jpeg()
    picture = {"sha256": hashlib.sha256(photo).hexdigest(), "bytes": len(photo)}
    results = []
    for _ in range(2):
        sighting = message(desk.world, picture=picture)
        desk.receive("edge/edge-1/sighting", sighting)
        results.append(desk.receive(f"edge/edge-1/picture/{sighting['id']}", photo))
    assert [answer and answer["result"] for answer in results] == ["stored", "duplicate"]


def test_a_picture_of_another_box_or_of_nothing_is_refused(desk: Desk) -> None:
    """A box cannot hang a picture on another's sighting."""
    photo = jpeg()
    picture = {"sha256": hashlib.sha256(photo).hexdigest(), "bytes": len(photo)}
    sighting = message(desk.world, picture=picture)
    desk.receive("edge/edge-1/sighting", sighting)
    for topic in (f"edge/edge-2/picture/{sighting['id']}", f"edge/edge-1/picture/{uuid.uuid4()}"):
        answer = desk.receive(topic, photo)
        assert answer is not None
        assert answer["result"] == "refused"


def test_a_torn_picture_is_refused(desk: Desk) -> None:
    """Half a JPEG whose digest is right is still no evidence."""
    torn = jpeg(width=1280, height=720)[:-900]
    picture = {"sha256": hashlib.sha256(torn).hexdigest(), "bytes": len(torn)}
    sighting = message(desk.world, picture=picture)
    desk.receive("edge/edge-1/sighting", sighting)
    answer = desk.receive(f"edge/edge-1/picture/{sighting['id']}", torn)
    assert answer is not None
    assert "damaged" in answer["reason"]


def test_an_old_alarm_is_taken_and_marked_late(desk: Desk) -> None:
    """A week without link: the alarm arrives, opens its incident and says that it is late."""
    old = desk.world.now - timedelta(days=7)
    times = {"t0": {"earliest": None, "latest": old.isoformat()}, "t1": old.isoformat()}
    answer = desk.receive("edge/edge-1/sighting", message(desk.world, **times))
    assert answer is not None
    assert answer["result"] == "stored"
    with desk.world.database.read() as session:
        assert session.scalars(select(Sighting.late)).all() == [True]


def test_a_box_clock_ahead_of_time_cannot_report_before_it_saw(desk: Desk) -> None:
    """Sent "in five seconds": the offset is at least that, and T0 lands before T2."""
    ahead = desk.world.now + timedelta(seconds=5)
    times = {"sent_at": ahead.isoformat(), "t0": {"earliest": None, "latest": ahead.isoformat()}}
    desk.receive("edge/edge-1/sighting", message(desk.world, **times))
    with desk.world.database.read() as session:
        code = session.scalars(select(Incident.code)).one()
    assert desk.world.journal(code)[0].data["clock_offset_ms"] == -5000.0


def test_box_status_is_kept_through_its_last_will(desk: Desk) -> None:
    """Offline, the cameras' last known states stay to be seen."""
    cameras = {"tower-1": {"state": "frozen", "last_frame_at": None, "reason": "no change for 60 s"}}
    desk.receive("edge/edge-1/status", {"v": 1, "online": True, "at": desk.world.now.isoformat(), "cameras": cameras})
    desk.receive("edge/edge-1/status", {"v": 1, "online": False})
    with desk.world.database.read() as session:
        box = session.get_one(EdgeBox, "edge-1")
        assert box.online is False
        assert box.status is not None
        assert box.status["cameras"]["tower-1"]["state"] == "frozen"


def answer_of(event: str, incident: str, answer_id: str = "answer-0001", **more: Any) -> dict[str, Any]:
    """An answer as a phone sends it."""
    return {"v": 1, "id": answer_id, "incident": incident, "event": event} | more


def test_a_phone_accepts_over_mqtt_once(desk: Desk) -> None:
    """The same tap twice gives the same result."""
    fire = desk.world.dispatched()
    for _ in range(2):
        result = desk.receive("person/worker-1/answer", answer_of("accept", fire))
        assert result is not None
        assert (result["result"], result["state"]) == ("done", "accepted")
    assert desk.world.events(fire).count("accept") == 1


@pytest.mark.parametrize(
    ("login", "event", "code"),
    [
        ("stranger", "accept", "not_concerned"),
        ("nobody", "accept", "missing"),
        ("worker-1", "arrive", "not_allowed_now"),
        ("worker-1", "verify", "invalid"),
    ],
)
def test_an_answer_that_is_not_theirs_is_refused_with_the_reason(desk: Desk, login: str, event: str, code: str) -> None:
    """Forged, early or foreign: refused, and the incident stays as it was."""
    fire = desk.world.dispatched()
    result = desk.receive(f"person/{login}/answer", answer_of(event, fire))
    assert result is not None
    assert (result["result"], result["code"]) == ("refused", code)
    assert desk.world.state(fire) is State.DISPATCHED


@pytest.mark.parametrize("payload", [b'{"v": 1, "lat": ' + b"1" * 5000 + b"}", b"\xff", b"[" * 50_000, b"{"])
def test_what_no_parser_reads_is_refused_to_its_sender(desk: Desk, payload: bytes) -> None:
    """A number without end, another encoding, a nest without bottom, half an answer."""
    result = desk.receive("person/worker-1/answer", payload)
    assert result is not None
    assert (result["result"], result["code"]) == ("refused", "invalid")


def test_a_receipt_counts_for_its_own_person_only(desk: Desk) -> None:
    """The neighbour cannot acknowledge my notice."""
    fire = desk.world.dispatched()
    with desk.world.database.write() as session:
        callout = notices.waiting_callouts(session)[0]
        worker = session.get_one(Person, desk.world.people["worker-1"])
        notice = notices.expand(callout, [Draft(worker, "mqtt", {})], desk.world.now)[0]
        writes = bulk.Writes(session)
        notices.write(writes, [notice])
        writes.run()
        outcomes.record_sent(session, {notice.id: None}, desk.world.now)
        notice_id = notice.id
    for login in ("neighbour", "worker-1", "worker-1"):
        desk.receive(f"person/{login}/receipt", {"v": 1, "notice": notice_id})
    with desk.world.database.read() as session:
        assert session.get_one(Notice, notice_id).state == "delivered"
    assert desk.world.events(fire).count("delivered") == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_word_goes_through_a_real_broker(world: World, broker: RunningBroker) -> None:
    """From an edge box's publish to the acknowledgement in its hand, over a real broker, also after it was killed."""
    stop = threading.Event()
    link = BrokerLink(broker.user("engine"), "engine-test", stop)
    link.start(Intake(world.database, StandingClock(world), world.evidence, link.publish).handle)
    acks: list[dict[str, Any]] = []
    arrived = threading.Event()
    edge = _edge(broker, acks, arrived)
    try:
        for round_ in range(2):
            sighting = message(world)
            _send_until_acknowledged(edge, sighting, acks, arrived)
            if round_ == 0:
                broker.kill()
                broker.start()
    finally:
        stop.set()
        edge.disconnect()
        edge.loop_stop()
        link.close()
    with world.database.read() as session:
        assert len(session.scalars(select(Sighting)).all()) == 2


def _edge(broker: RunningBroker, acks: list[dict[str, Any]], arrived: threading.Event) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="edge-1")
    user = broker.user("edge-1")
    client.username_pw_set(user.username, user.password)
    client.reconnect_delay_set(1, 1)
    client.on_connect = lambda c, *_: c.subscribe(f"{ROOT}/edge/edge-1/ack", 1)

    def receive(_client: mqtt.Client, _data: Any, received: mqtt.MQTTMessage) -> None:
        acks.append(json.loads(received.payload))
        arrived.set()

    client.on_message = receive
    client.connect(broker.host, broker.port)
    client.loop_start()
    return client


def _send_until_acknowledged(
    edge: mqtt.Client, sighting: dict[str, Any], acks: list[dict[str, Any]], arrived: threading.Event
) -> None:
    """Send again each second until this very sighting is acknowledged; a late word about another does not count."""
    for _ in range(30):
        arrived.clear()
        edge.publish(f"{ROOT}/edge/edge-1/sighting", json.dumps(sighting), qos=1)
        arrived.wait(1)
        if any(ack["id"] == sighting["id"] and ack["result"] in ("stored", "duplicate") for ack in acks):
            return
    raise AssertionError("no acknowledgement in 30 tries")
