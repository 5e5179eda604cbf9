# SPDX-License-Identifier: AGPL-3.0-or-later
"""A mount's true angles from landmarks: known points and where they are seen in a picture.

Four unknowns (pan, tilt, roll, field of view) by least squares on the pixels; three landmarks are the least, five or
more name the one that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from server.domain.errors import Invalid
from server.domain.place import CURVE_RADIUS_M, View
from server.locate.ground import Array, Tangent
from server.locate.region import TERRAIN_ERROR_M
from server.locate.solve import Solved, least_squares

# One standard deviation: a click in pixels; a landmark on the map and, where no tile says it, its height in metres.
# Worse fits raise the stated errors.
CLICK_PX, PLACE_M, HEIGHT_M = 1.5, 3.0, 1.0
# A mount does not repeat its angles better than this, degrees; nor is its zoom's field of view better known.
REPEAT_DEG, REPEAT_FIELD = 0.05, 0.002
LEAST, LEAST_TO_NAME = 3, 5
# The unknowns' errors above which the landmarks do not fix them: degrees of pan, tilt and roll, fraction of the field.
_USELESS = (1.0, 0.5, 3.0, 0.1)
# A landmark is wrong when without it the squares fall so far (chi-squared of 2, one in a million) and the rest agree.
_WRONG, _PATIENCE = 27.6, 3.0
_STEPS = (0.01, 0.01, 0.05, 0.001)


@dataclass(frozen=True, slots=True)
class Landmark:
    """A known point: where it is seen (pixels from the upper left) and where it is (WGS-84, ``height_m`` above
    what the camera's height counts from: the ground it looks at, or the sea where its altitude is known)."""

    name: str
    x: float
    y: float
    lat: float
    lon: float
    height_m: float


@dataclass(frozen=True, slots=True)
class Residual:
    """How far a landmark is seen from where the solved camera would see it, pixels; and how far it is, metres."""

    name: str
    dx: float
    dy: float
    range_m: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The mount solved: true = stated + offset; the true field of view = stated × ``hfov_factor``. The errors (one
    standard deviation) hold what the landmarks leave open and how well a mount repeats."""

    pan_offset: float
    tilt_offset: float
    roll: float
    hfov_factor: float
    pan_error: float
    tilt_error: float
    roll_error: float
    hfov_error: float
    rms_px: float
    residuals: tuple[Residual, ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Landmarks as arrays: seen at ``x`` and ``y`` (pixels from the middle), in truth by ``bearing`` (radians),
    ``far`` and ``down`` (metres); how well all that is known, in pixels (``across``, ``along``)."""

    width: int
    x: Array
    y: Array
    bearing: Array
    far: Array
    down: Array
    across: Array
    along: Array

    @classmethod
    def of(cls, view: View, width: int, height: int, landmarks: Sequence[Landmark]) -> _Seen:
        """The landmarks in a picture."""
        plane = Tangent.at(view.lat, view.lon)
        east, north = np.array([plane.to_metres(one.lat, one.lon) for one in landmarks]).T
        far = np.hypot(east, north)
        eye = view.height_m if view.altitude_m is None else view.altitude_m
        high = np.array([one.height_m for one in landmarks])
        focal = _focal(width, view.hfov)
        upright = HEIGHT_M if view.altitude_m is None else TERRAIN_ERROR_M
        return cls(
            width,
            np.array([one.x for one in landmarks]) - width / 2,
            np.array([one.y for one in landmarks]) - height / 2,
            np.arctan2(east, north),
            far,
            eye - high + far**2 / (2 * CURVE_RADIUS_M),
            np.hypot(CLICK_PX, focal * PLACE_M / far),
            np.hypot(CLICK_PX, focal * upright / far),
        )

    def but(self, index: int) -> _Seen:
        """Without one of them."""
        arrays = (self.x, self.y, self.bearing, self.far, self.down, self.across, self.along)
        return _Seen(self.width, *(np.delete(one, index) for one in arrays))

    def misses(self, view: View, at: Array) -> tuple[Array, Array]:
        """dx and dy of each, pixels, for a mount that is off by ``at`` (pan, tilt, roll in degrees; field, a share)."""
        tilt, roll = math.radians(view.tilt + float(at[1])), math.radians(float(at[2]))
        focal = _focal(self.width, min(max(view.hfov * (1 + float(at[3])), 0.1), 175.0))
        bearing = self.bearing - math.radians(view.pan + float(at[0]))
        right, ahead = self.far * np.sin(bearing), self.far * np.cos(bearing)
        # Behind the camera nothing is seen: far out of the picture, and farther the worse it is.
        depth = np.maximum(ahead * math.cos(tilt) - self.down * math.sin(tilt), 0.02 * self.far)
        below = ahead * math.sin(tilt) + self.down * math.cos(tilt)
        x = right * math.cos(roll) + below * math.sin(roll)
        y = below * math.cos(roll) - right * math.sin(roll)
        return self.x - focal * x / depth, self.y - focal * y / depth

    def residuals(self, view: View, at: Array) -> Array:
        """The same in standard deviations, for least squares."""
        dx, dy = self.misses(view, at)
        return np.concatenate([dx / self.across, dy / self.along])


def _focal(width: int, hfov: float) -> float:
    return width / 2 / math.tan(math.radians(hfov) / 2)


def calibrate(view: View, width: int, height: int, landmarks: Sequence[Landmark]) -> Calibration:
    """Solve a mount from landmarks in one picture of ``width`` × ``height`` pixels, taken under its stated ``view``.

    Raises Invalid when there are too few landmarks, when they lie so that the angles stay open (on one line, or close
    together), or when one does not fit the others; the sentence names it where that can be told.
    """
    _check(view, width, height, landmarks)
    seen = _Seen.of(view, width, height, landmarks)
    solved = _solve(view, seen)
    if solved is None:
        raise Invalid("the landmarks do not fix the camera: take points that are spread over the whole picture")
    dx, dy = seen.misses(view, solved.at)
    rms = float(np.sqrt((np.concatenate([dx, dy]) ** 2).mean()))
    _refuse_outlier(view, seen, landmarks, solved, rms)
    inflation = max(1.0, math.sqrt(solved.misfit / (2 * len(landmarks) - 4)))
    errors = [float(value) * inflation for value in np.sqrt(solved.covariance.diagonal())]
    field = errors[3] / (1 + float(solved.at[3]))
    if any(error > limit for error, limit in zip([*errors[:3], field], _USELESS, strict=True)):
        raise Invalid(
            f"the landmarks leave pan open by {errors[0]:.2f}°, tilt by {errors[1]:.2f}°, roll by {errors[2]:.2f}° and"
            f" the field of view by {field:.1%}: take points that are spread over the whole picture, not on one line"
        )
    pan, tilt, roll, factor = (float(value) for value in solved.at)
    return Calibration(
        pan,
        tilt,
        roll,
        1 + factor,
        math.hypot(errors[0], REPEAT_DEG),
        math.hypot(errors[1], REPEAT_DEG),
        errors[2],
        math.hypot(field, REPEAT_FIELD),
        rms,
        tuple(
            Residual(one.name, float(x), float(y), float(far))
            for one, x, y, far in zip(landmarks, dx, dy, seen.far, strict=True)
        ),
    )


def _check(view: View, width: int, height: int, landmarks: Sequence[Landmark]) -> None:
    if len(landmarks) < LEAST:
        raise Invalid(f"{len(landmarks)} landmarks are too few: at least {LEAST}, better {LEAST_TO_NAME} or more")
    for one in landmarks:
        if not all(map(math.isfinite, (one.x, one.y, one.lat, one.lon, one.height_m))):
            raise Invalid(f"landmark {one.name!r}: a number is not finite")
        if not (0 <= one.x <= width and 0 <= one.y <= height):
            raise Invalid(
                f"landmark {one.name!r}: pixel ({one.x:g}, {one.y:g}) is outside the picture {width} × {height}"
            )
        if math.hypot(*Tangent.at(view.lat, view.lon).to_metres(one.lat, one.lon)) < 20:
            raise Invalid(f"landmark {one.name!r} is at the camera itself")


def _solve(view: View, seen: _Seen) -> Solved | None:
    # The pan may be wrong by any angle (a mount turned on its mast): begin where the landmarks' mean bearing says.
    turns = seen.bearing - math.radians(view.pan) - np.arctan(seen.x / _focal(seen.width, view.hfov))
    start = math.degrees(math.atan2(float(np.sin(turns).mean()), float(np.cos(turns).mean())))
    return least_squares(partial(seen.residuals, view), np.array([start, 0.0, 0.0, 0.0]), step=_STEPS)


def _refuse_outlier(view: View, seen: _Seen, landmarks: Sequence[Landmark], solved: Solved, rms: float) -> None:
    freedom = 2 * len(landmarks) - 4
    if solved.misfit <= freedom + _WRONG:
        return
    worst, least = None, math.inf
    if len(landmarks) >= LEAST_TO_NAME:
        for index, one in enumerate(landmarks):
            without = _solve(view, seen.but(index))
            if without is not None and without.misfit < least:
                worst, least = one, without.misfit
    rest_agrees = least <= max((freedom - 2) * _PATIENCE**2, (solved.misfit - _WRONG) / 10)
    if worst is not None and rest_agrees and solved.misfit - least > _WRONG:
        raise Invalid(
            f"landmark {worst.name!r} does not fit the others: correct its pixel or position, or leave it out"
        )
    if solved.misfit > freedom * _PATIENCE**2:
        raise Invalid(
            f"the landmarks do not agree (off by {rms:.0f} pixels): check the camera's position and height;"
            f" {LEAST_TO_NAME} or more landmarks name a single one that is wrong"
        )


def mended(view: View, found: Calibration) -> View:
    """The view set right by a calibration."""
    return replace(
        view,
        pan=view.pan + found.pan_offset,
        tilt=view.tilt + found.tilt_offset,
        roll=found.roll,
        hfov=view.hfov * found.hfov_factor,
        pan_error=found.pan_error,
        tilt_error=found.tilt_error,
        hfov_error=found.hfov_error,
    )
