# SPDX-License-Identifier: AGPL-3.0-or-later
"""What has been done is not asked for any more, whatever waited to be sent."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from dispatch.channels import TryAgain
from server.domain.lifecycle import Event
from server.models import Duty, Notice
from server.services import outcomes
from tests.dispatch.helpers import Pigeon, expand, logins, told
from tests.dispatch.test_channels_in_turn import cycle, dispatcher
from tests.dispatch.test_expand import BORDER
from tests.support.world import FIELD, NEIGHBOUR, World


def test_a_reminder_that_waited_is_not_written_after_the_answer(world: World) -> None:
    """The dispatcher was away when the two minutes passed; the owner accepted before it came back."""
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=2, seconds=1)
    world.apply(code, Event.ACCEPT, "worker-1")
    expand(world)
    assert logins(world, code) == ["worker-1"]
    world.advance(minutes=18)
    expand(world)
    assert logins(world, code) == ["worker-1", "leader"], "the disposal is still asked for"


def test_a_text_that_has_to_wait_is_not_sent_after_the_answer(world: World) -> None:
    """The provider failed once; by the second attempt somebody has accepted, and the neighbour hears that instead."""
    sms = Pigeon("sms", parallel=1, outcomes=[TryAgain("busy"), TryAgain("busy")])
    with dispatcher(world, sms) as running:
        code = world.sighting(at=BORDER)
        cycle(running)
        assert len(sms.carried) == 2
        world.apply(code, Event.ACCEPT, "worker-1")
        world.now += timedelta(minutes=2)
        cycle(running)
    assert [(one.login, one.payload["kind"]) for one in sms.carried[2:]] == [("neighbour", "taken")]
    assert [one.state for one in told(world, code)] == ["skipped", "skipped", "sent"]


def test_nobody_is_called_in_the_place_of_who_has_answered(world: World) -> None:
    """The owner accepted on the page; that their text was lost is on record and calls no deputy."""
    code = world.sighting(at=FIELD)
    sms = Pigeon("sms")
    with dispatcher(world, sms) as running:
        cycle(running)
        world.apply(code, Event.ACCEPT, "worker-1")
        with world.database.write() as session:
            lost = session.scalars(select(Notice)).one()
            assert outcomes.record_undelivered(session, lost, "no such number", world.now)
        cycle(running, 2)
    assert logins(world, code) == ["worker-1"]
    assert world.events(code)[-1] == "unreached"


def test_who_handed_it_over_is_neither_asked_any_more_nor_stood_in_for(world: World) -> None:
    """The owner saw it on the page and handed it on; the text that failed at first stays away, and the one that was
    lost calls nobody of the new grid."""
    with world.database.write() as session:
        session.add(Duty(division_code=NEIGHBOUR, person_id=world.people["worker-2"], post="deputy"))
    sms, webhook = Pigeon("sms", outcomes=[TryAgain("busy")]), Pigeon("chat")
    with dispatcher(world, sms, webhook) as running:
        running._expander._reach.listed = {"chat": ["worker-1"]}  # type: ignore[misc]
        code = world.sighting(at=FIELD)
        cycle(running)
        world.apply(code, Event.TRANSFER, "worker-1", to=NEIGHBOUR)
        with world.database.write() as session:
            lost = session.scalars(select(Notice).where(Notice.channel == "chat")).one()
            outcomes.record_undelivered(session, lost, "gone", world.now)
        world.now += timedelta(minutes=1)
        cycle(running, 3)
    assert [one.login for one in sms.carried] == ["worker-1", "neighbour"]
    assert [one.state for one in told(world, code, "sms")] == ["skipped", "sent"]


def test_who_stands_in_reads_what_is_asked_now(world: World) -> None:
    """Neither township nor county can be told that the half hour passed: the city reads that, not to accept."""
    sms = Pigeon("sms")
    with dispatcher(world, sms) as running:
        code = world.sighting(at=FIELD)
        cycle(running)
        world.apply(code, Event.ACCEPT, "worker-1")
        world.advance(minutes=30, seconds=1)
        cycle(running)
        with world.database.write() as session:
            for notice in session.scalars(select(Notice).where(Notice.state == "sent")):
                if notice.payload["kind"] == "breach":
                    outcomes.record_undelivered(session, notice, "no such number", world.now)
        cycle(running)
    last = told(world, code)[-1]
    assert last.login == "city"
    assert "30分钟未处置完毕" in last.text
