# SPDX-License-Identifier: AGPL-3.0-or-later
"""Management zones overlay the grids: who answers for one is told beside the village's owner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.admin.region import check_region, import_region, known_outlines
from server.admin.tables import Refused
from server.models import Division, Duty, Person
from server.queries import preflight
from tests.admin.test_region import HEADER, ROWS, SHAPES, VILLAGES, square
from tests.dispatch.helpers import ZONE, expand, logins, told
from tests.support.world import COUNTY, FIELD, OTHER_FIELD, World

AIRPORT = f"{COUNTY}Z01"


@pytest.fixture
def zoned(world: World) -> World:
    """A no-burn zone around the field in the eastern village, with somebody who answers for it."""
    with world.database.write() as session:
        session.add(
            Division(
                code=AIRPORT,
                prefix=AIRPORT,
                name="机场净空区",
                level="zone",
                parent_code=COUNTY,
                geometry=square(118.81, 28.956, 118.82, 28.97),
                revision=1,
            )
        )
        session.flush()
        person = Person(login="airport", name="某空", phone="+8612000000077", role="worker", area_code=AIRPORT)
        session.add(person)
        session.flush()
        session.add(Duty(division_code=AIRPORT, person_id=person.id, post="owner"))
    return world


def test_a_fire_in_a_zone_is_told_to_its_owner_beside_the_villages(zoned: World) -> None:
    """The village leads, and the zone's owner is told who does; a fire outside is none of the zone's."""
    code = zoned.sighting(at=FIELD)
    expand(zoned)
    assert logins(zoned, code) == ["worker-1", "airport"]
    assert ["由东村牵头" in notice.text for notice in told(zoned, code, "sms")] == [False, True]
    elsewhere = zoned.sighting(at=OTHER_FIELD)
    expand(zoned)
    assert "airport" not in logins(zoned, elsewhere)


def test_a_zone_without_an_owner_is_a_gap(zoned: World) -> None:
    """Preflight asks for one."""
    with zoned.database.write() as session:
        session.query(Duty).filter_by(division_code=AIRPORT).delete()
        found = preflight.gaps(session, zoned.now, zone=ZONE, prefix=AIRPORT)
        assert [(gap.level, gap.post, gap.kind) for gap in found] == [("zone", "owner", "empty")]


def test_zones_come_in_with_the_region_and_leave_its_grids_alone(world: World, tmp_path: Path) -> None:
    """Over two villages, neither an overlap nor a gap; its code says whose it is."""

    def folder(code: str) -> Path:
        (tmp_path / "divisions.csv").write_text(HEADER + ROWS + VILLAGES + f"{code},机场净空区,zone,{COUNTY}\n")
        shapes = SHAPES | {code: square(118.72, 28.92, 118.78, 28.95)}
        features = [
            {"type": "Feature", "properties": {"code": code}, "geometry": shape} for code, shape in shapes.items()
        ]
        (tmp_path / "all.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return tmp_path

    with world.database.write() as session:
        region = check_region(folder(AIRPORT), {})
        assert region.warnings == []
        import_region(session, region)
        assert AIRPORT in known_outlines(session)
    with pytest.raises(Refused, match="a zone's code must begin with 330802Z"):
        check_region(folder("330802100999"), {})
