# SPDX-License-Identifier: AGPL-3.0-or-later
"""The projection that the scenes are drawn with and that places are found by."""

from __future__ import annotations

import math

import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camera_sim.geometry import View, from_bearing_range, to_bearing_range

VIEW = View(pan_deg=281, tilt_deg=-2.5, hfov_deg=32, width=1280, height=720, height_m=45)


def test_straight_ahead_lies_at_its_depression() -> None:
    """Along the axis's bearing a ground point is drawn at depression atan(h/R), in the middle column."""
    x, y = VIEW.pixel(281, 2000) or (0, 0)
    depression = math.degrees(math.atan(45 / 2000))
    assert x == pytest.approx(640)
    assert y == pytest.approx(360 + VIEW.focal_px * math.tan(math.radians(depression - 2.5)))


def test_the_edge_of_the_field_of_view_is_the_edge_of_the_picture() -> None:
    """Half the field of view to the side, far away and level, is the last column."""
    level = View(pan_deg=0, tilt_deg=0, hfov_deg=32, width=1280, height=720, height_m=45)
    assert (level.pixel(16, 5000) or (0, 0))[0] == pytest.approx(1280)


@given(st.floats(-15, 15), st.floats(150, 8000), st.floats(-20, 5))
def test_pixel_and_ground_undo_each_other(off: float, range_m: float, tilt: float) -> None:
    """The ground found at the pixel of a ground point is that point, for any tilt."""
    view = View(pan_deg=350, tilt_deg=tilt, hfov_deg=32, width=1280, height=720, height_m=45)
    bearing = (350 + off) % 360
    pixel = view.pixel(bearing, range_m)
    assert pixel is not None
    found = view.ground(*pixel)
    assert found is not None
    assert (found[0] - bearing + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert found[1] == pytest.approx(range_m, rel=1e-6)


def test_the_sky_is_not_on_the_ground() -> None:
    """Above the horizon there is no ground."""
    assert VIEW.ground(640, VIEW.horizon_px - 1) is None
    assert VIEW.pixel(281 - 180, 1000) is None


@given(st.floats(0, 359.9), st.floats(100, 10_000))
def test_places_agree_with_the_geodesic(bearing: float, range_m: float) -> None:
    """Within 10 km the flat plane is within 3 m of the WGS-84 geodesic, and its way back is exact."""
    lat, lon = from_bearing_range(28.98, 118.85, bearing, range_m)
    true_lon, true_lat, _ = pyproj.Geod(ellps="WGS84").fwd(118.85, 28.98, bearing, range_m)
    assert pyproj.Geod(ellps="WGS84").inv(lon, lat, true_lon, true_lat)[2] < 5
    back = to_bearing_range(28.98, 118.85, lat, lon)
    assert (back[0] - bearing + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert back[1] == pytest.approx(range_m, rel=1e-9)
