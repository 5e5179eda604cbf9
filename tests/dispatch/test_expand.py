# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is told what: from the place of a fire to the people's notices."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from server.domain.errors import NotPermitted
from server.domain.lifecycle import Event, State
from server.domain.place import move
from server.domain.policy import Policy
from server.models import Callout, Duty, Incident, Notice, Person
from server.services import outcomes, policies
from tests.dispatch.helpers import expand, logins, told
from tests.support.world import CAMERA, CITY, COUNTY, FAR_VILLAGE, FIELD, NEIGHBOUR, OTHER_COUNTY, VILLAGE, World

# Within two metres of the border between the two villages (28.955 N), east of the camera.
BORDER = (28.95501, 118.8154)


def remove_duty(world: World, division: str, post: str) -> None:
    """Nobody holds this post any more."""
    with world.database.write() as session:
        session.execute(delete(Duty).where(Duty.division_code == division, Duty.post == post))


def dispatch_line(world: World, code: str) -> dict[str, object]:
    """The data of the last DISPATCH line."""
    return dict([entry for entry in world.journal(code) if entry.event is Event.DISPATCH][-1].data)


def test_the_owner_of_the_field_is_told_by_every_channel(world: World) -> None:
    """A fire well inside a village reaches its owner, by MQTT and SMS, and the incident is dispatched there."""
    code = world.sighting(at=FIELD)
    expand(world)
    assert [(notice.login, notice.channel) for notice in told(world, code)] == [
        ("worker-1", "mqtt"),
        ("worker-1", "sms"),
    ]
    assert world.state(code) is State.DISPATCHED
    with world.database.read() as session:
        incident = session.scalars(select(Incident).where(Incident.code == code)).one()
        assert (incident.grid_code, incident.county_code) == (VILLAGE, COUNTY)


def test_the_journal_names_grids_and_person_numbers_but_no_names(world: World) -> None:
    """The dispatch line holds candidates with probabilities and the people's numbers."""
    code = world.sighting(at=FIELD)
    expand(world)
    line = dispatch_line(world, code)
    assert line["grid"] == VILLAGE
    assert line["candidates"] == [{"grid": VILLAGE, "probability": pytest.approx(1.0, abs=0.05)}]
    assert line["people"] == [{"person": world.people["worker-1"], "as": "lead"}]


def test_expanding_twice_tells_nobody_twice(world: World) -> None:
    """A call-out is expanded once."""
    code = world.sighting(at=FIELD)
    assert expand(world) == 1
    assert expand(world) == 0
    assert len(told(world, code)) == 2


def test_near_a_border_both_owners_are_told_and_the_lead_is_named(world: World) -> None:
    """A fire on the border reaches both owners; the second is told who leads."""
    code = world.sighting(at=BORDER)
    expand(world)
    assert sorted(logins(world, code)) == ["neighbour", "worker-1"]
    parts = dispatch_line(world, code)["people"]
    assert [part["as"] for part in parts] == ["lead", "neighbour"]  # type: ignore[attr-defined]
    lead = {VILLAGE: "东村", NEIGHBOUR: "南村"}[str(dispatch_line(world, code)["grid"])]
    assert [f"由{lead}牵头" in notice.text for notice in told(world, code, "sms")].count(True) == 1


def test_without_a_position_only_the_county_is_told(world: World) -> None:
    """Smoke above the horizon has a bearing and no place: the county's duty is told, and no village is."""
    code = world.sighting(at=move(*CAMERA, 250.0, 60_000.0))
    expand(world)
    assert logins(world, code) == ["county"]
    assert "方位250°" in told(world, code, "sms")[0].text
    assert dispatch_line(world, code)["grid"] is None
    with world.database.read() as session:
        assert session.scalars(select(Incident.grid_code).where(Incident.code == code)).one() is None


def test_a_fire_in_the_next_county_becomes_that_countys(world: World) -> None:
    """The camera's county is only where it stands: the place decides."""
    code = world.sighting(at=FIELD)
    with world.database.write() as session:
        session.execute(update(Incident).where(Incident.code == code).values(lat=28.96, lon=119.0))
    expand(world)
    assert logins(world, code) == ["stranger"]
    with world.database.read() as session:
        incident = session.scalars(select(Incident).where(Incident.code == code)).one()
        assert (incident.grid_code, incident.county_code) == (FAR_VILLAGE, OTHER_COUNTY)


def test_a_missing_owner_is_stood_in_for_by_the_deputy_on_record(world: World) -> None:
    """With no owner the deputy is told, and the journal says why."""
    remove_duty(world, VILLAGE, "owner")
    code = world.sighting(at=FIELD)
    expand(world)
    assert logins(world, code) == ["worker-2"]
    gaps = [entry.data for entry in world.journal(code) if entry.event is Event.UNREACHED]
    assert [(gap["rung"], gap["instead"], gap["grid"]) for gap in gaps] == [("owner", "deputy", VILLAGE)]


def test_with_neither_owner_nor_deputy_the_township_is_told(world: World) -> None:
    """The next rung up stands in for an empty village."""
    remove_duty(world, VILLAGE, "owner")
    remove_duty(world, VILLAGE, "deputy")
    code = world.sighting(at=FIELD)
    expand(world)
    assert logins(world, code) == ["leader"]


def test_with_nobody_at_all_the_journal_says_so_and_the_incident_stays_open(world: World) -> None:
    """A region without any people loses no incident."""
    with world.database.write() as session:
        session.execute(delete(Duty))
    code = world.sighting(at=FIELD)
    expand(world)
    assert told(world, code) == []
    assert world.journal(code)[-1].data["reason"] == "nobody holds this post"
    assert world.state(code) is State.DISPATCHED


def test_silence_climbs_to_the_township_after_five_minutes(world: World) -> None:
    """Owner, then owner and deputy at two minutes, then the township's leader at five, each in words of its own."""
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=2, seconds=1)
    expand(world)
    assert logins(world, code) == ["worker-1", "worker-2"]
    world.advance(minutes=3)
    expand(world)
    assert logins(world, code)[-1] == "leader"
    texts = [notice.text for notice in told(world, code, "sms")]
    assert len(set(texts)) == len(texts) == 4
    assert "超时" in texts[-1]
    assert "5分钟无人签收" in texts[-1]


def test_a_stand_in_is_told_once_for_one_cause(world: World) -> None:
    """A deputy who stands in for the owner gets one reminder, although both rungs are reminded."""
    remove_duty(world, VILLAGE, "owner")
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=2, seconds=1)
    expand(world)
    assert len(told(world, code, "sms")) == 2


def test_a_handed_over_fire_reaches_the_new_owner_in_its_own_words(world: World) -> None:
    """After a hand-over the new grid's owner is called, whatever the position says."""
    code = world.sighting(at=FIELD)
    expand(world)
    world.apply(code, Event.TRANSFER, "worker-1", to=NEIGHBOUR)
    expand(world)
    assert logins(world, code) == ["worker-1", "neighbour"]
    assert "转派" in told(world, code, "sms")[-1].text


def test_nobody_is_called_for_an_incident_that_is_over(world: World) -> None:
    """A fire marked false before the call-out was expanded calls nobody."""
    code = world.sighting(at=FIELD)
    world.apply(code, Event.MARK_FALSE, "county", reason="fog")
    expand(world)
    assert told(world, code) == []
    with world.database.read() as session:
        assert session.scalars(select(Callout.expanded_at)).all() == [world.now]


def test_a_shift_goes_before_the_standing_duty_and_ends(world: World) -> None:
    """While a substitute's shift runs, the substitute is told; after it, the owner again."""
    with world.database.write() as session:
        session.add(
            Duty(
                division_code=VILLAGE,
                person_id=world.people["stranger"],
                post="owner",
                starts_at=world.now - timedelta(hours=1),
                ends_at=world.now + timedelta(hours=1),
            )
        )
    during = world.sighting(at=FIELD)
    expand(world)
    world.apply(during, Event.MARK_FALSE, "county", reason="fog")
    world.now += timedelta(hours=1)
    after = world.sighting(at=FIELD)
    expand(world)
    assert (logins(world, during), logins(world, after)) == (["stranger"], ["worker-1"])


def test_each_reads_in_their_own_language(world: World) -> None:
    """The English-speaking deputy is reminded in English."""
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=2, seconds=1)
    expand(world)
    english = [notice.text for notice in told(world, code, "sms") if notice.login == "worker-2"]
    assert english[0].startswith("[Straw1530] REMINDER")


def test_a_person_without_a_number_is_told_by_mqtt_alone(world: World) -> None:
    """No phone, no SMS."""
    from server.models import Person

    with world.database.write() as session:
        session.get_one(Person, world.people["worker-1"]).phone = None
    code = world.sighting(at=FIELD)
    expand(world)
    assert [notice.channel for notice in told(world, code)] == ["mqtt"]


def test_the_payload_is_the_wires_notice(world: World) -> None:
    """Every field of docs/wire.md is there, and the id is the row's."""
    world.sighting(at=FIELD)
    expand(world)
    with world.database.read() as session:
        notice = session.scalars(select(Notice).where(Notice.channel == "mqtt")).one()
    assert set(notice.payload) == {
        *("v", "id", "incident", "rung", "kind", "drill", "title", "text", "place", "lat", "lon", "radius_m"),
        *("bearing", "t2", "accept_by", "dispose_by", "picture"),
    }
    assert notice.payload["id"] == notice.id
    assert notice.payload["place"] == "柯城区 石梁镇 东村"


# Departments, beside the ladder


def add_department(world: World, login: str, division: str, post: str) -> None:
    """Somebody at a department, who sees a county or the city and holds its post there."""
    with world.database.write() as session:
        person = Person(login=login, name=login, phone=None, language="zh", role="department", area_code=division)
        session.add(person)
        session.flush()
        session.add(Duty(division_code=division, person_id=person.id, post=post))
        world.people[login] = person.id


def with_departments(world: World) -> None:
    """The county tells its departments when the disposal's limit passes."""
    ladder = tuple(
        replace(step, rungs=(*step.rungs, "departments")) if step.key == "dispose.limit" else step
        for step in Policy().ladder
    )
    with world.database.write() as session:
        policies.publish(session, COUNTY, Policy(ladder=ladder), world.now)


def test_the_departments_of_county_and_city_are_told_beside_the_ladder(world: World) -> None:
    """Those of this county and of the city, once each; the next county's are not."""
    add_department(world, "firemen", COUNTY, "fire")
    add_department(world, "air", CITY, "ecology")
    add_department(world, "others", OTHER_COUNTY, "fire")
    with_departments(world)
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=31)
    expand(world)
    assert sorted(one.login for one in told(world, code, "mqtt") if one.rung == "departments") == ["air", "firemen"]


def test_where_no_department_subscribed_the_journal_says_so_and_nobody_stands_in(world: World) -> None:
    """The rung stands beside the ladder: it is not made up for by the city."""
    with_departments(world)
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=31)
    expand(world)
    unreached = [entry.data for entry in world.journal(code) if entry.event is Event.UNREACHED]
    assert [(line["rung"], line["cause"]) for line in unreached] == [("departments", "dispose.limit")]
    assert all(one.rung != "departments" for one in told(world, code, "mqtt"))


def test_a_department_that_cannot_be_reached_calls_nobody_else(world: World) -> None:
    """The failed notice is on record, and no rung is called in its place."""
    add_department(world, "firemen", COUNTY, "fire")
    with_departments(world)
    code = world.sighting(at=FIELD)
    expand(world)
    world.advance(minutes=31)
    expand(world)
    with world.database.write() as session:
        theirs = session.scalars(select(Notice).where(Notice.person_id == world.people["firemen"])).one()
        outcomes.record_failed(session, theirs.id, "no such client", world.now)
    assert not [cause for cause, _ in world.callouts(code) if cause.startswith("unreached")]


def test_a_department_sees_the_fire_and_changes_nothing(world: World) -> None:
    """It was told, so the incident is its business; answering, judging and closing it are not."""
    add_department(world, "firemen", COUNTY, "fire")
    code = world.dispatched()
    for event in (Event.ACCEPT, Event.MARK_FALSE, Event.TRANSFER, Event.VERIFY):
        with pytest.raises(NotPermitted, match="'department'"):
            world.apply(code, event, "firemen", reason="fog", to=NEIGHBOUR)


# After the report


def test_a_report_that_waits_is_asked_for_and_a_verified_one_is_closed(world: World) -> None:
    """The county is told to verify half an hour after the report, and to close a day after it, each in its words."""
    code = world.dispatched()
    world.apply(code, Event.ACCEPT, "worker-1")
    world.apply(code, Event.ARRIVE, "worker-1")
    world.report_done(code, "worker-1")
    world.advance(minutes=31)
    expand(world)
    assert [one.text for one in told(world, code, "sms") if one.login == "county"] == [
        f"【秸秆禁烧】提醒 {code} 石梁镇东村 处置反馈已30分钟，请尽快核查"
    ]
    world.apply(code, Event.VERIFY, "county")
    world.advance(minutes=1440)
    expand(world)
    assert told(world, code, "sms")[-1].text == f"【秸秆禁烧】提醒 {code} 石梁镇东村 已核查未结案，请尽快结案"
    assert world.state(code) is State.VERIFIED


def test_a_fire_that_is_not_out_is_asked_for_in_words_that_go_with_the_time(world: World) -> None:
    """Each round says how long it has been: no text is like another."""
    code = world.dispatched()
    world.advance(minutes=151)
    expand(world)
    rounds = [one.text for one in told(world, code, "sms") if one.login == "worker-1" and "催办" in one.text]
    assert rounds == [
        f"【秸秆禁烧】催办 {code} 石梁镇东村 报警已{minutes}分钟未处置完毕，请尽快扑灭并反馈"
        for minutes in (90, 120, 150)
    ]
