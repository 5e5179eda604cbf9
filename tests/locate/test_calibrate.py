# SPDX-License-Identifier: AGPL-3.0-or-later
"""Landmarks solve a mount; zoom gives a field of view."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from camera_sim.geometry import from_bearing_range
from server.domain.errors import Invalid
from server.domain.place import View
from server.locate.calibrate import Landmark, calibrate, mended
from server.locate.zoom import ZoomTable
from tests.locate.make import MAST, foot, view

TRUE = view(pan=271.3, tilt=-1.35, hfov=33.1)
STATED = replace(TRUE, pan=268.0, tilt=-1.0, hfov=32.0)
# Bearing from the middle of the picture, range, height of the top: pagodas, chimneys, pylons.
PLACES = [(-14, 1800, 30), (-8, 4200, 60), (-2, 900, 8), (5, 2600, 45), (11, 3500, 20), (14, 1300, 5), (1, 5000, 110)]


def landmarks(true: View = TRUE, *, click: float = 0.0, seed: int = 1, count: int = 7) -> list[Landmark]:
    """Where the true camera sees the places, clicked with so many pixels' error."""
    random = np.random.default_rng(seed)
    found = []
    for number, (off, far, top) in enumerate(PLACES[:count]):
        lat, lon = from_bearing_range(*MAST, true.pan + off, far)
        x, y = foot(true, lat, lon, top)
        dx, dy = random.normal(size=2) * click
        found.append(Landmark(f"p{number}", x * 1280 + dx, y * 720 + dy, lat, lon, top))
    return found


def test_exact_landmarks_give_the_mount_back() -> None:
    """Pan off by 3.3°, tilt by 0.35°, the field by 3 %: all found, nothing left over."""
    found = calibrate(STATED, 1280, 720, landmarks())
    assert found.pan_offset == pytest.approx(3.3, abs=0.005)
    assert found.tilt_offset == pytest.approx(-0.35, abs=0.005)
    assert found.roll == pytest.approx(0.0, abs=0.02)
    assert found.hfov_factor == pytest.approx(33.1 / 32, abs=0.001)
    assert found.rms_px < 0.5
    right = mended(STATED, found)
    assert (right.pan, right.tilt, right.hfov) == pytest.approx((TRUE.pan, TRUE.tilt, TRUE.hfov), abs=0.01)


def test_a_roll_is_found() -> None:
    """A camera that leans by two degrees: the picture turned about its middle."""
    lean = math.radians(2)
    turned = []
    for one in landmarks():
        x, y = one.x - 640, one.y - 360
        turned.append(
            replace(
                one, x=640 + x * math.cos(lean) + y * math.sin(lean), y=360 + y * math.cos(lean) - x * math.sin(lean)
            )
        )
    assert calibrate(STATED, 1280, 720, turned).roll == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("off", [-170.0, -60.0, 45.0, 179.0])
def test_a_mount_turned_on_its_mast_is_found(off: float) -> None:
    """The pan's zero may be anywhere."""
    found = calibrate(replace(STATED, pan=TRUE.pan - off), 1280, 720, landmarks())
    assert (found.pan_offset - off + 180) % 360 - 180 == pytest.approx(0, abs=0.01)


def test_the_stated_errors_are_the_true_ones() -> None:
    """Over many calibrations with clicks of 1.5 pixels, the solved angles scatter as they say they do."""
    pans, tilts = [], []
    for seed in range(150):
        found = calibrate(STATED, 1280, 720, landmarks(click=1.5, seed=seed))
        pans.append((found.pan_offset - 3.3) / found.pan_error)
        tilts.append((found.tilt_offset + 0.35) / found.tilt_error)
        assert 0 < found.rms_px < 3
    # The mount's own repeatability, part of the stated error, is not in these pictures.
    assert 0.2 < np.std(pans) < 1.1
    assert 0.2 < np.std(tilts) < 1.1


def test_landmarks_known_to_a_few_metres_are_taken_for_what_they_are() -> None:
    """Clicked on a map to 3 m and known in height to 1 m: a near one is off by many pixels and says little. None is
    refused, and the angles scatter no more than they say."""
    off = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        known = []
        for one in landmarks(click=1.5, seed=seed):
            lat, lon = from_bearing_range(one.lat, one.lon, random.uniform(0, 360), 3 * random.rayleigh())
            known.append(replace(one, lat=lat, lon=lon, height_m=one.height_m + random.normal()))
        found = calibrate(STATED, 1280, 720, known)
        off.append([(found.pan_offset - 3.3) / found.pan_error, (found.tilt_offset + 0.35) / found.tilt_error])
    assert (np.std(off, axis=0) < 1.2).all()
    assert (np.abs(np.mean(off, axis=0)) < 0.4).all()


def test_a_wrong_landmark_is_named() -> None:
    """One taken for its neighbour: the word says which."""
    clicked = landmarks(click=1.0)
    clicked[3] = replace(clicked[3], x=clicked[3].x + 60)
    with pytest.raises(Invalid, match="'p3' does not fit"):
        calibrate(STATED, 1280, 720, clicked)


def test_landmarks_that_do_not_agree_at_all_are_refused() -> None:
    """A camera registered two hundred metres too low."""
    wrong = [
        replace(one, height_m=one.height_m + 200 * (number % 2)) for number, one in enumerate(landmarks(click=1.0))
    ]
    with pytest.raises(Invalid, match="do not agree|does not fit"):
        calibrate(STATED, 1280, 720, wrong)


def test_four_landmarks_cannot_name_the_wrong_one() -> None:
    """The refusal says what would."""
    clicked = landmarks(click=0.5, count=4)
    clicked[1] = replace(clicked[1], y=clicked[1].y - 80)
    with pytest.raises(Invalid, match="5 or more"):
        calibrate(STATED, 1280, 720, clicked)


def test_too_few_landmarks_are_refused() -> None:
    """Two cannot show that they are wrong."""
    with pytest.raises(Invalid, match="too few"):
        calibrate(STATED, 1280, 720, landmarks(count=2))


def test_landmarks_in_one_spot_or_in_a_column_leave_the_angles_open() -> None:
    """Close together, or one behind the other: refused with what to take."""
    lat, lon = from_bearing_range(*MAST, TRUE.pan + 2, 2000)
    spots = []
    for number, up in enumerate((0, 4, 8, 12)):
        x, y = foot(TRUE, lat, lon, up)
        spots.append(Landmark(f"s{number}", x * 1280, y * 720, lat, lon, up))
    with pytest.raises(Invalid, match="spread"):
        calibrate(STATED, 1280, 720, spots)
    with pytest.raises(Invalid, match="spread"):
        calibrate(STATED, 1280, 720, [spots[0]] * 5)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"x": 1300.0}, "outside"), ({"y": math.nan}, "finite"), ({"lat": MAST[0], "lon": MAST[1]}, "camera itself")],
)
def test_a_senseless_landmark_is_named(change: dict[str, float], word: str) -> None:
    """Each by its own name."""
    clicked = landmarks()
    clicked[2] = replace(clicked[2], **change)  # type: ignore[arg-type]
    with pytest.raises(Invalid, match=f"'p2'.*{word}"):
        calibrate(STATED, 1280, 720, clicked)


def test_zoom_follows_its_table_without_a_wave() -> None:
    """The rows themselves, and between them a field that only falls."""
    rows = [(0.0, 58.0), (0.25, 7.2), (0.5, 4.4), (0.75, 3.3), (1.0, 2.8)]
    table = ZoomTable("dome-37x", rows)
    for zoom, field in rows:
        assert table.hfov(zoom) == pytest.approx(field)
    fields = [table.hfov(zoom) for zoom in np.linspace(0, 1, 401)]
    assert all(one is not None and two is not None and one > two for one, two in zip(fields, fields[1:], strict=False))
    assert table.hfov(-0.01) is None
    assert table.hfov(1.01) is None
    assert table.hfov(math.nan) is None


@pytest.mark.parametrize(
    "rows",
    [
        [(0.0, 58.0)],
        [(0.0, 58.0), (0.0, 50.0)],
        [(0.0, 3.0), (1.0, 58.0)],
        [(0.0, 190.0), (1.0, 2.8)],
        [(0.0, math.nan), (1.0, 2.0)],
    ],
)
def test_a_senseless_zoom_table_is_refused(rows: list[tuple[float, float]]) -> None:
    """By its model's name."""
    with pytest.raises(Invalid, match="dome"):
        ZoomTable("dome", rows)
