# SPDX-License-Identifier: AGPL-3.0-or-later
"""A mount that turns and zooms, each axis at its own finite speed. Pure: seconds of any clock go in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camera_sim.geometry import View
from camera_sim.spec import Camera, Ptz

TILT_RANGE = (-45.0, 20.0)


@dataclass(frozen=True)
class Pose:
    """Where a mount points: degrees (pan from true north, 0 to 360), zoom 0 to 1."""

    pan_deg: float
    tilt_deg: float
    zoom: float


@dataclass(frozen=True)
class _Leg:
    """One movement: each axis runs from its start at its rate (per second) for its own time, and ends at `end`."""

    start: Pose
    began_s: float
    rates: tuple[float, float, float]
    times_s: tuple[float, float, float]
    end: Pose

    def pose(self, now: float) -> Pose:
        if now >= self.began_s + max(self.times_s):
            return self.end
        gone = [min(max(0.0, now - self.began_s), time) for time in self.times_s]
        pan, tilt, zoom = (rate * time for rate, time in zip(self.rates, gone, strict=True))
        return Pose((self.start.pan_deg + pan) % 360, self.start.tilt_deg + tilt, self.start.zoom + zoom)


class Mount:
    """One camera's mount and lens."""

    def __init__(self, camera: Camera, ptz: Ptz) -> None:
        self.ptz = ptz
        self._camera = camera
        home = Pose(camera.pan_deg, camera.tilt_deg, self.zoom_for(camera.hfov_deg))
        self._leg = _Leg(home, 0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), home)

    def pose(self, now: float) -> Pose:
        """Where it points."""
        return self._leg.pose(now)

    @property
    def target(self) -> Pose:
        """Where it will come to rest."""
        return self._leg.end

    def moving(self, now: float) -> bool:
        """Whether any axis still runs."""
        return now < self._leg.began_s + max(self._leg.times_s)

    def speed_deg_s(self, now: float) -> float:
        """How fast the view sweeps."""
        gone = now - self._leg.began_s
        runs = [rate if gone < time else 0.0 for rate, time in zip(self._leg.rates, self._leg.times_s, strict=True)]
        return math.hypot(runs[0], runs[1])

    def move(self, to: Pose, now: float) -> None:
        """Turn to a pose by the shorter way; what lies beyond the range is its end."""
        tilt, zoom = float(np.clip(to.tilt_deg, *TILT_RANGE)), float(np.clip(to.zoom, 0, 1))
        here = self.pose(now)
        way = ((to.pan_deg - here.pan_deg + 180) % 360 - 180, tilt - here.tilt_deg, zoom - here.zoom)
        speeds = (self.ptz.pan_deg_s, self.ptz.tilt_deg_s, 1 / self.ptz.zoom_s)
        self._run(here, now, way, speeds, Pose(to.pan_deg % 360, tilt, zoom))

    def drive(self, pan: float, tilt: float, zoom: float, now: float, for_s: float = 60.0) -> None:
        """Turn steadily, each axis at a share (-1 to 1) of its full speed, for a time or until its end."""
        here = self.pose(now)
        tilt_to = here.tilt_deg + tilt * self.ptz.tilt_deg_s * for_s
        zoom_to = here.zoom + zoom / self.ptz.zoom_s * for_s
        way = (
            pan * self.ptz.pan_deg_s * for_s,
            float(np.clip(tilt_to, *TILT_RANGE)) - here.tilt_deg,
            float(np.clip(zoom_to, 0, 1)) - here.zoom,
        )
        speeds = (abs(pan) * self.ptz.pan_deg_s, abs(tilt) * self.ptz.tilt_deg_s, abs(zoom) / self.ptz.zoom_s)
        end = Pose((here.pan_deg + way[0]) % 360, here.tilt_deg + way[1], here.zoom + way[2])
        self._run(here, now, way, speeds, end)

    def stop(self, now: float) -> None:
        """Stand still where it is."""
        here = self.pose(now)
        self._leg = _Leg(here, now, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), here)

    def view(self, now: float) -> View:
        """What the camera sees from there."""
        at, c = self.pose(now), self._camera
        return View(at.pan_deg, at.tilt_deg, self.field_at(at.zoom), c.width, c.height, c.height_m)

    def field_at(self, zoom: float) -> float:
        """The horizontal field of view, degrees: between the table's rows its logarithm runs straight."""
        zooms, fields = zip(*self.ptz.fields, strict=True)
        return math.exp(float(np.interp(zoom, zooms, np.log(fields))))

    def zoom_for(self, field_deg: float) -> float:
        """The zoom that gives a field of view."""
        zooms, fields = zip(*self.ptz.fields[::-1], strict=True)
        return float(np.interp(math.log(field_deg), np.log(fields), zooms))

    def _run(
        self,
        here: Pose,
        now: float,
        way: tuple[float, float, float],
        speeds: tuple[float, float, float],
        end: Pose,
    ) -> None:
        rates = [math.copysign(speed, part) if part else 0.0 for part, speed in zip(way, speeds, strict=True)]
        times = [part / rate if rate else 0.0 for part, rate in zip(way, rates, strict=True)]
        self._leg = _Leg(here, now, (rates[0], rates[1], rates[2]), (times[0], times[1], times[2]), end)
