# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wire between edge and server: the bytes that one side writes are fed to the other."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector import wire as edge
from server.engine import wire as server
from server.engine.intake import Intake
from tests.server.test_intake import StandingClock
from tests.support.world import World

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
        preset=draw(st.none() | st.text(max_size=20)),
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
