# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a ground point falls in the picture, and back: a pin-hole camera over flat ground.

The camera stands `height_m` above flat ground, looks towards true bearing `pan` and elevation
`tilt` (negative is down), without roll or lens distortion. With f = (W/2) / tan(hfov/2) pixels, a
ground point at bearing `pan + b` and range R (so at depression atan(h/R)) has, relative to the camera,

    right  X = R sin b        forward F = R cos b        down h
    depth  Z = F cos(tilt) - h sin(tilt)
    x = W/2 + f X / Z
    y = H/2 + f (F sin(tilt) + h cos(tilt)) / Z

which for the small tilts of lookout cameras is close to x = W/2 + f tan b and
y = H/2 + f tan(tilt + atan(h / F)). `View.ground` inverts it exactly. Places are related to metres on a plane
tangent at the camera with the WGS-84 radii of curvature: better than 1 m within 10 km at these latitudes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

_A = 6378137.0
_E2 = 6.69437999014e-3

Array = npt.NDArray[np.float64]


def _radii(lat_deg: float) -> tuple[float, float]:
    """WGS-84 radii of curvature at a latitude: (meridian, parallel circle), metres."""
    s2 = math.sin(math.radians(lat_deg)) ** 2
    n = _A / math.sqrt(1 - _E2 * s2)
    return n * (1 - _E2) / (1 - _E2 * s2), n * math.cos(math.radians(lat_deg))


def to_bearing_range(lat: float, lon: float, to_lat: float, to_lon: float) -> tuple[float, float]:
    """True bearing (degrees, 0-360) and ground range (m) from one WGS-84 place to another nearby."""
    meridian, parallel = _radii((lat + to_lat) / 2)
    north = math.radians(to_lat - lat) * meridian
    east = math.radians(to_lon - lon) * parallel
    return math.degrees(math.atan2(east, north)) % 360, math.hypot(east, north)


def from_bearing_range(lat: float, lon: float, bearing_deg: float, range_m: float) -> tuple[float, float]:
    """The WGS-84 (lat, lon) at a true bearing and ground range from a place: inverts `to_bearing_range`."""
    north = range_m * math.cos(math.radians(bearing_deg))
    east = range_m * math.sin(math.radians(bearing_deg))
    to_lat = lat
    for _ in range(3):  # the radii are taken half way, which is known only after a first guess
        to_lat = lat + math.degrees(north / _radii((lat + to_lat) / 2)[0])
    return to_lat, lon + math.degrees(east / _radii((lat + to_lat) / 2)[1])


@dataclass(frozen=True)
class View:
    """What a camera sees: direction, field of view and picture size. Angles in degrees, sizes in pixels."""

    pan_deg: float
    tilt_deg: float
    hfov_deg: float
    width: int
    height: int
    height_m: float

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width / 2 / math.tan(math.radians(self.hfov_deg) / 2)

    @property
    def horizon_px(self) -> float:
        """Row of the horizon (may lie outside the picture)."""
        return self.height / 2 + self.focal_px * math.tan(math.radians(self.tilt_deg))

    def scaled(self, factor: float) -> View:
        """The same view in a picture `factor` times as large (sizes rounded)."""
        return replace(self, width=round(self.width * factor), height=round(self.height * factor))

    def project(self, right: npt.ArrayLike, forward: npt.ArrayLike, up: npt.ArrayLike) -> tuple[Array, Array, Array]:
        """Pixels of points given in metres from the ground point under the camera, axes turned to `pan`.

        `up` is metres above the ground. Returns x, y and the depth in metres along the optical axis;
        x and y mean nothing where the depth is not positive.
        """
        s, c = math.sin(math.radians(self.tilt_deg)), math.cos(math.radians(self.tilt_deg))
        right, forward = np.asarray(right, np.float64), np.asarray(forward, np.float64)
        down = self.height_m - np.asarray(up, np.float64)
        depth = forward * c - down * s
        safe = np.where(depth > 1e-6, depth, 1e-6)
        x = self.width / 2 + self.focal_px * right / safe
        y = self.height / 2 + self.focal_px * (forward * s + down * c) / safe
        return x, y, depth

    def axes(self, bearing_deg: float, range_m: float) -> tuple[float, float]:
        """(right, forward) metres of a ground point at a true bearing and range."""
        b = math.radians(bearing_deg - self.pan_deg)
        return range_m * math.sin(b), range_m * math.cos(b)

    def pixel(self, bearing_deg: float, range_m: float) -> tuple[float, float] | None:
        """Pixel (x, y) of a ground point; None when it is behind the camera. It may lie outside the picture."""
        right, forward = self.axes(bearing_deg, range_m)
        x, y, depth = self.project(right, forward, 0.0)
        return (float(x), float(y)) if depth > 1e-6 else None

    def ground(self, x: float, y: float) -> tuple[float, float] | None:
        """True bearing (degrees) and range (m) of the ground seen at a pixel; None on or above the horizon."""
        s, c = math.sin(math.radians(self.tilt_deg)), math.cos(math.radians(self.tilt_deg))
        u, v = (x - self.width / 2) / self.focal_px, (y - self.height / 2) / self.focal_px
        down = v * c - s
        if down <= 1e-9:
            return None
        forward, right = (c + v * s) * self.height_m / down, u * self.height_m / down
        return (self.pan_deg + math.degrees(math.atan2(right, forward))) % 360, math.hypot(right, forward)

    def rotation(self) -> Array:
        """From directions in this camera's axes (right, down, ahead) to east, down, north."""
        (sp, cp), (st, ct) = ((math.sin(a), math.cos(a)) for a in map(math.radians, (self.pan_deg, self.tilt_deg)))
        tilted = np.array([[1, 0, 0], [0, ct, -st], [0, st, ct]])
        out: Array = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]]) @ tilted
        return out

    def seen_from(self, other: View) -> Array:
        """The homography from this picture's pixels to those of another view from the same mast, which is exact
        because a camera on its mount only turns and zooms."""

        def lens(view: View) -> Array:
            return np.array([[view.focal_px, 0, view.width / 2], [0, view.focal_px, view.height / 2], [0, 0, 1]])

        out: Array = lens(other) @ other.rotation().T @ self.rotation() @ np.linalg.inv(lens(self))
        return out

    def contains(self, x: float, y: float) -> bool:
        """Whether a pixel lies inside the picture."""
        return 0 <= x < self.width and 0 <= y < self.height
