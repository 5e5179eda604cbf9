# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing people: numbers in every spelling, all lines or none, and nobody left uncallable unnoticed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select

from demo.people import add_people
from demo.region import FOLDER
from server.admin.people import export_people, import_people
from server.admin.phones import to_e164
from server.admin.region import import_region
from server.admin.region_files import read_region
from server.admin.tables import Refused
from server.db import Database
from server.domain.errors import Invalid
from server.models import Duty, Person, PushSubscription
from server.queries import preflight
from tests.support.world import COUNTY, NEIGHBOUR, TOWNSHIP, VILLAGE, World

ZONE = ZoneInfo("Asia/Shanghai")
HEADER = "login,name,phone,language,role,area,post,division,starts_at,ends_at\n"


@pytest.mark.parametrize(
    "written",
    [
        *("13800138000", "138 0013 8000", "138-0013-8000", "+86 138 0013 8000", "0086 13800138000", "8613800138000"),
        *(
            "+86-138-0013-8000",
            "１３８００１３８０００",
            "(138)00138000",
            "\u202d13800138000\u202c",
            "+86.138.0013.8000",
            "138\u20140013\u20138000",
            "tel:+86-13800138000",
            "+86 (0)138 0013 8000",
            "138\u0660\u0660\u0661\u0663\u0668\u0660\u0660\u0660",
        ),
    ],
)
def test_a_mainland_mobile_number_in_every_spelling(written: str) -> None:
    """Spaces, dashes, brackets, full-width and other digits, invisible marks: one number."""
    assert to_e164(written) == "+8613800138000"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+1 (202) 555-0153", "+12025550153"),
        ("0044 20 7946 0000", "+442079460000"),
        ("+44 (0)20 7946 0000", "+442079460000"),
        ("+8612000000001", "+8612000000001"),
    ],
)
def test_numbers_elsewhere_need_their_country(written: str, expected: str) -> None:
    """With a plus or 00 any country's number is taken."""
    assert to_e164(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "110",
        "1380013800",
        "138001380000",
        "0570-3021234",
        "+86 570 3021234",
        "12025550153x",
        "+0123456789",
        "abc",
        "+",
    ],
)
def test_what_is_no_callable_number_is_refused(written: str) -> None:
    """Too short, too long, a landline, letters."""
    with pytest.raises(Invalid):
        to_e164(written)


@given(st.text(max_size=30))
def test_any_text_becomes_e164_or_is_refused(written: str) -> None:
    """Nothing else comes out."""
    try:
        number = to_e164(written)
    except Invalid:
        return
    assert number[0] == "+"
    assert number[1:].isdecimal()
    assert number.isascii()
    assert number[1:].isascii()
    assert 8 <= len(number[1:]) <= 15


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV file of people."""

    def write(*lines: str) -> Path:
        path = tmp_path / "people.csv"
        path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
        return path

    return write


def refusals(world: World, path: Path) -> list[str]:
    """The sentences with which a file is refused; checks that nothing was written."""
    with world.database.read() as session:
        before = (set(session.scalars(select(Person.login))), len(session.scalars(select(Duty.id)).all()))
    with pytest.raises(Refused) as refused, world.database.write() as session:
        import_people(session, path, ZONE)
    with world.database.read() as session:
        assert before == (set(session.scalars(select(Person.login))), len(session.scalars(select(Duty.id)).all()))
    return [str(problem) for problem in refused.value.problems]


def test_people_and_duties_come_in_and_twice_changes_nothing(world: World, file: Callable[..., Path]) -> None:
    """One person on two lines holds two duties."""
    path = file(
        f"wang,王某,138 0013 8000,,worker,{TOWNSHIP},leader,,,",
        f"wang,王某,138 0013 8000,,worker,{TOWNSHIP},deputy,{NEIGHBOUR},,",
        f"li,Li,+1 202 555 0153,en,supervisor,{COUNTY},,,,",
    )
    with world.database.write() as session:
        done = import_people(session, path, ZONE)
        assert (done.people_added, done.duties_added) == (2, 2)
    with world.database.write() as session:
        done = import_people(session, path, ZONE)
        assert (done.people_added, done.people_changed, done.duties_added, done.duties_ended) == (0, 0, 0, 0)
        person = session.scalars(select(Person).where(Person.login == "wang")).one()
        assert (person.phone, person.language, person.password_hash) == ("+8613800138000", "zh", None)


def test_every_fault_is_told_by_its_line_and_nothing_is_written(world: World, file: Callable[..., Path]) -> None:
    """A file with one good line and many bad ones changes nothing."""
    path = file(
        f"good,某,13800138000,zh,worker,{VILLAGE},,,,",
        f"no slash/please,某,13800138001,zh,worker,{VILLAGE},,,,",
        f"a,,13800138002,zh,worker,{VILLAGE},,,,",
        f"b,某,1380013,zh,worker,{VILLAGE},,,,",
        f"c,某,13800138003,zh,chief,{VILLAGE},,,,",
        f"d,某,13800138004,fr,worker,{VILLAGE},,,,",
        "e,某,13800138005,zh,worker,999,,,,",
        f"f,某,,zh,worker,{VILLAGE},,,,",
        f"g,某,13800138006,zh,worker,{VILLAGE},king,,,",
        f"h,某,13800138007,zh,worker,{VILLAGE},leader,{VILLAGE},,",
        f"i,某,13800138008,zh,worker,{VILLAGE},deputy,,soon,",
        f"j,某,13800138009,zh,worker,{VILLAGE},deputy,,2026-10-02T00:00Z,2026-10-01T00:00Z",
        f"engine,某,13800138010,zh,worker,{VILLAGE},,,,",
        f"edge-1,某,13800138011,zh,worker,{VILLAGE},,,,",
        f"good,另,13800138000,zh,worker,{VILLAGE},,,,",
        f"k,某,13800138000,zh,worker,{VILLAGE},,,,",
        f"l,某,13800138012,zh,worker,{VILLAGE},owner,,,",
        f"m,某,13800138013,zh,worker,{VILLAGE},deputy,,0001-01-01 00:00,",
        f"n,某,13800138014,zh,worker,{VILLAGE},owner,,,2026-12-01 00:00",
        f"o,某,13800138015,zh,worker,{VILLAGE},owner,,,",
    )
    found = refusals(world, path)
    assert [sentence.split(":")[0] for sentence in found] == [f"people.csv, line {n}" for n in (*range(3, 20), 21)]
    words = [
        *("login", "no name", "not a telephone number", "the role", "the language", "the area", "has no phone"),
        *("the post", "is held in a township", "is not a time", "before it starts", "part of the system"),
        *("part of the system", "described otherwise in line 2", "the same number as good", "has an owner without end"),
        # The end of another's duty makes no room for a second owner.
        *("is not a time", "has an owner without end, worker-1"),
    ]
    assert [word for word, sentence in zip(words, found, strict=True) if word not in sentence] == []


def test_a_post_is_handed_over_by_ending_one_duty_and_beginning_the_next(
    world: World, file: Callable[..., Path]
) -> None:
    """The old owner's line gets an end, the new owner's follows; both in one file."""
    path = file(
        f"worker-1,某1,+8612000000001,zh,worker,{VILLAGE},owner,{VILLAGE},,2026-11-01T00:00+08:00",
        f"new,新某,13800138000,zh,worker,{VILLAGE},owner,{VILLAGE},,",
    )
    with world.database.write() as session:
        done = import_people(session, path, ZONE)
    assert (done.people_added, done.duties_added, done.duties_ended) == (1, 1, 1)


def test_what_is_exported_comes_in_again_and_changes_nothing(world: World, tmp_path: Path) -> None:
    """Everybody with their duties; people from elsewhere read the same file."""
    with world.database.read() as session:
        assert export_people(session, tmp_path / "people.csv", ZONE) == 9
    with world.database.write() as session:
        done = import_people(session, tmp_path / "people.csv", ZONE)
        assert (done.people_added, done.people_changed, done.duties_added, done.duties_ended) == (0, 0, 0, 0)
        session.execute(delete(Duty))
        assert import_people(session, tmp_path / "people.csv", ZONE).duties_added == 8


@pytest.mark.parametrize("name", ['=HYPERLINK("https://a.example")', "@SUM(1)", "-1+1", "+1+1", "-", "'某"])
def test_a_name_that_looks_like_a_formula_is_exported_as_none(world: World, tmp_path: Path, name: str) -> None:
    """A spreadsheet that opens the file calculates nothing; what comes in again is the name as it was."""
    with world.database.write() as session:
        session.get_one(Person, world.people["worker-1"]).name = name
    with world.database.read() as session:
        export_people(session, tmp_path / "people.csv", ZONE)
    cells = next(csv.reader(line for line in (tmp_path / "people.csv").read_text().splitlines() if "worker-1" in line))
    assert not cells[1].startswith(("=", "@", "-", "+"))
    assert cells[2] == "+8612000000001"
    with world.database.write() as session:
        assert import_people(session, tmp_path / "people.csv", ZONE).people_changed == 0


@pytest.mark.parametrize("text", ["", "login\nx\n", "login,name,phone,language,role\n"])
def test_a_header_that_lacks_columns_is_named(world: World, tmp_path: Path, text: str) -> None:
    """Which ones."""
    path = tmp_path / "people.csv"
    path.write_text(text)
    assert "the header lacks" in refusals(world, path)[0]


def test_a_header_that_has_a_column_twice_is_refused(world: World, tmp_path: Path) -> None:
    """A mobile and an office's number under one name: the second, often empty, would count."""
    path = tmp_path / "people.csv"
    path.write_text(f"login,name,phone,language,role,area,phone\nli,李某,13800138000,,supervisor,{COUNTY},\n")
    assert refusals(world, path) == ["people.csv, line 1: the header has phone twice: which one counts?"]


def test_rows_without_a_value_are_passed_over(world: World, file: Callable[..., Path]) -> None:
    """As Excel saves them below a table; the lines behind keep their numbers."""
    path = file(
        f"wang,王某,13800138000,,worker,{NEIGHBOUR},,,,", ",,,,,,,,,", f"li,,,,worker,{NEIGHBOUR},,,,", " ,,,,,,,,,"
    )
    assert refusals(world, path) == ["people.csv, line 4: li has no name"]


def test_a_line_with_too_many_values_is_named(world: World, file: Callable[..., Path]) -> None:
    """An unquoted comma moves every column after it."""
    assert "more values than the header" in refusals(world, file("a,b,c,d,e,f,g,h,i,j,k"))[0]


# Preflight and the demo's people


def test_preflight_names_each_post_nobody_holds(world: World) -> None:
    """The neighbour village has no deputy, the other township no leader …; an ended duty counts as none."""
    with world.database.write() as session:
        found = {(gap.division, gap.post) for gap in preflight.gaps(session, world.now, zone=ZONE)}
        assert (NEIGHBOUR, "deputy") in found
        assert (VILLAGE, "owner") not in found
        duty = session.scalars(select(Duty).where(Duty.division_code == VILLAGE, Duty.post == "owner")).one()
        duty.ends_at = world.now
        session.flush()
        assert (VILLAGE, "owner") in {(gap.division, gap.post) for gap in preflight.gaps(session, world.now, zone=ZONE)}


def test_preflight_names_who_has_no_channel(world: World) -> None:
    """An owner without number and password cannot be told by any channel; with a password MQTT is one."""
    with world.database.write() as session:
        owner = session.get_one(Person, world.people["worker-1"])
        owner.phone = None
        session.flush()
        silent = [gap for gap in preflight.gaps(session, world.now, zone=ZONE) if gap.division == VILLAGE]
        assert [gap.post for gap in silent] == ["owner"]
        assert "worker-1" in str(silent[0])
        owner.password_hash = "scrypt:…"
        session.flush()
        assert [gap for gap in preflight.gaps(session, world.now, zone=ZONE) if gap.division == VILLAGE] == []


def test_preflight_counts_every_channel_that_leads_to_somebody(world: World) -> None:
    """A robot or a webhook by the file of addresses, a browser that asked for push: each only where it is set up."""
    with world.database.write() as session:
        owner = session.get_one(Person, world.people["worker-1"])
        owner.phone = None

        def reached(**channels: Collection[str] | None) -> bool:
            session.flush()
            found = preflight.gaps(session, world.now, zone=ZONE, channels=channels, prefix=VILLAGE)
            return ("owner", "silent") not in {(gap.post, gap.kind) for gap in found}

        assert not reached(mqtt=None, sms=None, voice=None, webpush=None, chat=["group"], webhook=[])
        assert reached(sms=None, chat=["group", "worker-1"])
        assert reached(webhook=["worker-1"])
        push = PushSubscription(person_id=owner.id, endpoint="https://push.example/1", p256dh="k", auth="a")
        push.created_at = world.now
        session.add(push)
        assert reached(webpush=None)
        assert not reached(sms=None)


def test_preflight_finds_a_shift_whose_holder_no_channel_reaches(world: World) -> None:
    """A standing owner with a number does not help: while the shift lasts, they would not be called."""
    hour = timedelta(hours=1)
    with world.database.write() as session:
        session.get_one(Person, world.people["worker-2"]).phone = None
        shift = Duty(division_code=VILLAGE, person_id=world.people["worker-2"], post="owner")
        shift.starts_at, shift.ends_at = world.now + 3 * hour, world.now + 5 * hour
        session.add(shift)
        session.flush()
        found = preflight.gaps(session, world.now, zone=ZONE, ahead=timedelta(days=7), prefix=VILLAGE)
    owner = next(gap for gap in found if gap.post == "owner")
    assert (owner.kind, owner.silent) == ("silent", ("worker-2",))
    assert (owner.since, owner.until) == (world.now + 3 * hour, world.now + 5 * hour)


def test_preflight_finds_a_hole_in_the_roster_before_it_comes(world: World) -> None:
    """Shifts that leave three hours on the second day uncovered: the gap with its hours, and none when filled."""
    hour = timedelta(hours=1)
    with world.database.write() as session:
        duty = session.scalars(select(Duty).where(Duty.division_code == VILLAGE, Duty.post == "owner")).one()
        duty.ends_at = world.now + 20 * hour
        shift = Duty(division_code=VILLAGE, person_id=world.people["worker-2"], post="owner")
        shift.starts_at = world.now + 23 * hour
        session.add(shift)
        session.flush()

        def holes(days: int) -> list[tuple[object, object]]:
            found = preflight.gaps(session, world.now, zone=ZONE, ahead=timedelta(days=days), prefix=VILLAGE)
            return [(gap.since, gap.until) for gap in found]

        assert holes(0) == []
        assert holes(7) == [(world.now + 20 * hour, world.now + 23 * hour)]
        shift.starts_at = world.now + 20 * hour
        session.flush()
        assert holes(7) == []
        shift.ends_at = world.now + 90 * hour
        session.flush()
        assert holes(7) == [(world.now + 90 * hour, None)]


def test_the_demos_people_leave_no_gap_and_come_once(database: Database) -> None:
    """Two for each village, one for each township, county and the city, an admin; fictional numbers, no passwords."""
    with database.write() as session:
        import_region(session, read_region(FOLDER))
    with database.write() as session:
        assert add_people(session) == 2 * 1664 + 100 + 6 + 1 + 1
    with database.write() as session:
        assert add_people(session) == 0
        assert preflight.gaps(session, datetime(2026, 10, 8, tzinfo=UTC), zone=ZONE) == []
        phones = session.scalars(select(Person.phone)).all()
        assert len(set(phones)) == len(phones)
        assert all(phone is not None and phone.startswith("+8612") for phone in phones)
        assert all("虚构" in name for name in session.scalars(select(Person.name)))
        assert session.scalars(select(Person.id).where(Person.password_hash.is_not(None))).all() == []
        session.execute(delete(Duty).where(Duty.division_code == "330802100001", Duty.post == "owner"))
        gaps = preflight.gaps(session, datetime(2026, 10, 8, tzinfo=UTC), zone=ZONE)
        assert [(gap.division, gap.post) for gap in gaps] == [("330802100001", "owner")]
