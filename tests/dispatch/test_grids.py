# SPDX-License-Identifier: AGPL-3.0-or-later
"""Grids below a village: where a village is divided its grids answer, and where it is not, the village does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import shape

from demo.region import FOLDER
from dispatch import region as regions
from dispatch.responsible import RegionIndex
from server.admin.people import import_people
from server.admin.region import check_region, import_region
from server.admin.region_files import read_region
from server.admin.tables import Refused
from server.models import Division, Duty, Incident, Person
from server.queries import incidents, preflight
from server.queries import region as places
from server.queries.viewer import to_viewer
from tests.admin.test_region import HEADER, ROWS, SHAPES, VILLAGES, square
from tests.dispatch.helpers import ZONE, expand, logins, told
from tests.support.world import FIELD, VILLAGE, World

# The eastern village's middle, in two; the rest of it is nobody's grid.
FIRST, SECOND = f"{VILLAGE}01", f"{VILLAGE}02"
OUTLINES = {FIRST: square(118.80, 28.955, 118.82, 28.99), SECOND: square(118.82, 28.955, 118.84, 28.99)}
NAMES = {FIRST: "第一网格", SECOND: "第二网格"}


@pytest.fixture
def divided(world: World) -> World:
    """The eastern village with two grids over its middle, and an owner of the first."""
    with world.database.write() as session:
        for code, outline in OUTLINES.items():
            grid = Division(code=code, prefix=code, name=NAMES[code], level="grid", parent_code=VILLAGE, revision=1)
            grid.geometry = outline
            session.add(grid)
        session.flush()
        person = Person(login="grid-1", name="某格", phone="+8612000000081", role="worker", area_code=FIRST)
        session.add(person)
        session.flush()
        session.add(Duty(division_code=FIRST, person_id=person.id, post="owner"))
    return world


def candidates(world: World, lat: float, lon: float, **error: float) -> dict[str, float]:
    """Who may have a place, in order."""
    with world.database.read() as session:
        index = regions.load(session).index
    return {one.code: one.probability for one in index.rank(lat, lon, **error)}


def test_a_divided_village_answers_by_its_grids(divided: World) -> None:
    """The grid's owner leads; the village is named with the grid, whose number alone says nothing."""
    code = divided.sighting(at=FIELD)
    expand(divided)
    assert logins(divided, code) == ["grid-1"]
    assert "东村第一网格" in told(divided, code, "sms")[0].text
    with divided.database.read() as session:
        person = session.query(Person).filter_by(login="grid-1").one()
        one = incidents.one(session, to_viewer(person), code, divided.now)
        assert one is not None
        assert (one.grid_code, one.place.full) == (FIRST, "柯城区 石梁镇 东村 第一网格")
        assert one.place.nearest == "东村 第一网格"


def test_ground_without_a_grid_stays_the_villages(divided: World) -> None:
    """West of both grids the village itself answers, and on a grid's ground it does not."""
    assert candidates(divided, 28.97, 118.78) == {VILLAGE: 1.0}
    assert candidates(divided, 28.97, 118.81) == {FIRST: 1.0}
    near_the_edge = candidates(divided, 28.97, 118.80, along_m=100, across_m=100)
    assert near_the_edge.keys() == {VILLAGE, FIRST}
    assert sum(near_the_edge.values()) == pytest.approx(1)


def test_a_crack_at_the_villages_border_belongs_to_the_grid_there(divided: World) -> None:
    """North of the region by 300 m, next to a grid whose border is the village's, too."""
    assert candidates(divided, 28.9927, 118.81) == {FIRST: 1.0}


def test_a_village_is_not_ranked_lower_for_its_grids() -> None:
    """Nine parts of a whole that is three times as probable come before the neighbour, the likeliest part first."""
    strips = {f"A{number}": shape(square(number / 9, 0, (number + 1) / 9, 1)) for number in range(9)}
    outlines = {"A": shape(square(0, 0, 1, 1)), "B": shape(square(1, 0, 2, 1)), **strips}
    index = RegionIndex(list(outlines), list(outlines.values()), wholes=dict.fromkeys(strips, "A"))
    across = (np.arange(400) + 0.5) / 300  # three quarters in A
    points = np.column_stack([across, np.full(400, 0.5)])
    ranked = index.rank_points(points)
    assert {one.code for one in ranked[:9]} == strips.keys()
    assert (ranked[9].code, ranked[9].probability) == ("B", 0.25)
    assert max(one.probability for one in ranked[:9]) < 0.1


def test_where_the_grid_is_not_sure_the_villages_owner_is_told_beside(divided: World) -> None:
    """Spread over both grids and the rest of the village: its owner knows them all, and is told who leads."""
    code = divided.sighting(at=(28.972, 118.8154))
    with divided.database.write() as session:
        incident = session.query(Incident).filter_by(code=code).one()
        incident.along_m, incident.across_m, incident.cloud = 800, 800, None
    expand(divided)
    assert logins(divided, code) == ["worker-1", "grid-1"]
    texts = {notice.login: notice.text for notice in told(divided, code, "sms")}
    assert "由东村第一网格牵头" in texts["worker-1"]


def test_for_an_empty_grid_its_village_stands_in(divided: World) -> None:
    """The second grid has no owner: the village's is called before the township's leader, and the journal says so."""
    code = divided.sighting(at=(28.97, 118.83))
    expand(divided)
    assert logins(divided, code) == ["worker-1"]
    line = next(line for line in divided.journal(code) if line.event == "unreached")
    assert (line.data["reason"], line.data["instead"]) == ("nobody holds this post", "village")


def test_preflight_asks_for_every_grid(divided: World) -> None:
    """Owner and deputy of each; the village is named."""
    with divided.database.read() as session:
        found = preflight.gaps(session, divided.now, zone=ZONE, prefix=f"{VILLAGE}0")
    assert [(gap.name, gap.post) for gap in found] == [
        ("东村 第一网格", "deputy"),
        ("东村 第二网格", "owner"),
        ("东村 第二网格", "deputy"),
    ]


def test_a_fire_can_be_handed_over_to_a_grid(divided: World) -> None:
    """Grids are offered with their village's name, below its township."""
    with divided.database.read() as session:
        _, every = places.grids(session, "330802", *FIELD)
    assert ("东村 第一网格", "石梁镇") in {(grid.name, grid.township) for grid in every}


def test_owners_of_grids_come_in_with_the_roster(divided: World, tmp_path: Path) -> None:
    """A line of people.csv; a leader of a grid there is not."""
    head = "login,name,phone,language,role,area,post,division\n"
    lines = f"grid-2,某乙,+8612000000082,zh,worker,{SECOND},{{}},{SECOND}\n"
    (tmp_path / "people.csv").write_text(head + lines.format("leader"))
    with divided.database.write() as session:
        with pytest.raises(Refused, match="held in a township"):
            import_people(session, tmp_path / "people.csv", ZONE)
        (tmp_path / "people.csv").write_text(head + lines.format("owner"))
        assert import_people(session, tmp_path / "people.csv", ZONE).duties_added == 1
    assert candidates(divided, 28.97, 118.83) == {SECOND: 1.0}
    code = divided.sighting(at=(28.97, 118.83))
    expand(divided)
    assert logins(divided, code) == ["grid-2"]


# Import


def folder(path: Path, rows: str, shapes: dict[str, Any]) -> Path:
    """A region folder with these grids."""
    (path / "divisions.csv").write_text(HEADER + ROWS + VILLAGES + rows)
    features = [
        {"type": "Feature", "properties": {"code": code}, "geometry": outline}
        for code, outline in (SHAPES | shapes).items()
    ]
    (path / "all.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_grids_come_in_with_the_region(world: World, tmp_path: Path) -> None:
    """Below their village; what they leave of it is told, and so is a grid of another village's code."""
    rows = "33080210020101,第一网格,grid,330802100201\n"
    whole = {"33080210020101": SHAPES["330802100201"]}
    assert check_region(folder(tmp_path, rows, whole), {}).warnings == []
    half = {"33080210020101": square(118.75, 28.90, 118.80, 28.95)}
    region = check_region(folder(tmp_path, rows, half), {})
    assert [problem.where for problem in region.warnings] == ["grids of 330802100201 东村"]
    assert [fault.kind for fault in region.faults] == ["gap"]
    with world.database.write() as session:
        import_region(session, region)
        assert session.get_one(Division, "33080210020101").parent_code == "330802100201"
    with pytest.raises(Refused, match="must begin with 330802100202"):
        check_region(folder(tmp_path, rows.replace(",330802100201", ",330802100202"), half), {})


# A whole city of grids


def quarters(outline: Any) -> Iterator[Any]:
    """An outline cut in four."""
    west, south, east, north = outline.bounds
    x, y = (west + east) / 2, (south + north) / 2
    for corners in (west, south, x, y), (x, south, east, y), (west, y, x, north), (x, y, east, north):
        part = shape(square(*corners)).intersection(outline)
        if part.area > 0:
            yield part


def test_a_city_of_grids_is_ranked_as_its_villages_are() -> None:
    """The demo's villages cut in four: for every place the grids of a village have together what the village had."""
    rows = [row for row in read_region(FOLDER).rows.values() if row.level == "village"]
    villages = {row.code: row.geometry for row in rows if row.geometry is not None}
    parts = {f"{code}{n:02}": part for code, outline in villages.items() for n, part in enumerate(quarters(outline))}
    plain = RegionIndex(list(villages), list(villages.values()))
    both = villages | parts
    divided = RegionIndex(list(both), list(both.values()), wholes={code: code[:12] for code in parts})
    for lat, lon in (28.96, 118.86), (28.75, 118.60), (29.10, 119.10), (28.90, 118.50):
        error = {"bearing": 30.0, "along_m": 900.0, "across_m": 60.0}
        before = {one.code: one.probability for one in plain.rank(lat, lon, **error)}
        after: dict[str, float] = {}
        for one in divided.rank(lat, lon, **error):
            after[one.code[:12]] = after.get(one.code[:12], 0.0) + one.probability
        assert after == pytest.approx(before)
        assert list(after) == list(before)
