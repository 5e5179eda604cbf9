# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wire between edge and server: the bytes that one side writes are fed to the other."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from detector import wire as edge
from detector.judgement.places import Places
from server.domain.lifecycle import Event
from server.engine import wire as server
from server.engine.intake import Intake
from server.models import Incident
from server.services import sightings as sightings_service
from server.web import words
from tests.server.test_intake import StandingClock, message
from tests.support.world import World, jpeg, report

T1 = datetime(2026, 10, 8, 17, 30, 0, 123456, tzinfo=UTC)
fractions = st.floats(0, 1, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """A box with some width and height, anywhere in the frame."""
    x, y = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return (x, y, x + draw(st.floats(0.001, 0.1)), y + draw(st.floats(0.001, 0.1)))


@st.composite
def sightings(draw: st.DrawFn) -> edge.Sighting:
    """Whatever an edge box may say."""
    latest = T1 - timedelta(seconds=draw(st.floats(0, 3600)))
    before = draw(st.none() | st.floats(0, 600))
    box = draw(boxes())
    return edge.Sighting(
        id=str(draw(st.uuids())),
        edge="edge-1",
        camera=draw(st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True)),
        preset=draw(st.none() | st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)),
        t0=edge.Interval(earliest=None if before is None else latest - timedelta(seconds=before), latest=latest),
        t1=T1,
        sent_at=T1,
        label=draw(st.sampled_from(["smoke", "fire"])),
        confidence=draw(fractions),
        box=box,
        frame=edge.Size(width=draw(st.integers(64, 8000)), height=draw(st.integers(64, 8000))),
        view=draw(
            st.none()
            | st.builds(edge.View, pan=st.floats(-360, 360), tilt=st.floats(-90, 90), hfov=st.floats(0.5, 179))
        ),
        track=tuple(edge.TrackPoint(at=latest, box=box, confidence=0.5) for _ in range(draw(st.integers(0, 32)))),
        model=edge.ModelName(name="smoke", sha256="0" * 64),
        picture=draw(st.none() | st.just(edge.PictureAnnounced(sha256="a" * 64, bytes=180_000))),
    )


@settings(max_examples=200, deadline=None)
@given(sightings())
def test_what_the_edge_writes_the_server_reads(sighting: edge.Sighting) -> None:
    """Every sighting an edge box can make is taken, within the size limit, and means the same."""
    raw = sighting.to_bytes(T1 + timedelta(seconds=1))
    read = server.parse(server.SightingMessage, raw)
    assert (str(read.id), read.camera, read.box) == (sighting.id, sighting.camera, sighting.box)
    assert abs(read.t1 - sighting.t1) < timedelta(milliseconds=1)
    report = server.to_report(read, T1 + timedelta(seconds=2))
    assert report.view is None or 0 <= report.view[0] < 360


@pytest.mark.parametrize("online", [True, False])
def test_box_status_is_read(online: bool) -> None:
    """Also as a last will."""
    status = edge.Status(
        online=online, at=T1, cameras={"tower-1": edge.CameraStatus(state="frozen", last_frame_at=None, reason="x")}
    )
    read = server.parse(server.StatusMessage, status.model_dump_json().encode())
    assert read.online is online
    assert read.cameras["tower-1"]["state"] == "frozen"


def test_what_the_server_answers_the_edge_reads(world: World) -> None:
    """Stored, duplicate and refused, each with its id, on the edge's own topic."""
    answers: list[tuple[str, bytes]] = []
    intake = Intake(world.database, StandingClock(world), world.evidence, lambda t, p: answers.append((t, p)))
    good = edge.Sighting(
        id="0193f0aa-0000-7000-8000-000000000001",
        edge="edge-1",
        camera="tower-1",
        preset=None,
        t0=edge.Interval(earliest=None, latest=world.now),
        t1=world.now,
        sent_at=world.now,
        label="smoke",
        confidence=0.9,
        box=(0.4, 0.5, 0.45, 0.6),
        frame=edge.Size(width=1280, height=720),
        view=None,
        track=(),
        model=edge.ModelName(name="smoke", sha256="0" * 64),
        picture=None,
    )
    unknown = good.model_copy(update={"id": "0193f0aa-0000-7000-8000-000000000002", "camera": "tower-9"})
    topic = edge.topic("edge-1", "sighting")
    for sighting in (good, good, unknown):
        intake.handle(topic, sighting.to_bytes(world.now))
    read = [edge.read_ack(payload) for _, payload in answers]
    assert [ack.result for ack in read] == ["stored", "duplicate", "refused"]
    assert [ack.id for ack in read] == [good.id, good.id, unknown.id]
    assert {topic for topic, _ in answers} == {edge.topic("edge-1", "ack")}
    assert json.loads(answers[-1][1])["reason"].startswith("camera 'tower-9'")


@pytest.mark.parametrize(("reason", "told"), [("chimney", True), ("fog", False)])
def test_the_box_is_told_where_it_was_wrong(world: World, tmp_path: Path, reason: str, told: bool) -> None:
    """What people judged false for a reason that stays is told with the next status, once; fog is everywhere."""
    answers: list[tuple[str, bytes]] = []
    intake = Intake(world.database, StandingClock(world), world.evidence, lambda t, p: answers.append((t, p)))
    raw = message(world, preset="p1")
    intake.handle(edge.topic("edge-1", "sighting"), json.dumps(raw).encode())
    with world.database.read() as session:
        code = session.scalars(select(Incident.code)).one()
    world.apply(code, Event.MARK_FALSE, "county", reason=reason)
    places = Places(tmp_path / "places.json")
    for _ in range(2):
        answers.clear()
        status = edge.Status(online=True, at=T1, cameras={}, places=places.digest)
        intake.handle(edge.topic("edge-1", "status"), status.model_dump_json().encode())
        for topic, payload in answers:
            assert topic == edge.topic("edge-1", "places")
            places.take(payload)
    assert answers == []
    assert places.of("tower-1", "p1") == ((tuple(raw["box"]),) if told else ())


@pytest.mark.parametrize("clean", [True, False])
def test_an_onset_is_read_and_its_pictures_named_alike(world: World, clean: bool) -> None:
    """What the edge's outbox calls its pictures is what the server takes them by; unread fields are kept."""
    data = jpeg(70)
    picture = edge.OnsetPicture(at=world.now, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    answers: list[dict[str, Any]] = []
    intake = Intake(
        world.database, StandingClock(world), world.evidence, lambda _, payload: answers.append(json.loads(payload))
    )
    sent = report(world.now)
    with world.database.write() as session:
        sightings_service.record(session, sent, world.now)
    onset = edge.Onset(
        id="0193f0aa-0000-7000-8000-000000000003",
        sighting=sent.id,
        t0=edge.Interval(earliest=world.now if clean else None, latest=world.now),
        clock=edge.ClockOffset(scale="9f3c01ab", monotonic_s=4.5),
        frames=7,
        box=(0.4, 0.5, 0.45, 0.6),
        frame=edge.Size(width=320, height=180),
        clean=picture if clean else None,
        first=picture,
    )
    read = server.parse(server.OnsetMessage, onset.to_bytes(onset.clock))
    assert read.to_report("edge-1").message["box"] == [0.4, 0.5, 0.45, 0.6]
    intake.handle(edge.topic("edge-1", "onset"), onset.to_bytes(onset.clock))
    for kind in ("clean", "first"):
        intake.handle(edge.topic("edge-1", "picture", f"{onset.id}.{kind}"), data)
    acks = [edge.read_ack(json.dumps(answer).encode()) for answer in answers]
    assert [ack.id for ack in acks] == [onset.id, f"{onset.id}.clean", f"{onset.id}.first"]
    assert [ack.result for ack in acks] == ["stored", "stored" if clean else "refused", "stored"]


@pytest.mark.parametrize("state", get_args(edge.CameraState))
def test_every_state_of_a_camera_is_read_and_has_a_word(state: edge.CameraState) -> None:
    """A cause of blindness that the edge can name is one that the page can say."""
    run = edge.CoverageRun(state=state, start=T1, to=T1 + timedelta(seconds=60), looks=0)
    told = edge.CoverageReport(
        id="0193f0aa-0000-7000-8000-000000000004", camera="tower-1", preset="p1", clock=edge.ClockOffset(), runs=(run,)
    )
    read = server.parse(server.CoverageMessage, told.to_bytes(told.clock))
    assert read.to_report("edge-1").runs[0].state == state
    assert state in words.CAMERA_STATES
