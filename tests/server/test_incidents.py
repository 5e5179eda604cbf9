# SPDX-License-Identifier: AGPL-3.0-or-later
"""Incident reports, on a real database."""

from __future__ import annotations

import math
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from server.admin.schema import check, upgrade
from server.db import Database
from server.domain.errors import AlreadyAnswered, Invalid, Missing, NotAllowedNow, NotConcerned, NotPermitted, TooLate
from server.domain.lifecycle import Event, State
from server.models import Incident
from server.services import sightings
from tests.support.world import FIELD, NEIGHBOUR, OTHER_FIELD, OTHER_TOWNSHIP, START, VILLAGE, World, report


def test_a_fire_goes_the_whole_way(world: World) -> None:
    """Seen, dispatched, accepted, on site, put out, verified, closed; all three clocks kept."""
    fire = world.dispatched()
    world.advance(minutes=2)
    assert world.apply(fire, Event.ACCEPT, "worker-1") is State.ACCEPTED
    world.advance(minutes=8)
    assert world.apply(fire, Event.ARRIVE, "worker-1") is State.ON_SITE
    world.advance(minutes=5)
    assert world.report_done(fire, "worker-1") is State.REPORTED
    assert world.apply(fire, Event.VERIFY, "county") is State.VERIFIED
    assert world.apply(fire, Event.CLOSE, "county") is State.CLOSED
    assert [interval.verdict.value for interval in world.clocks(fire)] == ["kept", "kept", "kept"]
    assert world.armed(fire) == []


def test_silence_climbs_the_ladder(world: World) -> None:
    """Nobody accepts: reminder at 2 minutes, township at 5, county at 10, each once."""
    fire = world.dispatched()
    world.advance(minutes=11)
    assert world.callouts(fire) == [
        ("dispatch", "owner"),
        ("respond.remind", "owner"),
        ("respond.remind", "deputy"),
        ("respond.limit", "township"),
        ("respond.county", "county"),
    ]


def test_accepting_silences_the_response_ladder_but_not_the_disposal_one(world: World) -> None:
    """Accepted in time and then forgotten: the disposal steps still come."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    assert [fired.step for fired in world.advance(minutes=61)] == ["dispose.warn", "dispose.limit", "dispose.city"]


def test_a_step_never_fires_early_and_only_once(world: World) -> None:
    """At the due moment itself nothing is late yet; after it, once."""
    world.dispatched()
    due = START + timedelta(seconds=120)
    assert world.sweep(due) == []
    assert [fired.due_at for fired in world.sweep(due + timedelta(microseconds=1))] == [due]
    assert world.sweep(due + timedelta(seconds=1)) == []


def test_what_came_due_while_everything_was_down_is_caught_up_in_order(world: World) -> None:
    """After an outage each step fires once, in order, with its true due time on record."""
    fire = world.dispatched()
    fired = world.sweep(START + timedelta(hours=2))
    assert [item.due_at - START for item in fired] == [
        timedelta(seconds=after) for after in (120, 300, 600, 1200, 1800, 3600, 5400)
    ]
    breach = next(entry for entry in world.journal(fire) if entry.event is Event.BREACH)
    assert breach.data["due_at"] == (START + timedelta(seconds=300)).isoformat()


def test_the_same_smoke_joins_and_another_fire_does_not(world: World) -> None:
    """Two sightings of one place are one incident; a field 2 km away is another."""
    fire = world.sighting()
    world.advance(seconds=30)
    assert world.sighting() == fire
    assert world.sighting(at=OTHER_FIELD) != fire
    assert world.events(fire).count("sighting") == 1


def test_smoke_at_the_edge_of_the_next_preset_is_the_same_fire(world: World) -> None:
    """The camera turned eight degrees on: the smoke stands at the left of that view. What stands at its right is
    another fire."""
    fire = world.sighting()
    seen = report(world.now)
    assert seen.view is not None
    pan, tilt, hfov = seen.view
    for degrees, known in (8, True), (-8, False):
        left = 0.5 - math.tan(math.radians(degrees)) / (2 * math.tan(math.radians(20)))
        box = (left - 0.01, seen.box[1], left + 0.01, seen.box[3])
        other = replace(seen, id=str(uuid.uuid4()), view=(pan + 8, tilt, hfov), box=box)
        with world.database.write() as session:
            recorded = sightings.record(session, other, world.now)
            assert (recorded.incident.code == fire, recorded.opened) == (known, not known)


def test_the_same_message_twice_changes_nothing(world: World) -> None:
    """The edge repeats itself after a lost acknowledgement."""
    fire = world.sighting(sighting_id="0b0f0f2e-0000-4000-8000-000000000001")
    events = world.events(fire)
    assert world.sighting(sighting_id="0b0f0f2e-0000-4000-8000-000000000001") == fire
    assert world.events(fire) == events


def test_smoke_after_the_close_is_a_new_incident(world: World) -> None:
    """A fire put out and closed does not swallow the next one."""
    first = world.dispatched()
    world.apply(first, Event.MARK_FALSE, "county", reason="fog")
    world.advance(minutes=10)
    assert world.sighting() != first


def test_a_late_message_finds_the_incident_that_was_open_then(world: World) -> None:
    """A sighting that arrives after the close, but was confirmed before it, belongs to that incident."""
    fire = world.dispatched()
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    with world.database.write() as session:
        from server.services import sightings
        from tests.support.world import report

        late = report(START)
        recorded = sightings.record(session, late, START + timedelta(minutes=30))
    assert recorded.incident.code == fire
    assert not recorded.opened


def test_a_sighting_from_an_unknown_camera_is_refused_by_name(world: World) -> None:
    """The sentence names the camera and the box, and nothing is written."""
    with pytest.raises(Missing, match=r"'tower-9'.*'edge-1'"):
        world.sighting(camera="tower-9")
    with pytest.raises(Missing, match=r"'tower-1'.*'edge-2'"):
        world.sighting(edge="edge-2")


def test_places_on_either_side_of_the_date_line_are_compared(world: World) -> None:
    """Two hundred metres apart, though their longitudes differ by almost 360 degrees."""
    code = world.sighting(at=FIELD)
    with world.database.write() as session:
        incident = session.scalars(select(Incident).where(Incident.code == code)).one()
        incident.lat, incident.lon = -17.5, -179.999
        session.flush()
        found = [
            session.scalars(select(Incident.code).where(sightings.around(-17.5, lon))).all()
            for lon in (-179.9, 179.999, 179.7)
        ]
    assert found == [[code], [code], []]


def test_the_first_answer_wins_and_the_second_is_told(world: World) -> None:
    """The deputy taps a second after the owner."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    with pytest.raises(AlreadyAnswered):
        world.apply(fire, Event.ACCEPT, "worker-2")


def test_the_same_answer_twice_is_one_answer(world: World) -> None:
    """A phone repeats its tap over a bad link."""
    fire = world.dispatched()
    for _ in range(2):
        assert world.apply(fire, Event.ACCEPT, "worker-1", answer_id="tap-1") is State.ACCEPTED
    assert world.events(fire).count("accept") == 1


@pytest.mark.parametrize(
    ("who", "what", "error"),
    [
        ("stranger", Event.ACCEPT, NotConcerned),
        ("other-county", Event.MARK_FALSE, NotConcerned),
        ("worker-1", Event.VERIFY, NotPermitted),
        ("county", Event.ACCEPT, NotPermitted),
        ("county", Event.BREACH, NotPermitted),
        ("worker-1", Event.ARRIVE, NotAllowedNow),
    ],
)
def test_nobody_does_what_is_not_theirs(world: World, who: str, what: Event, error: type[Exception]) -> None:
    """Each refusal has its own reason, and the journal stays as it was."""
    fire = world.dispatched()
    before = world.events(fire)
    with pytest.raises(error):
        world.apply(fire, what, who, reason="fog")
    assert world.events(fire) == before


def test_done_takes_a_photograph(world: World) -> None:
    """Without a stored picture of the scene there is no disposal."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.apply(fire, Event.ARRIVE, "worker-1")
    for pictures in ([], ["0" * 64]):
        with pytest.raises(Invalid, match="photograph"):
            world.apply(fire, Event.REPORT_DONE, "worker-1", pictures=pictures)
    assert world.report_done(fire, "worker-1") is State.REPORTED


def test_a_rejected_report_sets_the_disposal_ladder_going_again(world: World) -> None:
    """The supervisor sees smoke in the photograph: the steps not yet fired stand again with their old times."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.report_done(fire, "worker-1")
    assert [step.partition("@")[0] for step in world.armed(fire)] == ["verify.remind", "verify.city", "close.remind"]
    world.apply(fire, Event.REJECT, "county", note="still smoking")
    assert world.armed(fire) == ["dispose.warn", "dispose.limit", "dispose.city", "dispose.again"]


def test_a_mistaken_tap_can_be_taken_back_for_a_minute(world: World) -> None:
    """Undo restores the state and the ladder; both lines stay on record."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.advance(seconds=60)
    assert world.apply(fire, Event.UNDO, "worker-1") is State.DISPATCHED
    assert world.events(fire)[-2:] == ["accept", "undo"]
    assert "respond.limit" in world.armed(fire)


def test_undo_is_for_ones_own_last_tap_and_not_for_ever(world: World) -> None:
    """Not another's tap, not after a minute, not twice."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    with pytest.raises(Invalid):
        world.apply(fire, Event.UNDO, "worker-2")
    world.advance(seconds=61)
    with pytest.raises(TooLate):
        world.apply(fire, Event.UNDO, "worker-1")


def test_opening_anew_takes_nothing_back_beside(world: World) -> None:
    """After the supervisor opened it again there is nothing of theirs to undo: the earlier tap stays."""
    fire = world.dispatched()
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    world.apply(fire, Event.REOPEN, "county")
    with pytest.raises(Invalid, match="nothing of yours"):
        world.apply(fire, Event.UNDO, "county")
    assert world.state(fire) is State.FALSE_ALARM


@pytest.mark.parametrize("claim", [{"upheld": True}, {"answers": 1}])
def test_a_tap_does_not_decide_an_appeal_beside(world: World, claim: dict[str, object]) -> None:
    """What a decision says is refused in any other line: it would excuse."""
    fire = world.dispatched()
    with pytest.raises(Invalid, match="belongs to an appeal"):
        world.apply(fire, Event.ACCEPT, "worker-1", **claim)
    assert world.state(fire) is State.DISPATCHED


def test_a_transfer_gives_the_new_owner_their_own_five_minutes(world: World) -> None:
    """Wrong grid: the response steps start anew from the hand-over, disposal runs on from the alert, and so does the
    promise of five minutes."""
    fire = world.dispatched()
    world.advance(minutes=4)
    world.apply(fire, Event.TRANSFER, "county", to=OTHER_TOWNSHIP + "201")
    theirs = f"@{_transfer_seq(world, fire)}"
    steps = [fired.step for fired in world.advance(minutes=5.1)]
    assert steps == ["respond.limit", f"respond.remind{theirs}", f"respond.limit{theirs}"]
    assert world.callouts(fire)[-1] == (f"respond.limit{theirs}", "township")


def test_handing_over_in_time_again_and_again_does_not_keep_the_breach_silent(world: World) -> None:
    """Each owner has five minutes; the township hears after the first five that nobody has answered."""
    fire = world.dispatched()
    fired = []
    for turn in range(5):
        fired += world.advance(minutes=1.5)
        world.apply(fire, Event.TRANSFER, "leader", to=[NEIGHBOUR, VILLAGE][turn % 2])
    assert [(one.step, one.due_at) for one in fired] == [("respond.limit", START + timedelta(minutes=5))]
    world.apply(fire, Event.ACCEPT, "neighbour")
    assert "respond.limit" not in [one.step.partition("@")[0] for one in world.advance(minutes=6)]


def _transfer_seq(world: World, fire: str) -> int:
    return next(entry.seq for entry in world.journal(fire) if entry.event is Event.TRANSFER)


def test_the_journal_cannot_be_changed_or_shortened(world: World) -> None:
    """The database itself refuses, whatever program asks."""
    world.dispatched()
    for statement in ("UPDATE journal SET actor = 'x'", "DELETE FROM journal"):
        with pytest.raises(DBAPIError, match="append-only"), world.database.write() as session:
            session.execute(text(statement))


def test_a_changed_line_is_found(world: World) -> None:
    """Even with the triggers gone, the chain names the first line that was touched."""
    fire = world.dispatched()
    with world.database.write() as session:
        if world.database.engine.dialect.name == "sqlite":
            session.execute(text("DROP TRIGGER journal_no_update"))
        else:
            session.execute(text("DROP FUNCTION journal_append_only() CASCADE"))
        session.execute(
            text("UPDATE journal SET at = (SELECT MIN(at) FROM journal), actor = 'person:99' WHERE seq = 2")
        )
    from server.services.journal import first_broken_line

    with world.database.read() as session:
        incident = session.query(Incident).filter_by(code=fire).one()
        assert first_broken_line(session, incident.id) == 2


def test_models_and_migrations_agree(database: Database) -> None:
    """`alembic check` is clean, and upgrading twice is harmless."""
    upgrade(database)
    check(database)
