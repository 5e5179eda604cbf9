# SPDX-License-Identifier: AGPL-3.0-or-later
"""Rosters as offices keep them: Excel sheets, working days and holidays, nights, leave and who stands in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zipfile import ZipFile
from zoneinfo import ZoneInfo

import pytest
from openpyxl import Workbook, load_workbook
from sqlalchemy import delete, select

from dispatch.roster import Roster
from server.admin import cli
from server.admin.days import import_days
from server.admin.people import Imported, export_people, import_people
from server.admin.tables import Refused, read_table
from server.models import Absence, Duty, Person
from server.queries import preflight
from tests.support.world import CITY, COUNTY, NEIGHBOUR, TOWNSHIP, VILLAGE, World

ZONE = ZoneInfo("Asia/Shanghai")
HEADER = [
    *("login", "name", "phone", "language", "role", "area"),
    *("post", "division", "days", "hours", "starts_at", "ends_at", "substitute"),
]
Sheet = Callable[..., Path]


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    """Writes a workbook of people; each row as cells of any type."""

    def write(*rows: list[object], name: str = "people.xlsx") -> Path:
        book = Workbook()
        for row in [HEADER, *rows]:
            book.worksheets[0].append(row)
        book.save(tmp_path / name)
        return tmp_path / name

    return write


def take(world: World, path: Path) -> Imported:
    """Import a file."""
    with world.database.write() as session:
        return import_people(session, path, ZONE)


def refused(world: World, path: Path) -> list[str]:
    """Why a file is not taken."""
    with pytest.raises(Refused) as found:
        take(world, path)
    return [str(problem) for problem in found.value.problems]


def on_duty(world: World, at: str, post: str = "owner", division: str = VILLAGE) -> set[str]:
    """Who holds a post at a local time."""
    now = datetime.fromisoformat(at).replace(tzinfo=ZONE)
    with world.database.read() as session:
        return {person.login for person in Roster(session, [division], now, zone=ZONE).on_duty(division, post)}


def worker(number: int, *duty: object) -> list[object]:
    """A line of one of the world's workers."""
    area, language = {1: (VILLAGE, "zh"), 2: (VILLAGE, "en"), 3: (NEIGHBOUR, "zh")}[number]
    login = {1: "worker-1", 2: "worker-2", 3: "neighbour"}[number]
    return [login, f"某{number}", f"+8612000000{number:03}", language, "worker", area, *duty]


# Excel


def test_a_workbook_goes_out_and_comes_in_again_unchanged(world: World, tmp_path: Path, sheet: Sheet) -> None:
    """Everybody with duties, rosters and absences; numbers and codes stay text, and what looks like a formula, too."""
    take(
        world,
        sheet(
            worker(1, "owner", VILLAGE, "work", "08:00-17:30"),
            worker(1, "away", None, None, None, "2026-10-09", "2026-10-12", "worker-2"),
        ),
    )
    with world.database.write() as session:
        session.scalars(select(Person).where(Person.login == "admin")).one().name = "=1+1"
    with world.database.read() as session:
        assert export_people(session, tmp_path / "out.xlsx", ZONE) == 11
    cells = {cell.value: cell.data_type for row in load_workbook(tmp_path / "out.xlsx").worksheets[0] for cell in row}
    assert cells["+8612000000001"] == cells[VILLAGE] == cells["=1+1"] == "s"
    assert take(world, tmp_path / "out.xlsx") == Imported()
    with world.database.write() as session:
        session.execute(delete(Duty))
        session.execute(delete(Absence))
    again = take(world, tmp_path / "out.xlsx")
    assert (again.duties_added, again.absences) == (9, 1)


def test_cells_that_excel_took_for_numbers_and_dates_are_read_as_written(world: World, sheet: Sheet) -> None:
    """A telephone number and a code as numbers, a date as a date; an empty line between."""
    row = ["wang", "王某", 13800138000, None, "worker", int(NEIGHBOUR), "owner", int(NEIGHBOUR), None, None]
    path = sheet([*row, datetime(2026, 10, 9, 8, 0), datetime(2026, 10, 10)], [])  # noqa: DTZ001 - as Excel has them
    assert take(world, path).people_added == 1
    with world.database.read() as session:
        person, duty = session.execute(select(Person, Duty).join(Duty).where(Person.login == "wang")).one()
        assert (person.phone, person.area_code) == ("+8613800138000", NEIGHBOUR)
        assert duty.starts_at == datetime(2026, 10, 9, 8, 0, tzinfo=ZONE)


@pytest.mark.parametrize("size", [b"", b'<dimension ref="A1:M2"/>'])
def test_a_workbook_that_says_too_little_of_its_size_is_read_whole(world: World, tmp_path: Path, size: bytes) -> None:
    """Rows that end with their last value, and a stated size that leaves people out."""
    book = Workbook(write_only=True)
    rows = book.create_sheet()
    for row in [HEADER, worker(1), ["wang", "王某"]]:
        rows.append(row)
    book.save(tmp_path / "plain.xlsx")
    with ZipFile(tmp_path / "plain.xlsx") as plain, ZipFile(tmp_path / "people.xlsx", "w") as sized:
        for name in plain.namelist():
            sized.writestr(name, plain.read(name).replace(b"<sheetData>", size + b"<sheetData>"))
    assert refused(world, tmp_path / "people.xlsx")[0].startswith("people.xlsx, line 3: the role is one of")


def test_a_workbooks_faults_are_told_by_line(world: World, sheet: Sheet, tmp_path: Path) -> None:
    """As for CSV; and a file that is none is refused whole."""
    away = ("away", None, None, None)
    path = sheet(
        worker(1, "owner", VILLAGE, "8,9"),
        worker(1, "owner", VILLAGE, "work", "8:00-17:30"),
        worker(1, "owner", VILLAGE, "work", "08:00-08:00"),
        worker(1, *away, "2026-10-09"),
        worker(1, *away, "2026-10-09", "2026-10-12", "nobody"),
        worker(1, *away, "2026-11-09", "2026-11-12", "worker-1"),
        worker(1, "deputy", VILLAGE, None, None, None, None, "worker-2"),
        worker(2, *away, "2026-10-09", "2026-10-12"),
        worker(2, *away, "2026-10-11", "2026-10-14"),
        ["new", "新", "+8612000000009", "zh", "worker", VILLAGE],
    )
    words = [
        *("the days are work", "must read 08:00-17:30", "begin when they end", "needs starts_at and ends_at"),
        *("'nobody' is nobody here", "cannot stand in for themselves", "stands in for who is 'away'"),
        *("is away already", "the same number as admin"),
    ]
    found = refused(world, path)
    assert [text.split(":")[0] for text in found] == [f"people.xlsx, line {n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 11)]
    assert [word for word, text in zip(words, found, strict=True) if word not in text] == []
    (tmp_path / "no.xlsx").write_bytes(b"PK\x03\x04 no")
    assert "is no Excel workbook" in refused(world, tmp_path / "no.xlsx")[0]
    with pytest.raises(Refused, match="the header lacks day"):
        read_table(path, ["day"])


# Days and hours


@pytest.fixture
def rostered(world: World, sheet: Sheet) -> World:
    """worker-1 by day on working days, worker-2 by night on all days and around the clock on days of rest."""
    with world.database.write() as session:
        session.execute(delete(Duty).where(Duty.division_code == VILLAGE, Duty.post == "owner"))
    take(
        world,
        sheet(
            worker(1, "owner", VILLAGE, "work", "08:00-17:30"),
            worker(2, "owner", VILLAGE, None, "17:30-08:00"),
            worker(2, "owner", VILLAGE, "rest", "08:00-17:30"),
        ),
    )
    return world


@pytest.mark.parametrize(
    ("at", "who"),
    [
        ("2026-10-09 07:59", "worker-2"),
        ("2026-10-09 08:00", "worker-1"),
        ("2026-10-09 17:29", "worker-1"),
        ("2026-10-09 17:30", "worker-2"),
        ("2026-10-10 02:00", "worker-2"),
        ("2026-10-05 10:00", "worker-2"),  # a Monday of the National Day's week
        ("2026-10-10 10:00", "worker-1"),  # a Saturday that makes up for it
        ("2026-10-11 10:00", "worker-2"),  # a Sunday
    ],
)
def test_shifts_follow_the_clock_and_the_countrys_calendar(rostered: World, at: str, who: str) -> None:
    """Day and night, holidays and make-up workdays."""
    assert on_duty(rostered, at) == {who}


def test_weekdays_and_a_shift_before_the_standing_duty(world: World, sheet: Sheet) -> None:
    """Mondays and Wednesdays somebody else leads; on the other days the standing owner does."""
    take(world, sheet(worker(3, "owner", VILLAGE, "3, 1")))
    assert on_duty(world, "2026-10-12 10:00") == on_duty(world, "2026-10-14 23:59") == {"neighbour"}
    assert on_duty(world, "2026-10-13 10:00") == {"worker-1"}


def test_the_countys_own_table_precedes_the_countrys(rostered: World, tmp_path: Path) -> None:
    """The city makes a Friday a day of rest, the county takes that back for itself."""
    path = tmp_path / "days.csv"
    path.write_text(f"day,kind,name,division\n2026-10-09,rest,运动会,{CITY}\n")
    with rostered.database.write() as session:
        assert import_days(session, path) == 1
    assert on_duty(rostered, "2026-10-09 10:00") == {"worker-2"}
    path.write_text(f"day,kind,name,division\n2026/10/09,work,,{COUNTY}\n2026-10-12,rest,,{COUNTY}\n")
    with rostered.database.write() as session:
        assert import_days(session, path) == 2
    assert on_duty(rostered, "2026-10-09 10:00") == {"worker-1"}
    assert on_duty(rostered, "2026-10-12 10:00") == {"worker-2"}


@pytest.mark.parametrize("written", ["2026/10/9", "2026-10-9", "2026年10月9日", "2026.10.09", "2026/10/9 0:00"])
def test_days_are_read_as_excel_saves_them(rostered: World, tmp_path: Path, written: str) -> None:
    """Without a zero before a 9, and with the signs of the country; in a roster with the hour, too."""
    path = tmp_path / "days.csv"
    path.write_text(f"day,kind,name,division\n{written},rest,,{CITY}\n")
    with rostered.database.write() as session:
        assert import_days(session, path) == 1
    assert on_duty(rostered, "2026-10-09 10:00") == {"worker-2"}
    day = written.removesuffix(" 0:00")
    people = tmp_path / "people.csv"
    line = ",".join(map(str, worker(3, "owner", NEIGHBOUR, "", "", f"{day} 8:00", f"{day} 17:30:00")))
    people.write_text(f"{','.join(HEADER[:-1])}\n{line}\n")
    assert take(rostered, people).duties_added == 1
    with rostered.database.read() as session:
        shift = session.scalars(select(Duty).where(Duty.starts_at.is_not(None))).one()
        assert shift.starts_at == datetime(2026, 10, 9, 8, 0, tzinfo=ZONE)


def test_a_wrong_table_of_days_is_refused_by_line(world: World, tmp_path: Path) -> None:
    """No day, no kind, no county, a day twice: each by its line."""
    path = tmp_path / "days.csv"
    lines = [
        "soon,rest,,330802",
        "2026-10-09,holiday,,330802",
        f"2026-10-09,rest,,{VILLAGE}",
        *["2026-10-09,rest,,330802"] * 2,
    ]
    path.write_text("day,kind,name,division\n" + "\n".join(lines))
    with pytest.raises(Refused) as found, world.database.write() as session:
        import_days(session, path)
    words = [
        "line 2: the day 'soon'",
        "line 3: the kind is work or rest",
        "line 4: the division",
        "line 6: 2026-10-09 is there twice",
    ]
    assert [word for word, text in zip(words, map(str, found.value.problems), strict=True) if word not in text] == []


# Leave


def test_a_substitute_stands_in_while_somebody_is_away(world: World, sheet: Sheet) -> None:
    """From the first minute to the last, in all posts; the substitute's own substitute after that."""
    away = ("away", None, None, None, "2026-10-09", "2026-10-12 12:00")
    take(world, sheet(worker(1, *away, "neighbour")))
    assert on_duty(world, "2026-10-08 23:59") == {"worker-1"}
    assert on_duty(world, "2026-10-09 00:00") == on_duty(world, "2026-10-12 11:59") == {"neighbour"}
    assert on_duty(world, "2026-10-12 12:00") == {"worker-1"}
    take(world, sheet(worker(3, *away, "worker-2")))
    assert on_duty(world, "2026-10-10 10:00") == {"worker-2"}
    take(world, sheet(worker(2, *away, "worker-1")))
    assert on_duty(world, "2026-10-10 10:00") == set()  # they stand in for one another: nobody is there


def test_without_a_substitute_the_post_is_empty_and_preflight_says_so(world: World, sheet: Sheet) -> None:
    """The hole has the absence's hours, long before it comes."""
    take(world, sheet(worker(1, "away", None, None, None, "2026-10-09", "2026-10-12")))
    assert on_duty(world, "2026-10-10 10:00") == set()
    with world.database.read() as session:
        found = preflight.gaps(session, world.now, zone=ZONE, ahead=timedelta(days=7), prefix=VILLAGE)
    assert [(gap.post, gap.since, gap.until) for gap in found] == [
        ("owner", datetime(2026, 10, 9, tzinfo=ZONE), datetime(2026, 10, 12, tzinfo=ZONE))
    ]
    assert "from 2026-10-09T00:00+08:00 until 2026-10-12T00:00+08:00" in str(found[0])


def test_preflight_finds_the_nights_that_a_roster_forgot(rostered: World) -> None:
    """Without the night line the first hole is this evening's; with it there is none."""
    with rostered.database.write() as session:
        look = {"zone": ZONE, "ahead": timedelta(days=14), "prefix": VILLAGE}
        assert preflight.gaps(session, rostered.now, **look) == []  # type: ignore[arg-type]
        session.execute(delete(Duty).where(Duty.hours == "17:30-08:00"))
        found = preflight.gaps(session, rostered.now, **look)  # type: ignore[arg-type]
        assert [(gap.post, gap.since) for gap in found] == [("owner", datetime(2026, 10, 8, 17, 30, tzinfo=ZONE))]


def test_a_departments_contact_comes_in_like_any_duty(world: World, sheet: Sheet) -> None:
    """Ecology's night duty of the county."""
    row = ["eco", "环某", "13800138000", None, "department", COUNTY, "ecology", COUNTY, None, "18:00-06:00"]
    assert take(world, sheet(row)).duties_added == 1
    assert on_duty(world, "2026-10-09 03:00", "ecology", COUNTY) == {"eco"}
    assert on_duty(world, "2026-10-09 12:00", "ecology", COUNTY) == set()


# The commands


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_commands_show_what_a_file_would_do_and_what_stays_empty(
    world: World, sheet: Sheet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A dry run changes nothing and counts the gaps; the year's calendar shows the make-up Saturday."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    path = sheet(["wang", "王某", "13800138000", None, "worker", TOWNSHIP, "leader", TOWNSHIP])
    assert cli.main(["people", "import", str(path), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "people: 1 added" in said
    assert "posts are empty or out of reach within 7 days" in said
    with world.database.read() as session:
        assert session.scalar(select(Person.id).where(Person.login == "wang")) is None
    assert cli.main(["people", "export", str(tmp_path / "all.xlsx")]) == 0
    assert cli.main(["people", "export", str(tmp_path / "no" / "all.xlsx")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    (tmp_path / "days.csv").write_text(f"day,kind,name,division\n2026-11-30,rest,县庆,{COUNTY}\n")
    assert cli.main(["calendar", "import", str(tmp_path / "days.csv")]) == 0
    capsys.readouterr()
    assert cli.main(["calendar", "show", COUNTY, "2026"]) == 0
    said = capsys.readouterr().out
    assert "2026-10-10 Sat work\n" in said
    assert "2026-11-30 Mon rest 县庆\n" in said
