# SPDX-License-Identifier: AGPL-3.0-or-later
"""The geometry of a sighting on flat ground with the earth's curve: lines of sight, ranges, distances, one fire or two.

Bearing is reliable, range is not: at 3 km a tenth of a degree of tilt is 400 m. So a place is a point with an error
along and across the line of sight, or a bearing alone. There is no default position. ``server.locate`` carries the
errors through, casts rays on terrain and crosses bearings; on flat ground it falls back to the formulas here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_M = 6_371_008.8
# Light bends with the air, so the ground falls away as on an earth 7/6 as large (standard refraction, k = 0.13).
CURVE_RADIUS_M = EARTH_RADIUS_M / (1 - 0.13)
MAX_RANGE_M = 20_000.0


@dataclass(frozen=True, slots=True)
class View:
    """Where a camera stands and looks. Degrees, metres, WGS-84; pan from true north clockwise, tilt negative below the
    horizon, roll positive when the camera leans to the right.

    ``height_m`` counts from the ground it looks at; ``altitude_m`` is the lens's height above sea level where that is
    known. The errors are one standard deviation; the field of view's is a fraction of it.
    """

    lat: float
    lon: float
    height_m: float
    pan: float
    tilt: float
    hfov: float
    pan_error: float = 0.5
    tilt_error: float = 0.2
    roll: float = 0.0
    height_error: float = 3.0
    hfov_error: float = 0.02
    altitude_m: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A position with its error: metres along a direction and across it, one standard deviation.

    The direction is the line of sight, or the longer axis of a region where several cross. ``lat``, ``lon``,
    ``range_m`` and the errors are None when only the bearing is known. ``cloud``: equally probable positions, metres
    east and north of it; empty where the errors are all that is known.
    """

    bearing: float
    lat: float | None = None
    lon: float | None = None
    range_m: float | None = None
    along_m: float | None = None
    across_m: float | None = None
    cloud: tuple[tuple[int, int], ...] = ()


def line_of_sight(
    pan: float, tilt: float, roll: float, hfov: float, foot: tuple[float, float], aspect: float
) -> tuple[float, float]:
    """Bearing and depression below the horizontal (degrees) of an image point.

    ``foot``: x, y as fractions of the frame, y downwards; ``aspect``: width over height of the frame. Pin-hole camera.
    """
    focal = 0.5 / math.tan(math.radians(hfov) / 2)  # in frame widths
    lean, turn = math.radians(roll), math.radians(tilt)
    right, below = foot[0] - 0.5, (foot[1] - 0.5) / aspect
    x = right * math.cos(lean) - below * math.sin(lean)
    y = right * math.sin(lean) + below * math.cos(lean)
    # Camera axes: forward, right, down; the camera is turned down by -tilt.
    forward = focal * math.cos(turn) + y * math.sin(turn)
    down = -focal * math.sin(turn) + y * math.cos(turn)
    return (pan + math.degrees(math.atan2(x, forward))) % 360, math.degrees(math.atan2(down, math.hypot(forward, x)))


def ground_range(height_m: float, depression: float) -> float | None:
    """Where a line of sight this many degrees below the horizontal meets the curved ground, in metres; None when it
    does not within ``MAX_RANGE_M``."""
    if depression <= 0 or height_m <= 0:
        return None
    # height - R·tan(depression) + R²/2r = 0, the nearer root.
    slope = math.tan(math.radians(depression))
    root = slope * slope - 2 * height_m / CURVE_RADIUS_M
    if root < 0:
        return None
    range_m = 2 * height_m / (slope + math.sqrt(root))
    return range_m if range_m <= MAX_RANGE_M else None


def depression_of(height_m: float, range_m: float) -> float:
    """How many degrees below the horizontal a point lies that is ``height_m`` lower on a flat map: inverts
    ``ground_range``."""
    return math.degrees(math.atan(height_m / range_m + range_m / (2 * CURVE_RADIUS_M)))


def move(lat: float, lon: float, bearing: float, distance_m: float) -> tuple[float, float]:
    """The point ``distance_m`` away on a great circle. Degrees in, degrees out."""
    angle = distance_m / EARTH_RADIUS_M
    phi, theta = math.radians(lat), math.radians(bearing)
    sin_phi = math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(theta)
    dlon = math.atan2(math.sin(theta) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * sin_phi)
    return math.degrees(math.asin(sin_phi)), (lon + math.degrees(dlon) + 540) % 360 - 180


def distance_m(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance in metres."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    half = math.sin((phi2 - phi1) / 2) ** 2 + math.cos(phi1) * math.cos(phi2) * (
        math.sin(math.radians(lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


def same_fire(a: Place, b: Place) -> bool:
    """Whether two sightings may be one fire: within three combined standard deviations along and across.

    With a bearing alone on either side, bearings within three degrees agree; the caller knows that the camera is one.
    """
    apart = abs((a.bearing - b.bearing + 180) % 360 - 180)
    if a.lat is None or b.lat is None or a.lon is None or b.lon is None:
        return apart <= 3.0
    gap = distance_m(a.lat, a.lon, b.lat, b.lon)
    heading = bearing_to(a.lat, a.lon, b.lat, b.lon)
    sigma = math.hypot(_spread(a, heading), _spread(b, heading))
    return gap <= max(3 * sigma, 100.0)


def bearing_to(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Initial bearing from the first point to the second, degrees."""
    phi1, phi2, dlon = math.radians(lat1), math.radians(lat2), math.radians(lon2 - lon1)
    y = math.sin(dlon) * math.cos(phi2)
    x = math.cos(phi1) * math.sin(phi2) - math.sin(phi1) * math.cos(phi2) * math.cos(dlon)
    return math.degrees(math.atan2(y, x)) % 360


def _spread(place: Place, heading: float) -> float:
    """The standard deviation of ``place`` in the direction ``heading``, metres."""
    turn = math.radians(heading - place.bearing)
    return math.hypot((place.along_m or 0.0) * math.cos(turn), (place.across_m or 0.0) * math.sin(turn))
