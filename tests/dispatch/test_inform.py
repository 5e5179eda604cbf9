# SPDX-License-Identifier: AGPL-3.0-or-later
"""The others are told when one accepts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from dispatch.channels import Never
from dispatch.expand import Expander
from server.domain.errors import AlreadyAnswered
from server.domain.lifecycle import Event
from server.models import Callout, Notice
from server.services import outcomes
from tests.dispatch.helpers import ZONE, Pigeon, expand, told
from tests.dispatch.test_channels_in_turn import cycle, dispatcher
from tests.dispatch.test_expand import BORDER
from tests.support.world import FIELD, World


def informed(world: World, code: str) -> list[tuple[str, str, str]]:
    """(login, channel, text) of everybody who was told of an acceptance, or of its end."""
    return [
        (one.login, one.channel, one.text) for one in told(world, code) if "签收前往" in one.text or "撤回" in one.text
    ]


def receipt(world: World, login: str, channel: str) -> None:
    """Somebody's phone says that the word came."""
    with world.database.write() as session:
        rows = session.scalars(select(Notice).where(Notice.channel == channel)).all()
        mine = next(row for row in rows if row.person.login == login)
        outcomes.record_delivered(session, mine, world.now)


def test_the_neighbour_hears_who_has_taken_it_by_the_channel_that_reached_them(world: World) -> None:
    """Near a border both owners were told; one accepts; the other is told once, where the first word arrived."""
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms")
    with dispatcher(world, mqtt, sms) as running:
        code = world.sighting(at=BORDER)
        cycle(running)
        receipt(world, "neighbour", "sms")
        world.apply(code, Event.ACCEPT, "worker-1")
        cycle(running)
        assert informed(world, code) == [
            ("neighbour", "sms", f"【秸秆禁烧】{code} 石梁镇南村 已由某1签收前往，您不必再签收")
        ]
        assert sms.carried[-1].payload["kind"] == "taken"


def test_without_a_receipt_the_word_goes_by_mqtt(world: World) -> None:
    """Texts are not spent on what nobody has to act on."""
    code = world.sighting(at=BORDER)
    mqtt, sms = Pigeon("mqtt"), Pigeon("sms")
    with dispatcher(world, mqtt, sms) as running:
        cycle(running)
        world.apply(code, Event.ACCEPT, "neighbour")
        cycle(running)
    assert [(login, channel) for login, channel, _ in informed(world, code)] == [("worker-1", "mqtt")]


def test_the_first_answer_wins_and_is_told_once(world: World) -> None:
    """The same answer again, and another's answer, tell nobody anything new."""
    code = world.sighting(at=BORDER)
    with dispatcher(world, Pigeon("mqtt")) as running:
        cycle(running)
        world.apply(code, Event.ACCEPT, "worker-1", answer_id="tap-1")
        world.apply(code, Event.ACCEPT, "worker-1", answer_id="tap-1")
        with pytest.raises(AlreadyAnswered):
            world.apply(code, Event.ACCEPT, "neighbour")
        cycle(running, 2)
    assert [login for login, _, _ in informed(world, code)] == ["neighbour"]


def test_who_gives_it_back_has_the_others_told(world: World) -> None:
    """An acceptance taken back within the minute does not leave the neighbour at ease."""
    code = world.sighting(at=BORDER)
    with dispatcher(world, Pigeon("mqtt")) as running:
        cycle(running)
        world.apply(code, Event.ACCEPT, "worker-1")
        cycle(running)
        world.now += timedelta(seconds=20)
        world.apply(code, Event.UNDO, "worker-1")
        cycle(running)
    assert [text.split()[-1] for _, _, text in informed(world, code)] == [
        "已由某1签收前往，您不必再签收",
        "某1撤回了签收，仍待签收，请处理",
    ]


def test_what_was_taken_back_before_it_was_told_is_not_told(world: World) -> None:
    """Only what is still so goes out."""
    code = world.sighting(at=BORDER)
    with dispatcher(world, Pigeon("mqtt")) as running:
        cycle(running)
        world.apply(code, Event.ACCEPT, "worker-1")
        world.apply(code, Event.UNDO, "worker-1")
        world.apply(code, Event.ACCEPT, "worker-1")
        cycle(running)
    assert all("签收前往" in text for _, _, text in informed(world, code))


def test_nobody_stands_in_for_who_cannot_be_informed(world: World) -> None:
    """It asks for nothing: its failure climbs no ladder and its sending stamps no clock."""
    code = world.sighting(at=BORDER)
    mqtt = Pigeon("mqtt")
    with dispatcher(world, mqtt) as running:
        cycle(running)
        before = world.events(code)
        mqtt.outcomes = [Never("gone")]
        world.apply(code, Event.ACCEPT, "worker-1")
        cycle(running)
    assert world.events(code) == [*before, "accept"]
    assert [cause for cause, _ in world.callouts(code)] == ["dispatch", f"taken:{len(before) + 1}"]
    assert [one.state for one in told(world, code)][-1] == "failed"


def test_a_call_out_that_cannot_be_expanded_holds_up_no_other(world: World) -> None:
    """It is put off, logged, and tried again half a minute later."""
    bad = world.sighting(at=FIELD)
    with world.database.write() as session:
        session.scalars(select(Callout)).one().kind = "nonsense"
        session.scalars(select(Callout)).one().cause = "dispose.limit"
    good = world.sighting(at=(28.9465, 118.800))
    expander = Expander(["mqtt"], ZONE)
    with pytest.raises(KeyError), world.database.write() as session:
        expander.step(session, world.now)
    with world.database.write() as session:
        assert expander.step(session, world.now)[0] == 1
    assert told(world, good)
    assert not told(world, bad)
    world.now += timedelta(seconds=31)
    with world.database.write() as session:
        session.scalars(select(Callout).where(Callout.kind == "nonsense")).one().kind = "breach"
        assert expander.step(session, world.now)[0] == 1
    assert told(world, bad)


def test_who_was_never_told_hears_nothing(world: World) -> None:
    """Only those who were called are informed."""
    code = world.sighting(at=FIELD)
    expand(world)
    world.apply(code, Event.ACCEPT, "worker-1")
    expand(world)
    assert informed(world, code) == []
