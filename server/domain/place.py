# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a box in a picture to a bearing and a region on the ground, on flat ground with the earth's curve.

Bearing is reliable, range is not: at 3 km a tenth of a degree of tilt is 400 m. So the answer is a point with an
error along and across the line of sight, or a bearing alone. There is no default position.
Terrain, measured mounts and crossing bearings refine this elsewhere; the formulas here are their fallback.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

EARTH_RADIUS_M = 6_371_008.8
# Light bends with the air, so the ground falls away as on an earth 7/6 as large (standard refraction, k = 0.13).
_CURVE_RADIUS_M = EARTH_RADIUS_M / (1 - 0.13)
_MAX_RANGE_M = 20_000.0


@dataclass(frozen=True, slots=True)
class View:
    """Where a camera stands and looks. Degrees; pan from true north clockwise, tilt negative below the horizon;
    height in metres above the ground it looks at. The errors are one standard deviation."""

    lat: float
    lon: float
    height_m: float
    pan: float
    tilt: float
    hfov: float
    pan_error: float = 0.5
    tilt_error: float = 0.2


@dataclass(frozen=True, slots=True)
class Place:
    """A position with its error: metres along the line of sight and across it, one standard deviation.

    ``lat``, ``lon``, ``range_m`` and the errors are None when only the bearing is known.
    """

    bearing: float
    lat: float | None = None
    lon: float | None = None
    range_m: float | None = None
    along_m: float | None = None
    across_m: float | None = None


def locate(view: View, box: tuple[float, float, float, float], aspect: float) -> Place:
    """Place the foot of a plume.

    ``box``: x1, y1, x2, y2 as fractions of the frame; its bottom centre is taken as the foot. ``aspect``: width over
    height of the frame. Pin-hole camera without roll. Returns a bearing alone when the foot is at or above the horizon,
    or beyond 20 km.
    """
    focal = 0.5 / math.tan(math.radians(view.hfov) / 2)  # in frame widths
    x = (box[0] + box[2]) / 2 - 0.5
    y = (box[3] - 0.5) / aspect
    bearing, depression = _ray(view, focal, x, y)
    range_m = _ground_range(view.height_m, depression)
    if range_m is None:
        return Place(bearing=bearing)
    lat, lon = move(view.lat, view.lon, bearing, range_m)
    error = math.radians(view.tilt_error)
    near = _ground_range(view.height_m, depression + error) or range_m
    far = _ground_range(view.height_m, depression - error) or _MAX_RANGE_M
    along = max((far - near) / 2, 0.02 * range_m)
    across = max(range_m * math.radians(view.pan_error), 10.0)
    return Place(bearing, lat, lon, range_m, along, across)


def _ray(view: View, focal: float, x: float, y: float) -> tuple[float, float]:
    """Bearing (degrees) and depression below the horizontal (radians) of an image point."""
    tilt = math.radians(view.tilt)
    # Camera axes: forward, right, down; the camera is turned down by -tilt.
    forward = focal * math.cos(tilt) + y * math.sin(tilt)
    down = -focal * math.sin(tilt) + y * math.cos(tilt)
    bearing = (view.pan + math.degrees(math.atan2(x, forward))) % 360
    return bearing, math.atan2(down, math.hypot(forward, x))


def _ground_range(height_m: float, depression: float) -> float | None:
    """Where a ray meets the curved ground; None when it does not within 20 km."""
    if depression <= 0:
        return None
    # height - R·tan(depression) + R²/2r = 0, the nearer root.
    slope = math.tan(depression)
    root = slope * slope - 2 * height_m / _CURVE_RADIUS_M
    if root < 0:
        return None
    range_m = 2 * height_m / (slope + math.sqrt(root))
    return range_m if range_m <= _MAX_RANGE_M else None


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
