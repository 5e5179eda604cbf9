# SPDX-License-Identifier: AGPL-3.0-or-later
"""Random histories of incidents against a simple model of the rules, on the real engine and real databases.

The model keeps snapshots and restores them on undo; the record derives everything from its journal. They must agree
after every step: state, stamps, verdicts, what is armed, and exactly what fires when.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select, update

from server.domain import clocks
from server.domain.errors import AlreadyAnswered, Invalid, NotAllowedNow, TooLate
from server.domain.lifecycle import Event, State
from server.domain.policy import Policy, Step
from server.evidence import bundle, verify
from server.models import Callout, Deadline, Incident, JournalEntry
from server.services import journal, opening
from tests.server.test_lifecycle import MOVES
from tests.support.world import COUNTY, NEIGHBOUR, VILLAGE, World

PROFILE = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)
TAPS = ["accept", "set_off", "arrive", "start_disposal", "report_done", "report_false"]
DECISIONS = ["verify", "reject", "mark_false", "excuse"]
LADDER = Policy().ladder
GO_ON = {
    "dispatched": ("leader", "accept"),
    "accepted": ("leader", "arrive"),
    "on_site": ("leader", "report_done"),
    "in_hand": ("leader", "report_done"),
    "reported": ("county", "verify"),
    "verified": ("county", "close"),
}


@dataclass(frozen=True)
class Now:
    """What the model knows of one incident; ``starts`` names when the wait for a kind of step began (None: there is
    none, or it was stopped)."""

    state: str
    t2: datetime
    t4: datetime | None = None
    t6: datetime | None = None
    t7: datetime | None = None
    ended: datetime | None = None
    excused: bool = False
    handed_at: datetime | None = None
    accepted: bool = False  # since the last hand-over
    fired: frozenset[tuple[str, datetime]] = frozenset()
    rounds: Mapping[tuple[str, datetime], int] = field(default_factory=dict)  # of repeated steps: which comes next

    def waits(self) -> dict[tuple[str, datetime], datetime]:
        """(step, start) → due, of every step that is waited for, fired or not."""
        if self.state in ("closed", "false_alarm", "excused"):
            return {}
        start = {
            "accept": None if self.accepted else self.handed_at or self.t2,
            "report": None if self.t7 else self.t2,
            "verify": None if self.state == "verified" else self.t7,
            "close": self.t7,
        }
        promised = self.t2 if self.t4 is None else None  # the breach of it, whoever it was handed to
        return {
            named(step, n := self.rounds.get((step.key, at), 0), at): at
            + timedelta(seconds=step.after_s + n * step.every_s)
            for step in LADDER
            for at in {start[step.until], promised if (step.until, step.event) == ("accept", "breach") else None}
            if at is not None
        }

    def rings(
        self, now: datetime, end: datetime
    ) -> tuple[dict[tuple[str, datetime], datetime], dict[tuple[str, datetime], int]]:
        """What fires from now to the end, (step, start) → due, and the rounds that come after that."""
        due = {key: moment for key, moment in self.waits().items() if moment < end and key not in self.fired}
        rounds = dict(self.rounds)
        for step in LADDER:
            for at in {start for key, start in due if key.partition("+")[0] == step.key and step.every_s}:
                n = rounds.get((step.key, at), 0)
                first = at + timedelta(seconds=step.after_s)
                while (moment := first + timedelta(seconds=n * step.every_s)) < end:
                    due[named(step, n, at)] = moment
                    fires = max(moment + timedelta(milliseconds=1), now)
                    # Rounds that were missed are not made up for.
                    n = max(n + 1, math.ceil((fires - first) / timedelta(seconds=step.every_s)))
                rounds[step.key, at] = n
        return due, rounds


def named(step: Step, n: int, at: datetime) -> tuple[str, datetime]:
    """A step's round and where its wait began."""
    return (f"{step.key}+{n}" if n else step.key), at


@dataclass
class Move:
    """A tap that could be taken back: whose, what, when, and how things stood before."""

    by: str
    event: str
    at: datetime
    before: Now


@dataclass
class Model:
    """The rules once more, with snapshots."""

    now: Now
    moves: list[Move | None] = field(default_factory=list)  # None: a move that nobody takes back

    def allowed(self, event: str) -> bool:
        """Whether the prose of the rules has this step."""
        return any(move.startswith(f"{event}>") for move in MOVES[State(self.now.state)].split())

    def do(self, event: str, by: str, at: datetime) -> None:
        """Take a step that is allowed."""
        target = next(
            move.split(">")[1] for move in MOVES[State(self.now.state)].split() if move.startswith(f"{event}>")
        )
        before, now = self.now, replace(self.now, state=target)
        match event:
            case "accept":
                now = replace(now, t4=before.t4 or at, accepted=True)
            case "arrive":
                now = replace(now, t6=before.t6 or at)
            case "report_done" | "report_false":
                now = replace(now, t7=before.t7 or at)
            case "reject":
                now = replace(now, t7=None)
            case "transfer":
                now = replace(now, handed_at=at, accepted=False)
            case "mark_false" | "excuse":
                now = replace(now, excused=before.excused or event == "excuse")
                if target in ("false_alarm", "excused"):
                    now = replace(now, ended=before.ended or at)
        self.now = now
        if event in TAPS + DECISIONS:
            self.moves.append(Move(by, event, at, before))
        elif target != before.state:
            self.moves.append(None)

    def undo(self) -> None:
        """Take the last move back; what fired meanwhile has fired."""
        move = self.moves.pop()
        assert move is not None
        moved = move.before.state != self.now.state
        self.now = replace(move.before, fired=self.now.fired, rounds=self.now.rounds)
        if moved:
            self.moves.append(None)


class Histories(RuleBasedStateMachine):
    """One incident at a time; those of earlier histories are laid to rest."""

    world: World

    @initialize()
    def a_fire(self) -> None:
        """Opened and dispatched."""
        with self.world.database.write() as session:
            incident = opening.open_incident(
                session, county_code=COUNTY, place=None, actor="system:engine", data={}, now=self.world.now
            )
        self._begin(incident.code)

    def _begin(self, code: str) -> None:
        self.code = code
        self.model = Model(Now("dispatched", self.world.now))
        self.world.apply(code, Event.DISPATCH, None, grid=VILLAGE)
        self.world.now += timedelta(seconds=1)  # a hand-over is never at the moment of the alert

    def teardown(self) -> None:
        """Nothing of this history fires in the next."""
        with self.world.database.write() as session:
            unfired = update(Deadline).where(Deadline.fired_at.is_(None), Deadline.cancelled_at.is_(None))
            session.execute(unfired.values(cancelled_at=self.world.now))
        self.world.now += timedelta(seconds=1)

    def _attempt(self, event: str, by: str, **data: object) -> None:
        allowed = self.model.allowed(event)
        before = self.world.events(self.code)
        try:
            if event == "report_done" and allowed:
                self.world.report_done(self.code, by)
            else:
                self.world.apply(self.code, Event(event), by, **data)
        except NotAllowedNow:
            assert not allowed, f"{event} was refused in {self.model.now.state}"
            assert self.world.events(self.code) == before
        except AlreadyAnswered:  # a second acceptance has its own words
            assert (event, allowed) == ("accept", False)
        else:
            assert allowed, f"{event} was taken in {self.model.now.state}"
            self.model.do(event, by, self.world.now)

    @rule(event=st.sampled_from(TAPS))
    def tap(self, event: str) -> None:
        """The worker does something, sensible or not."""
        self._attempt(event, "leader", reason="fog")

    @rule(event=st.sampled_from(DECISIONS))
    def decide(self, event: str) -> None:
        """The supervisor decides something, sensible or not."""
        self._attempt(event, "county", reason="other", note="as seen")

    @rule(to=st.sampled_from([VILLAGE, NEIGHBOUR]))
    def hand_over(self, to: str) -> None:
        """To the other village, or the same."""
        self._attempt("transfer", "leader", to=to)

    @precondition(lambda self: self.model.now.state in GO_ON)
    @rule(seconds=st.sampled_from([0, 1, 59, 150, 400, 2000]))
    def go_on(self, seconds: float) -> None:
        """Some time, and the next sensible step, so that histories get far."""
        self.time_passes(seconds)
        by, step = GO_ON[self.model.now.state]
        self._attempt(step, by)

    @precondition(lambda self: self.model.now.state == "reported")
    @rule()
    def reject(self) -> None:
        """The supervisor still sees smoke."""
        self._attempt("reject", "county", note="still smoking")

    @rule(by=st.sampled_from(["leader", "county"]))
    def undo(self, by: str) -> None:
        """Take the last tap back, one's own or another's, in time or not."""
        last = self.model.moves[-1] if self.model.moves else None
        mine = last is not None and last.by == by
        in_time = last is not None and self.world.now - last.at <= timedelta(seconds=60)
        try:
            self.world.apply(self.code, Event.UNDO, by)
        except Invalid:
            assert not mine
        except TooLate:
            assert mine
            assert not in_time
        else:
            assert mine
            assert in_time
            self.model.undo()

    @precondition(lambda self: self.model.now.state in ("closed", "false_alarm", "excused"))
    @rule()
    def reopen(self) -> None:
        """A new incident, linked; the old one stays, and the history goes on with the new."""
        old = self.code
        self.world.apply(old, Event.REOPEN, "county")
        opened = self.world.journal(old)[-1].data["opened"]
        with self.world.database.read() as session:
            one = session.scalars(select(Incident).where(Incident.code == opened)).one()
            assert session.get_one(Incident, one.reopens_id).code == old
        self._begin(opened)

    @rule(seconds=st.sampled_from([0.5, 1, 30, 60, 61, 119, 120, 121, 300, 301, 900, 1800, 20_000, 90_000]))
    def time_passes(self, seconds: float) -> None:
        """Exactly the steps whose moment passed fire, each at its due moment, in order."""
        end = self.world.now + timedelta(seconds=seconds)
        due, rounds = self.model.now.rings(self.world.now, end)
        fired = self.world.advance(seconds=seconds)
        found = [(item.step.partition("@")[0], item.due_at) for item in fired]
        assert sorted(found) == sorted((key, moment) for (key, _), moment in due.items())
        assert [item.due_at for item in fired] == sorted(item.due_at for item in fired)
        assert all(item.due_at < item.fired_at for item in fired)
        self.model.now = replace(self.model.now, fired=self.model.now.fired | set(due), rounds=rounds)

    @invariant()
    def the_record_agrees(self) -> None:
        """State, stamps, clocks and the armed steps are the model's; the chain is whole."""
        if not hasattr(self, "model"):
            return
        now, policy = self.model.now, Policy()
        entries = self.world.journal(self.code)  # which checks the chain
        assert self.world.state(self.code) == now.state
        times = clocks.stamps(entries, policy)
        assert (times.t2, times.t4, times.t6, times.t7) == (now.t2, now.t4, now.t6, now.t7)
        assert (times.ended, times.excused, times.doubtful) == (now.ended, now.excused, frozenset())
        assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        armed = sorted(step.partition("@")[0] for step in self.world.armed(self.code))
        assert armed == sorted(key for key, at in now.waits() if (key, at) not in now.fired)

    @invariant()
    def every_step_at_most_once_with_its_calls(self) -> None:
        """One journal line and one set of call-outs for each fired deadline, in the database itself; and the verifier
        of bundles, which shares no code with the record, finds the same stamps, verdicts and shares in the lines."""
        if not hasattr(self, "code"):
            return
        with self.world.database.read() as session:
            incident = session.scalars(select(Incident).where(Incident.code == self.code)).one()
            number = incident.id
            rows = session.scalars(
                select(Deadline).where(Deadline.incident_id == number, Deadline.fired_at.is_not(None))
            ).all()
            journalled = journal.lines(session, number)
            self._verify(incident, journalled)
            lines = [entry for entry in journalled if entry.actor == "system:clock"]
            calls = session.scalar(
                select(func.count()).where(
                    Callout.incident_id == number, Callout.kind.in_(["remind", "escalate", "breach"])
                )
            )
        assert sorted(row.step for row in rows) == sorted(entry.data["step"] for entry in lines)
        assert len({row.step for row in rows}) == len(rows)
        assert calls == sum(len(entry.data["rungs"]) for entry in lines)

    def _verify(self, incident: Incident, journalled: list[JournalEntry]) -> None:
        stated = json.loads(bundle.times(incident, journalled, self.world.now)["stamps.json"])
        lines = [journal.line_of(row) for row in journalled]
        found = verify.derived(lines, incident.policy.body, self.world.now)
        assert list(verify.differences("", found, stated)) == []


def test_random_histories_follow_the_rules(world: World) -> None:
    """Forty histories of up to thirty steps each (twelve on PostgreSQL), the same ones every time."""
    few = world.database.url.get_backend_name() != "sqlite"
    profile = settings(PROFILE, max_examples=12) if few else PROFILE
    run_state_machine_as_test(lambda: _with(world), settings=profile)


def _with(world: World) -> Histories:
    machine = Histories()
    machine.world = world
    return machine
