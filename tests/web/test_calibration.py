# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calibrating on the page: points in, residuals out, accepted and taken back; only in one's own area."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from server.admin.crs import wgs84_to_gcj02
from server.models import CalibrationRecord, Camera, Person
from tests.locate.test_calibrate import landmarks
from tests.support.world import CAMERA
from tests.web.conftest import Site, Visitor

PAGE = "/console/cameras/tower-1/calibrate"


def ask(visitor: Visitor, *, points: Any = None, **more: Any) -> TestResponse:
    """What the page sends of the known landmarks: the camera states 268° and is turned 3.3° further."""
    given = {"width": 1280, "height": 720, "pan": 268, "tilt": -1, "hfov": 32, "points": points or known()} | more
    return visitor.client.post(PAGE, json=given, headers={"X-CSRFToken": visitor.token, "Accept": "application/json"})


def known() -> list[dict[str, Any]]:
    """The landmarks as points."""
    return [asdict(one) for one in landmarks()]


def camera(site: Site) -> Camera:
    """As it is now."""
    with site.world.database.read() as session:
        return session.get_one(Camera, "tower-1")


def test_points_give_residuals_and_nothing_changes_until_accepted(site: Site) -> None:
    """Solving shows; accepting keeps it, with who did it and what was before; undoing brings that back."""
    visitor = site.login("county")
    shown = ask(visitor).get_json()
    assert shown["values"]["pan_offset"] == pytest.approx(3.3, abs=0.01)
    assert len(shown["residuals"]) == len(known())
    assert shown["rms_px"] < 1
    assert camera(site).calibrated_at is None
    assert "撤销这次校准" not in visitor.get(PAGE).text
    assert ask(visitor, save=True).get_json()["saved"] is True
    assert camera(site).pan_offset == pytest.approx(3.3, abs=0.01)
    with site.world.database.read() as session:
        record = session.scalars(select(CalibrationRecord)).one()
        assert (record.person_id, record.before["pan_offset"]) == (site.world.people["county"], 0.0)
    assert "撤销这次校准" in visitor.get(PAGE).text
    assert "撤销这次校准" not in visitor.submit(f"{PAGE}/undo").text
    assert (camera(site).pan_offset, camera(site).pan_error, camera(site).calibrated_at) == (0.0, 0.5, None)
    assert visitor.submit(f"{PAGE}/undo").status_code == 404


def test_two_calibrations_are_taken_back_one_after_the_other(site: Site) -> None:
    """Each undo brings back the one before."""
    visitor = site.login("county")
    ask(visitor, save=True)
    ask(visitor, save=True, pan=270)
    assert camera(site).pan_offset == pytest.approx(1.3, abs=0.01)
    visitor.submit(f"{PAGE}/undo")
    assert camera(site).pan_offset == pytest.approx(3.3, abs=0.01)
    visitor.submit(f"{PAGE}/undo")
    assert camera(site).pan_offset == 0.0


def test_coordinates_copied_from_a_chinese_map_are_converted(site: Site) -> None:
    """GCJ-02 said to be GCJ-02 gives the same mount."""
    points = known()
    for point in points:
        point["lon"], point["lat"] = wgs84_to_gcj02(np.array([[point["lon"], point["lat"]]]))[0].tolist()
    shown = ask(site.login("county"), points=points, crs="gcj02").get_json()
    assert shown["values"]["pan_offset"] == pytest.approx(3.3, abs=0.01)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_does_not_fix_the_camera_is_refused_in_a_sentence(site: Site) -> None:
    """Too few points, one that is wrong, a point without a place, heights that nobody knows."""
    visitor = site.login("county", language="en")
    assert "too few" in ask(visitor, points=known()[:2]).get_json()["message"]
    wrong = known()
    wrong[2] |= {"x": wrong[2]["x"] + 80}
    assert "does not fit the others" in ask(visitor, points=wrong).get_json()["message"]
    nowhere = known()
    nowhere[0]["lat"] = None
    reply = ask(visitor, points=nowhere)
    assert (reply.status_code, "points.0.lat" in reply.get_json()["message"]) == (422, True)
    with site.world.database.write() as session:
        session.execute(update(Camera).values(altitude_m=140.0))
    unknown = [point | {"height_m": None} for point in known()]
    assert "give its height" in ask(visitor, points=unknown).get_json()["message"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_supervisor_reads_in_chinese_why_landmarks_are_refused(site: Site) -> None:
    """Every refusal that a click can cause, with its figures and names."""
    visitor = site.login("county")

    def refused(points: list[dict[str, Any]]) -> str:
        return str(ask(visitor, points=points).get_json()["message"])

    assert "地标只有 2 个" in refused(known()[:2])
    for change, words in (
        ({"x": known()[2]["x"] + 80}, "与其他地标不合"),
        ({"x": -5.0}, "点在画面外"),
        ({"lat": CAMERA[0], "lon": CAMERA[1]}, "就在镜头脚下"),
    ):
        points = known()
        points[2] |= {"name": "it's a 塔", **change}
        assert f"地标“3 it's a 塔”{words}" in refused(points)
    assert "定不住镜头" in refused([known()[0]] * 5)
    shuffled = known()[:4]
    for point, other in zip(shuffled, shuffled[1:] + shuffled[:1], strict=True):
        point["lat"], point["lon"] = other["lat"], other["lon"]
    assert "地标彼此不合（差 " in refused(shuffled)
    with site.world.database.write() as session:
        session.execute(update(Camera).values(altitude_m=140.0))
    assert "请填它的海拔" in refused([point | {"height_m": None} for point in known()])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_only_supervisors_of_the_cameras_area_calibrate_it(site: Site) -> None:
    """To another county it does not exist; workers and departments may not."""
    other = site.login("other-county")
    assert other.get(PAGE).status_code == ask(other).status_code == 404
    assert site.login("worker-1").get(PAGE).status_code == 403
    with site.world.database.write() as session:
        session.execute(update(Person).where(Person.login == "county").values(role="department"))
    assert ask(site.login("county"), save=True).status_code == 403
    assert camera(site).calibrated_at is None
