# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page and the data of when the cameras were looking."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.server.test_coverage import report
from tests.server.test_intake import Desk
from tests.web.conftest import Site

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def looked(site: Site) -> None:
    """The hour before now: half of it looked at, a quarter without picture."""
    start = site.world.now - timedelta(hours=1)
    told = report(start, ("ok", 0, 1800, 180), ("stream_down", 1800, 2700, 0))
    assert Desk(site.world).receive("edge/edge-1/coverage", told) is not None


def test_the_day_is_drawn_with_its_causes(site: Site) -> None:
    """A bar for each stretch where it belongs by the region's clock, named, and both shares in figures."""
    looked(site)  # 16:00 to 17:00 by the region's clock
    page = site.login("county").get("/console/coverage").text
    bars = re.findall(r'class="cover-(\w+)" x="([\d.]+)" width="([\d.]+)"', page)
    assert [(state, float(x), float(width)) for state, x, width in bars if state != "hour"] == [
        ("ok", 960, 30),
        ("stream_down", 990, 15),
    ]
    assert "无画面" in page
    assert "2.8%" in page  # 29 of 1,020 minutes
    assert "2.9%" in page  # 30 of them


def test_other_days_and_other_counties_are_empty(site: Site) -> None:
    """Yesterday nothing was reported; another county has no camera here; a worker is sent to his own page, a
    worker's program is refused."""
    looked(site)
    county = site.login("county").json("/api/v1/coverage?day=2026-10-07")
    assert [(each["camera"], each["looked_s"], each["unreported_s"]) for each in county["views"]] == [
        ("tower-1", 0, 86_400)
    ]
    assert site.login("other-county").json("/api/v1/coverage")["views"] == []
    assert site.login("worker-1").get("/console/coverage").status_code == 302
    assert site.login("worker-1").client.get("/api/v1/coverage").status_code == 403
    assert site.login("county").get("/api/v1/coverage?day=tomorrow").status_code == 422


def test_the_data_say_the_same(site: Site) -> None:
    """Seconds by cause, and the stretches."""
    looked(site)
    [one] = site.login("city").json("/api/v1/coverage")["views"]
    assert (one["camera"], one["looked_s"], one["blind_s"]) == ("tower-1", 1800, {"stream_down": 900})
    assert one["minute_s"] == 1740
    assert [each["state"] for each in one["stretches"]] == ["ok", "stream_down"]
