# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an edge box finds when it looks back: T0 by an appended line, with both pictures."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.clocks import Verdict, stamps
from server.domain.lifecycle import Event
from server.domain.policy import Policy
from server.evidence import bundle, verify
from server.evidence.keys import SigningKey
from server.models import Incident, Onset, Person, Picture
from server.queries import detail, viewer
from tests.evidence.test_bundle import notary
from tests.server.test_intake import Desk, message
from tests.support.world import World, jpeg

CLEAN, FIRST = jpeg(60), jpeg(140)


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def announced(at: datetime, picture: bytes) -> dict[str, Any]:
    return {"at": at.isoformat(), "sha256": hashlib.sha256(picture).hexdigest(), "bytes": len(picture)}


def onset(sighting: str, earliest: datetime | None, latest: datetime, **more: Any) -> dict[str, Any]:
    return {
        "v": 1,
        "id": str(uuid.uuid4()),
        "sighting": sighting,
        "t0": {"earliest": earliest.isoformat() if earliest else None, "latest": latest.isoformat()},
        "clock": {"offset_ms": 0.0, "error_ms": 5.0},
        "frames": 12,
        "box": [0.4, 0.5, 0.45, 0.55],
        "frame": {"width": 320, "height": 180},
        "clean": announced(earliest, CLEAN) if earliest else None,
        "first": announced(latest, FIRST),
    } | more


def received(desk: Desk) -> tuple[str, str]:
    """A sighting with smoke first seen 10 s ago and a clean frame 20 s ago: its id and its incident's code."""
    clock = {"offset_ms": 0.0, "error_ms": 5.0}
    sent = message(desk.world, clock=clock)
    desk.receive("edge/edge-1/sighting", sent)
    with desk.world.database.read() as session:
        [code] = session.scalars(select(Incident.code))
    return sent["id"], code


def _city(session: Session) -> viewer.Viewer:
    return viewer.to_viewer(session.scalars(select(Person).where(Person.login == "city")).one())


def test_t0_follows_the_onset_and_the_first_line_stays(desk: Desk) -> None:
    """The clock takes the refined interval; the opening line is as it was; the same onset again changes nothing."""
    sighting, code = received(desk)
    world = desk.world
    before = world.journal(code)
    told = onset(sighting, world.now - timedelta(seconds=17), world.now - timedelta(seconds=15))
    for result in ("stored", "duplicate"):
        answer = desk.receive("edge/edge-1/onset", told)
        assert answer is not None
        assert (answer["id"], answer["part"], answer["result"]) == (told["id"], "onset", result)
    after = world.journal(code)
    assert after[: len(before)] == before
    assert [entry.event for entry in after[len(before) :]] == [Event.ONSET]
    discover = world.clocks(code)[0]
    assert discover.best_s == pytest.approx(14.995)
    assert discover.elapsed_s == pytest.approx(17.005)


def test_smoke_in_every_kept_frame_leaves_no_earliest(desk: Desk) -> None:
    """Then nobody can say when it began: the minute is disputed, not kept."""
    sighting, code = received(desk)
    desk.receive("edge/edge-1/onset", onset(sighting, None, desk.world.now - timedelta(seconds=30)))
    discover = desk.world.clocks(code)[0]
    assert (discover.verdict, discover.elapsed_s) == (Verdict.DISPUTED, None)
    assert discover.best_s == pytest.approx(29.995)


def test_another_sightings_onset_moves_no_clock(desk: Desk) -> None:
    """T0 is the confirming track's: what else was seen of the fire is on record beside it."""
    _, code = received(desk)
    world = desk.world
    other = message(world)
    desk.receive("edge/edge-1/sighting", other)
    t0 = stamps(world.journal(code), Policy())
    desk.receive("edge/edge-1/onset", onset(other["id"], None, world.now - timedelta(seconds=50)))
    assert world.events(code)[-1] == "onset"
    assert stamps(world.journal(code), Policy()) == t0


@pytest.mark.parametrize(
    "change",
    [
        {"sighting": str(uuid.UUID(int=7))},
        {"frames": -1},
        {"t0": {"earliest": "2026-10-08T09:00:10Z", "latest": "2026-10-08T09:00:00Z"}},
        {"first": {"at": "2026-10-08T09:00:00Z", "sha256": "no", "bytes": 1}},
    ],
)
def test_what_cannot_be_is_refused(desk: Desk, change: dict[str, Any]) -> None:
    """With its reason, and nothing is written."""
    sighting, code = received(desk)
    told = onset(sighting, None, desk.world.now) | change
    answer = desk.receive("edge/edge-1/onset", told)
    assert answer is not None
    assert answer["result"] == "refused"
    assert answer["reason"]
    assert "onset" not in desk.world.events(code)


def test_a_box_speaks_for_its_own_sightings(desk: Desk) -> None:
    """Another box's onset, and its picture, are refused."""
    sighting, _ = received(desk)
    told = onset(sighting, None, desk.world.now)
    answer = desk.receive("edge/edge-2/onset", told)
    assert answer is not None
    assert answer["result"] == "refused"


def test_both_pictures_come_into_screen_and_evidence(desk: Desk, tmp_path: Path) -> None:
    """Each under its own name, checked against what was announced; the page and the bundle show both."""
    sighting, code = received(desk)
    world = desk.world
    told = onset(sighting, world.now - timedelta(seconds=17), world.now - timedelta(seconds=15))
    desk.receive("edge/edge-1/onset", told)
    for name, picture, result in (
        ("clean", CLEAN, "stored"),
        ("clean", CLEAN, "duplicate"),
        ("first", CLEAN, "refused"),
        ("first", FIRST, "stored"),
        ("other", FIRST, "refused"),
    ):
        answer = desk.receive(f"edge/edge-1/picture/{told['id']}.{name}", picture)
        assert answer is not None
        assert answer["result"] == result
    with world.database.read() as session:
        assert sorted(session.scalars(select(Picture.kind))) == ["clean", "first"]
        assert session.scalars(select(Onset.id)).all() == [told["id"]]
        found = detail.detail(session, _city(session), code, world.now)
    assert found is not None
    [seen] = found.onsets
    assert seen.opening
    assert seen.clean is not None
    assert seen.clean.seen is not None
    assert seen.clean.seen.sha256 == told["clean"]["sha256"]
    assert seen.first.at == world.now - timedelta(seconds=15)
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    with world.database.read() as session:
        files = bundle.export(session, code, key, world.evidence, world.now)
    assert {name for name in files if name.startswith("pictures/")} == {
        f"pictures/{told[kind]['sha256']}.jpg" for kind in ("clean", "first")
    }
    assert files["timeline.pdf"].count(b"/Subtype /Image") == 2
    bundle.write(tmp_path / "one.zip", files)
    assert verify.main([str(tmp_path / "one.zip"), "--key", str(_public(tmp_path, key))]) == 0


def _public(folder: Path, key: SigningKey) -> Path:
    path = folder / "straw1530.pub"
    path.write_text(key.public_text())
    return path
