# SPDX-License-Identifier: AGPL-3.0-or-later
"""Incident reports about the rules at their edges: what was taken back, handed over, excused, appealed, reopened, and
clocks that go wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from server.domain import clocks, parties
from server.domain.errors import Invalid, Missing, NotAllowedNow, NotPermitted
from server.domain.lifecycle import Event, State
from server.domain.policy import BadPolicy, Policy, Step, parse_policy
from server.engine.clock import ClockLoop
from server.models import Camera, Deadline, Incident, JournalEntry
from server.services import deadlines, incidents, journal, policies, sightings
from tests.support.world import CITY, COUNTY, FAR_VILLAGE, NEIGHBOUR, OTHER_COUNTY, START, VILLAGE, World, report

DAY = timedelta(days=1)


def verdicts(world: World, fire: str) -> list[str]:
    """The three verdicts now."""
    return [interval.verdict.value for interval in world.clocks(fire)]


def row(world: World, fire: str) -> Incident:
    """The incident as the database has it."""
    with world.database.read() as session:
        return session.scalars(select(Incident).where(Incident.code == fire)).one()


def put_out(world: World) -> str:
    """A fire accepted, reached, put out, verified and closed."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.report_done(fire, "worker-1")
    world.apply(fire, Event.VERIFY, "county")
    world.apply(fire, Event.CLOSE, "county")
    return fire


# Ends without disposal


def test_a_false_alarm_before_the_limit_breaks_nothing(world: World) -> None:
    """Called off after two minutes: an hour later nobody is late for it."""
    fire = world.dispatched()
    world.advance(minutes=2)
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    world.advance(minutes=60)
    assert verdicts(world, fire)[1:] == ["none", "none"]


def test_a_false_alarm_called_off_late_does_not_mend_the_missed_answer(world: World) -> None:
    """Six minutes of silence are broken for ever, whatever it turns out to have been."""
    fire = world.dispatched()
    world.advance(minutes=6)
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    assert verdicts(world, fire)[1:] == ["broken", "none"]


def test_an_excuse_stands_beside_the_verdict_and_changes_none(world: World) -> None:
    """A permitted burn that nobody answered: broken, and excused."""
    fire = world.dispatched()
    world.advance(minutes=6)
    with pytest.raises(Invalid, match="permitted, ritual"):
        world.apply(fire, Event.EXCUSE, "county")
    world.apply(fire, Event.EXCUSE, "county", reason="permitted")
    respond = world.clocks(fire)[1]
    assert (respond.verdict.value, respond.excused) == ("broken", True)
    assert world.armed(fire) == []


def test_a_closed_incident_can_still_be_excused_and_stays_closed(world: World) -> None:
    """The permit turns up a day later."""
    fire = put_out(world)
    world.advance(minutes=1440)
    assert world.apply(fire, Event.EXCUSE, "county", reason="permitted") is State.CLOSED
    assert [interval.excused for interval in world.clocks(fire)] == [True, True, True]
    assert verdicts(world, fire) == ["kept", "kept", "kept"]


def test_an_appeal_is_heard_and_decided_on_record(world: World) -> None:
    """The worker says why, the supervisor decides; an upheld appeal excuses."""
    fire = put_out(world)
    with pytest.raises(Invalid, match="note"):
        world.apply(fire, Event.APPEAL, "worker-1")
    with pytest.raises(Invalid):
        world.apply(fire, Event.APPEAL, "worker-1", note="the bridge was closed", upheld=True)
    world.apply(fire, Event.APPEAL, "worker-1", note="the bridge was closed")
    seq = world.journal(fire)[-1].seq
    with pytest.raises(Invalid, match="line of the appeal"):
        world.apply(fire, Event.APPEAL, "county", answers=1, upheld=True)
    assert not world.clocks(fire)[1].excused
    world.apply(fire, Event.APPEAL, "county", answers=seq, upheld=True)
    assert world.clocks(fire)[1].excused
    assert world.state(fire) is State.CLOSED


# Reopened and linked


def test_a_closed_fire_is_reopened_as_a_new_one_linked_to_it(world: World) -> None:
    """The old record stays as it ended; the new one has clocks of its own and knows the grid."""
    first = put_out(world)
    world.advance(minutes=30)
    world.apply(first, Event.REOPEN, "county")
    second = world.journal(first)[-1].data["opened"]
    assert world.state(first) is State.CLOSED
    assert row(world, second).reopens_id == row(world, first).id
    assert row(world, second).grid_code == VILLAGE
    assert world.journal(second)[0].data["reopens"] == first
    assert world.callouts(second) == [("dispatch", "owner")]
    world.apply(second, Event.DISPATCH, None, grid=VILLAGE)
    world.advance(minutes=5.1)
    assert verdicts(world, second) == ["none", "broken", "running"]


def test_a_burning_fire_is_not_reopened(world: World) -> None:
    """There is nothing to reopen, and nothing is opened."""
    fire = world.dispatched()
    with pytest.raises(NotAllowedNow):
        world.apply(fire, Event.REOPEN, "county")
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    with pytest.raises(NotPermitted):
        world.apply(fire, Event.REOPEN, "worker-1")
    with world.database.read() as session:
        assert session.scalars(select(Incident.code)).all() == [fire]


def test_smoke_where_a_fire_was_put_out_is_linked_to_it(world: World) -> None:
    """It flared up again two hours later; after a day it is another fire."""
    first = put_out(world)
    world.advance(minutes=120)
    second = world.sighting()
    assert row(world, second).reopens_id == row(world, first).id
    world.apply(second, Event.MARK_FALSE, "county", reason="dust")
    world.advance(minutes=1440)
    assert row(world, world.sighting()).reopens_id is None


# One fire, one incident


def test_a_fire_placed_in_the_neighbouring_county_still_gathers_its_sightings(world: World) -> None:
    """The dispatcher finds that the grid lies across the border; the next frame joins, and so does their own tower."""
    fire = world.sighting()
    world.apply(fire, Event.DISPATCH, None, grid=FAR_VILLAGE, county=OTHER_COUNTY)
    assert row(world, fire).county_code == OTHER_COUNTY
    world.advance(seconds=10)
    assert world.sighting() == fire
    with world.database.write() as session:
        near = {"lat": 28.960, "lon": 118.800, "height_m": 40, "pan": 90, "tilt": -2, "hfov": 40}
        session.add(Camera(id="tower-2", edge_id="edge-2", county_code=OTHER_COUNTY, name="高家高点", **near))
    assert world.sighting(camera="tower-2", edge="edge-2") == fire


def test_a_sighting_hours_older_than_an_incident_that_is_over_is_not_of_its_fire(world: World) -> None:
    """A box comes back after a day with an old alarm: it is recorded as a late incident of its own."""
    world.advance(minutes=600)
    fire = put_out(world)
    world.advance(minutes=60)
    old = replace(report(world.now), t1=START, t0_latest=START, t0_earliest=None)
    with world.database.write() as session:
        assert sightings.record(session, old, world.now).incident.code != fire


def test_times_from_the_future_are_held_to_the_alert(world: World) -> None:
    """An edge clock an hour ahead and unmeasured: nothing is stamped after the alert, and discovery is disputed."""
    ahead = replace(report(world.now + timedelta(hours=1)), clock_offset_ms=None, clock_error_ms=None)
    with world.database.write() as session:
        fire = sightings.record(session, ahead, world.now).incident.code
    with world.database.read() as session:
        policy = parse_policy(row(world, fire).policy.body)
        times = clocks.stamps(journal.read(session, row(world, fire).id), policy)
    assert times.t0_earliest == times.t0_latest == times.t1 == times.t2 == world.now


# Handed over


def test_where_arriving_counts_the_ladder_the_clock_and_the_shares_agree(world: World) -> None:
    """A report tells that somebody was there; rejected, it is as if it had not come, and the breach follows."""
    body = Policy().to_json()
    body["respond_stop"] = "arrive"
    for step in body["ladder"]:
        if (step["event"], step["until"]) == ("breach", "accept"):
            step["until"] = "arrive"
    policy = parse_policy(body)
    with world.database.write() as session:
        policies.publish(session, None, policy, world.now)
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.advance(seconds=100)
    world.apply(fire, Event.REPORT_FALSE, "worker-1", reason="fog")
    assert "respond.limit" not in world.armed(fire)
    world.apply(fire, Event.REJECT, "county")
    assert [one.step for one in world.advance(seconds=250)] == ["respond.limit"]
    entries = world.journal(fire)
    times = clocks.stamps(entries, policy)
    assert clocks.intervals(times, policy, world.now)[1].verdict is clocks.Verdict.BROKEN
    assert [share.answered_at for share in parties.shares(entries, times, policy, world.now)][-1] is None
    world.apply(fire, Event.REPORT_FALSE, "worker-1", reason="fog")
    entries = world.journal(fire)
    last = parties.shares(entries, clocks.stamps(entries, policy), policy, world.now)[-1]
    assert last.answered_at == world.now


def test_a_hand_over_splits_the_time_between_the_parties(world: World) -> None:
    """Four minutes with the first, six with the second: the parts add up to the whole, each judged by itself."""
    fire = world.dispatched()
    world.advance(minutes=4)
    world.apply(fire, Event.TRANSFER, "worker-1", to=NEIGHBOUR)
    world.advance(minutes=4.5)
    world.apply(fire, Event.ACCEPT, "neighbour")
    world.apply(fire, Event.ARRIVE, "neighbour")
    world.advance(minutes=1.5)
    world.report_done(fire, "neighbour")
    entries, policy = world.journal(fire), Policy()
    times = clocks.stamps(entries, policy)
    parts = parties.shares(entries, times, policy, world.now)
    assert [(part.party, part.held_s(world.now), part.verdict.value) for part in parts] == [
        (None, 0.0, "none"),
        (VILLAGE, 240.0, "none"),
        (NEIGHBOUR, 360.0, "kept"),
    ]
    assert verdicts(world, fire)[1] == "broken"  # the village was promised five minutes, whoever was asked


def test_a_party_that_hands_over_after_its_limit_was_late_itself(world: World) -> None:
    """Handing over does not hide six minutes of silence."""
    fire = world.dispatched()
    world.advance(minutes=6)
    world.apply(fire, Event.TRANSFER, "county", to=NEIGHBOUR)
    entries, policy = world.journal(fire), Policy()
    parts = parties.shares(entries, clocks.stamps(entries, policy), policy, world.now)
    assert [part.verdict.value for part in parts] == ["none", "broken", "running"]


# Taken back


def test_what_came_due_under_a_mistaken_tap_comes_at_once_after_it_is_taken_back(world: World) -> None:
    """Accepted at 1:50, due at 2:00, taken back at 2:40: the reminder comes then, with its true time."""
    fire = world.dispatched()
    world.advance(seconds=110)
    world.apply(fire, Event.ACCEPT, "worker-1")
    assert world.advance(seconds=50) == []
    world.apply(fire, Event.UNDO, "worker-1")
    fired = world.advance(seconds=1)
    assert [(item.step, item.due_at) for item in fired] == [("respond.remind", START + timedelta(seconds=120))]
    assert world.journal(fire)[-1].data["caught_up"] is True


def test_a_false_alarm_taken_back_burns_on(world: World) -> None:
    """The steps that were cancelled stand again, those that had fired do not come twice."""
    fire = world.dispatched()
    world.advance(minutes=3)
    world.apply(fire, Event.MARK_FALSE, "county", reason="fog")
    assert world.armed(fire) == []
    world.apply(fire, Event.UNDO, "county")
    assert world.state(fire) is State.DISPATCHED
    assert row(world, fire).ended_at is None
    assert world.armed(fire)[:2] == ["respond.limit", "respond.county"]


# Nothing ends without a verified outcome


def test_a_report_that_nobody_verifies_is_asked_for(world: World) -> None:
    """The county after half an hour, the city after four; then the close is asked for a day after the report."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.report_done(fire, "worker-1")
    assert [item.step.partition("@")[0] for item in world.advance(minutes=241)] == ["verify.remind", "verify.city"]
    world.apply(fire, Event.VERIFY, "county")
    assert [item.step.partition("@")[0] for item in world.advance(minutes=1440)] == ["close.remind"]
    assert verdicts(world, fire) == ["kept", "kept", "kept"]


# Clocks that go wrong


def test_the_servers_clock_set_back_an_hour_makes_no_answer_early(world: World) -> None:
    """The line stands at the time of the one above it and says what happened; the answer is disputed, not kept."""
    fire = world.dispatched()
    world.advance(minutes=4)
    fired_before = [item.step for item in world.advance(minutes=0)]
    world.now -= timedelta(hours=1)
    assert world.sweep() == []
    world.apply(fire, Event.ACCEPT, "worker-1")
    entries = world.journal(fire)
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert entries[-1].data["clock_back_s"] > 3000
    respond = world.clocks(fire)[1]
    assert (respond.verdict.value, respond.reason) == ("disputed", "the server's clock was set back in between")
    assert fired_before == []


def test_a_machine_resumed_after_a_day_catches_up_once(world: World) -> None:
    """All that came due in between fires in order, once, marked, with its true due time."""
    fire = world.dispatched()
    fired = world.sweep(START + DAY + timedelta(minutes=1))
    assert [item.step for item in fired] == [
        "respond.remind",
        "respond.limit",
        "respond.county",
        "dispose.warn",
        "dispose.limit",
        "dispose.city",
        "dispose.again",
    ]
    assert world.sweep(START + DAY + timedelta(minutes=2)) == []
    assert all(entry.data["caught_up"] for entry in world.journal(fire)[-7:])


# Reminded until it is out


def test_an_accepted_fire_that_is_not_out_is_asked_for_again_and_again(world: World) -> None:
    """From an hour and a half after the alert every half hour, until it is reported; a rejected report goes on."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.advance(minutes=89)
    assert [item.step for item in world.advance(minutes=62)] == ["dispose.again", "dispose.again+1", "dispose.again+2"]
    assert world.callouts(fire)[-2:] == [("dispose.again+2", "owner"), ("dispose.again+2", "township")]
    world.report_done(fire, "worker-1")
    assert not [step for step in world.armed(fire) if step.startswith("dispose")]
    world.apply(fire, Event.REJECT, "county")
    assert world.armed(fire) == ["dispose.again+3"]
    assert [item.due_at for item in world.advance(minutes=30)] == [START + timedelta(minutes=180)]


def test_rounds_missed_in_an_outage_are_told_once_and_go_on_in_step(world: World) -> None:
    """Five hours down: one reminder for all that was missed, marked, and the next at its own true time."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1")
    fired = world.sweep(START + timedelta(minutes=5 * 60 + 10))
    assert [item.step for item in fired][-1] == "dispose.again"
    assert world.armed(fire) == ["dispose.again+8"]
    assert [item.due_at for item in world.advance(minutes=21)] == [START + timedelta(minutes=330)]


def _sweep_and_lose_the_database(world: World, now: datetime) -> None:
    with world.database.write() as session:
        assert len(deadlines.sweep(session, now)) == 2
        if world.database.engine.dialect.name == "sqlite":
            raise OperationalError("COMMIT", None, OSError("disk I/O error"))
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_a_database_lost_in_the_middle_of_a_sweep_loses_and_doubles_nothing(world: World) -> None:
    """The connection goes after the steps were claimed: the next sweep fires them, once."""
    fire = world.dispatched()
    later = START + timedelta(minutes=6)
    with pytest.raises(OperationalError):
        _sweep_and_lose_the_database(world, later)
    assert world.events(fire)[-1] == "dispatch"
    assert [item.step for item in world.sweep(later)] == ["respond.remind", "respond.limit"]
    assert world.events(fire)[-2:] == ["remind", "breach"]


class _Hands:
    """A clock set by hand."""

    def __init__(self, world: World) -> None:
        self.world = world

    def now(self, _session: Any) -> Any:
        """The world's time."""
        return self.world.now


def test_the_loop_sleeps_until_just_after_the_next_due_moment(world: World) -> None:
    """Not a fixed beat: the pause ends a moment after the step is due, and is never longer than a second."""
    fire = world.dispatched()
    loop = ClockLoop(world.database, _Hands(world))
    assert loop.step() == 1.0
    world.now = START + timedelta(seconds=119.5)
    assert 0.5 < loop.step() < 0.51
    world.now = START + timedelta(seconds=120.001)
    loop.step()
    assert world.events(fire)[-1] == "remind"


# Personal details


def test_a_note_and_a_position_can_be_erased_and_the_chain_stays_whole(world: World) -> None:
    """The journal itself never held them; what is left says that something was erased."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1", note="on my way, Mr Wang", lat=28.9, lon=118.8)
    with world.database.read() as session:
        raw = session.scalars(select(JournalEntry).order_by(JournalEntry.id.desc()).limit(1)).one()
        assert "Wang" not in str(raw.data)
    accept = world.journal(fire)[-1]
    assert (accept.data["note"], accept.data["lat"]) == ("on my way, Mr Wang", 28.9)
    with world.database.write() as session:
        journal.erase(session, incidents.lock(session, fire), accept.seq, "note", world.now)
    accept = world.journal(fire)[-1]  # which checks the chain
    assert accept.data["erased"] == ["note"]
    assert accept.data["lat"] == 28.9
    with pytest.raises(Missing), world.database.write() as session:
        journal.erase(session, incidents.lock(session, fire), accept.seq, "note", world.now)


def test_a_changed_note_is_found(world: World) -> None:
    """The table beside the journal is bound by it: other words under the same line are noticed."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1", note="on my way")
    with world.database.write() as session:
        session.execute(text("""UPDATE journal_private SET value = '"never"'"""))
        assert journal.first_broken_line(session, row(world, fire).id) == world_seq(session, fire)


def world_seq(session: Any, fire: str) -> int:
    """The number of the journal's last line."""
    seq: int = session.scalar(select(Incident.last_seq).where(Incident.code == fire))
    return seq


def test_nobody_writes_what_the_record_writes_by_itself(world: World) -> None:
    """A program cannot claim an undo or a clock's fault in an answer's data."""
    fire = world.dispatched()
    for name in ("undoes", "clock_back_s", "received_at", "sealed"):
        with pytest.raises(Invalid, match=name):
            world.apply(fire, Event.ACCEPT, "worker-1", **{name: 1})
    assert world.state(fire) is State.DISPATCHED


# Policies


def test_an_incident_keeps_the_policy_it_began_under(world: World) -> None:
    """The county shortens its limit at noon; the fire of the morning keeps the old one, and the database too."""
    fire = world.dispatched()
    strict = Policy(
        respond_limit_s=120, ladder=tuple(s for s in Policy().ladder if not s.key.startswith("respond")) + _STRICT
    )
    with world.database.write() as session:
        policies.publish(session, COUNTY, strict, world.now)
    world.advance(minutes=3)
    assert world.clocks(fire)[1].limit_s == 300
    with pytest.raises(DBAPIError, match="append-only"), world.database.write() as session:
        session.execute(text("UPDATE policies SET version = 9"))


_STRICT = (Step("respond.limit", 120, "accept", "breach", ("township",)),)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"respond_limit_s": 2000}, "dispose_limit_s: is shorter"),
        ({"respond_limit_s": 240}, "step 2 after_s: a breach at 300 s contradicts respond_limit_s = 240"),
        ({"respond_stop": "arrive"}, "step 2 until: 'accept' stops no clock here"),
        ({"respond_stop": "sleep"}, "respond_stop"),
        ({"undo_s": 300}, "undo_s: is not shorter"),
        ({"undo_s": "60"}, "undo_s: is a whole number"),
        ({"discover_limit_s": True}, "discover_limit_s: is a whole number"),
        ({"assumed_clock_error_s": float("nan")}, "assumed_clock_error_s"),
        ({"speed": 1}, "speed: there is no such field"),
        ({"ladder": []}, "ladder: is a list of at least one step"),
        ({"ladder": [{"key": "a"}]}, "step 1: has exactly"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused_by_name(change: dict[str, Any], sentence: str) -> None:
    """One sentence, with the field or the step."""
    with pytest.raises(BadPolicy, match=sentence):
        parse_policy(Policy().to_json() | change)


@pytest.mark.parametrize(
    ("number", "change", "sentence"),
    [
        (0, {"key": "respond.limit"}, "'respond.limit' is used twice"),
        (0, {"key": "a@b"}, "without '@'"),
        (0, {"rungs": "owner"}, "rungs: is a list"),
        (0, {"rungs": ["owner", "owner"]}, "each once"),
        (0, {"rungs": ["mayor"]}, "are among owner"),
        (0, {"rungs": ["departments"]}, "'departments' alone"),
        (0, {"after_s": -1}, "after_s: is a whole number"),
        (0, {"every_s": 5}, "every_s: is a whole number of seconds from 60"),
        (1, {"every_s": 600}, "a breach happens once"),
        (0, {"key": "a+b"}, "without '@', '\\+' and ':'"),
        (0, {"key": "transfer:1"}, "without '@', '\\+' and ':'"),
        (0, {"key": "a\0b"}, "without '@', '\\+' and ':'"),
        (0, {"key": "dispatch"}, "the name of the first call"),
        (0, {"until": []}, "until: is one of"),
        (1, {"event": "remind"}, "has no breach with until 'accept' at 300 s"),
        (4, {"after_s": 1799}, "a breach at 1799 s contradicts dispose_limit_s = 1800"),
    ],
)
def test_a_ladder_that_contradicts_its_limits_is_refused(number: int, change: dict[str, Any], sentence: str) -> None:
    """A step is named by its number."""
    body = Policy().to_json()
    body["ladder"] = [dict(step) for step in body["ladder"]]
    body["ladder"][number] |= change
    with pytest.raises(BadPolicy, match=sentence):
        parse_policy(body)


@pytest.fixture
def many(world: World) -> World:
    """Two hundred fires at once, all silent."""
    with world.database.write() as session:
        for number in range(200):
            incident = Incident(
                code=f"M{number:04}",
                state="dispatched",
                opened_at=START + timedelta(milliseconds=number),
                policy_id=1,
                county_code=CITY,
                last_seq=0,
                last_hash=journal.GENESIS,
            )
            session.add(incident)
            session.flush()
            deadlines.reconcile(session, incident, START)
    return world


def test_hundreds_of_overdue_fires_are_caught_up_in_order_of_their_true_times(many: World) -> None:
    """In several sweeps: no step missed, none twice, due times never going back."""
    fired = []
    while more := many.sweep(START + timedelta(hours=2)):
        fired += more
    assert len(fired) == len({(item.incident_id, item.step) for item in fired}) == 1400
    assert [item.due_at for item in fired] == sorted(item.due_at for item in fired)
    with many.database.read() as session:
        waiting = session.scalars(select(Deadline.step).where(Deadline.fired_at.is_(None))).all()
        assert set(waiting) == {"dispose.again+1"}
        assert journal.first_broken_line(session, fired[0].incident_id) is None


@pytest.mark.parametrize("change", [{"seq": 9}, {"prev_hash": "f" * 64}, {"seq": 1, "prev_hash": journal.GENESIS}])
def test_the_database_refuses_a_line_that_does_not_follow(world: World, change: dict[str, Any]) -> None:
    """A gap, another past, a second beginning: whatever program writes."""
    fire = row(world, world.dispatched())
    line = {
        "incident_id": fire.id,
        "seq": fire.last_seq + 1,
        "at": world.now,
        "event": "sighting",
        "actor": "system:engine",
        "to_state": "dispatched",
        "data": {},
        "prev_hash": fire.last_hash,
        "hash": "0" * 64,
    } | change
    with pytest.raises(DBAPIError), world.database.write() as session:
        session.add(JournalEntry(**line))


def test_an_answer_that_waited_its_turn_counts_from_its_receipt(world: World) -> None:
    """Received at 299.9 s, written behind a breach of 300.1 s: in time, and the order of the lines stands."""
    fire = world.dispatched()
    received = START + timedelta(seconds=299.9)
    world.advance(seconds=300.1)
    world.sweep(START + timedelta(seconds=300.1))
    world.now = received
    world.apply(fire, Event.ACCEPT, "worker-1")
    entries = world.journal(fire)
    assert [entry.event.value for entry in entries[-2:]] == ["breach", "accept"]
    assert entries[-1].at == entries[-2].at
    world.now = START + timedelta(seconds=301)
    respond = world.clocks(fire)[1]
    assert (respond.verdict.value, respond.elapsed_s) == ("kept", pytest.approx(299.9))
