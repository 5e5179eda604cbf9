# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a box in a picture to a line of sight with its errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from server.domain.errors import Invalid
from server.domain.place import View, line_of_sight

# Where the smoke leaves the ground is the box's bottom centre, give or take (one standard deviation): a share of the
# box, because the plume leans and thins, and a share of the frame's width, because boxes jitter by pixels (2 of 1,280).
FOOT_SHARE_X, FOOT_SHARE_Y, FOOT_JITTER = 0.25, 0.05, 2 / 1280
# A levelled mount's roll, degrees, one standard deviation.
ROLL_ERROR = 0.2
# A box that ends so near to the picture's edge (a fraction of it) goes on beyond it.
_EDGE = 0.004


@dataclass(frozen=True, slots=True)
class Sight:
    """One camera's line of sight to the foot of a plume. Degrees, metres, WGS-84; errors are one standard deviation.

    ``correlation`` is the bearing's with the depression's (below the horizontal). ``foot_seen`` is false when the foot
    is below the picture: the depression is then a lower bound and places nothing.
    """

    camera: str
    lat: float
    lon: float
    height_m: float
    altitude_m: float | None
    height_error: float
    bearing: float
    depression: float
    bearing_sd: float
    depression_sd: float
    correlation: float
    foot_seen: bool = True

    def to_data(self) -> dict[str, Any]:
        """As plain JSON, for the journal."""
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Sight:
        """What ``to_data`` wrote."""
        return cls(**data)


def sight(camera: str, view: View, box: tuple[float, float, float, float], aspect: float) -> Sight:
    """The line of sight to the bottom centre of ``box`` (x1, y1, x2, y2 as fractions of the frame).

    ``aspect``: the frame's width over its height. Raises Invalid when a number makes no sense: a wrong input must not
    become a position.
    """
    _check(view, box, aspect)
    foot = ((box[0] + box[2]) / 2, box[3])
    width, height = box[2] - box[0], box[3] - box[1]
    cut = box[0] <= _EDGE or box[2] >= 1 - _EDGE
    x_sd = math.hypot(FOOT_SHARE_X * width, FOOT_JITTER, width / 2 if cut else 0.0)
    y_sd = math.hypot(FOOT_SHARE_Y * height, FOOT_JITTER * aspect)
    bearing, depression = line_of_sight(view.pan, view.tilt, view.roll, view.hfov, foot, aspect)
    variance_b = variance_d = covariance = 0.0
    for changed, moved in (
        (replace(view, pan=view.pan + view.pan_error), foot),
        (replace(view, tilt=view.tilt + view.tilt_error), foot),
        (replace(view, roll=view.roll + ROLL_ERROR), foot),
        (replace(view, hfov=view.hfov / (1 + view.hfov_error)), foot),
        (view, (foot[0] + x_sd, foot[1])),
        (view, (foot[0], foot[1] + y_sd)),
    ):
        other = line_of_sight(changed.pan, changed.tilt, changed.roll, changed.hfov, moved, aspect)
        db, dd = turn(other[0], bearing), other[1] - depression
        variance_b, variance_d, covariance = variance_b + db * db, variance_d + dd * dd, covariance + db * dd
    sd_b, sd_d = math.sqrt(variance_b), math.sqrt(variance_d)
    return Sight(
        camera,
        view.lat,
        view.lon,
        view.height_m,
        view.altitude_m,
        view.height_error,
        bearing,
        depression,
        sd_b,
        sd_d,
        max(-0.999, min(0.999, covariance / (sd_b * sd_d))),
        foot_seen=box[3] < 1 - _EDGE,
    )


def turn(to: float, from_: float) -> float:
    """The signed turn from one bearing to another, degrees in [-180, 180)."""
    return (to - from_ + 180) % 360 - 180


def _check(view: View, box: tuple[float, float, float, float], aspect: float) -> None:
    numbers = [value for value in asdict(view).values() if value is not None] + [*box, aspect]
    if not all(map(math.isfinite, numbers)):
        raise Invalid("the camera's view or the box holds a number that is not finite")
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise Invalid(f"the box {box} must hold 0 ≤ x1 < x2 ≤ 1 and 0 ≤ y1 < y2 ≤ 1")
    if not (0 < view.hfov < 180 and -90 <= view.tilt <= 90 and view.height_m > 0 and aspect > 0):
        raise Invalid("the view must hold 0 < hfov < 180, -90 ≤ tilt ≤ 90, height above 0 and an aspect above 0")
    if not (-90 <= view.lat <= 90 and -180 <= view.lon <= 180):
        raise Invalid(f"the camera stands at {view.lat}, {view.lon}, which is no position")
    if min(view.pan_error, view.tilt_error, view.height_error, view.hfov_error) <= 0:
        raise Invalid("the errors of pan, tilt, height and field of view must be above 0: nothing is known exactly")
