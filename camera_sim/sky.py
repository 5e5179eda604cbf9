# SPDX-License-Identifier: AGPL-3.0-or-later
"""Light, air, clouds and the hills behind the plain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from camera_sim.geometry import View
from camera_sim.noise import F32, I64, f32, hashed, smooth, tile
from camera_sim.spec import Hills, Light

CLOUD_BASE_M = 1600.0
HILL_RGB = (0.16, 0.22, 0.14)


@dataclass(frozen=True)
class Air:
    """The colours (RGB 0..1) and strengths of light for one time of day."""

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    airlight: tuple[float, float, float]
    tint: tuple[float, float, float]
    smoke: tuple[float, float, float]
    extinction_per_m: float
    dusk: float
    sun_right: float

    def clearness(self, range_m: F32 | float) -> F32:
        """Share of an object's own light that reaches the camera from a range (Koschmieder's law)."""
        out: F32 = np.exp(-self.extinction_per_m * np.asarray(range_m, np.float32))
        return out


def air(light: Light, pan_deg: float) -> Air:
    """The light of a scene seen towards `pan_deg`. Dusk deepens with the sun's elevation."""
    right = math.sin(math.radians(light.sun_bearing_deg - pan_deg))
    extinction = 3.912 / light.visibility_m
    murk = float(np.clip((20_000 - light.visibility_m) / 20_000, 0, 1))
    if light.time == "day":
        blue = np.array([0.42, 0.58, 0.80])
        grey = np.array([0.76, 0.79, 0.81])
        zenith = blue * (1 - 0.75 * murk) + grey * 0.75 * murk
        return Air(
            _rgb(zenith),
            (0.83, 0.86, 0.88),
            (0.75, 0.79, 0.82),
            (1.0, 0.99, 0.96),
            (0.86, 0.86, 0.85),
            extinction,
            0.0,
            right,
        )
    # After sunset the camera's gain rises, so the picture is dim and bluish rather than black.
    depth = float(np.clip((8 - light.sun_elevation_deg) / 12, 0.2, 1))
    dim = 1 - 0.35 * depth
    return Air(
        _rgb(np.array([0.42, 0.47, 0.58]) * dim),
        _rgb(np.array([0.84, 0.72, 0.67]) * dim),
        _rgb(np.array([0.62, 0.59, 0.62]) * dim),
        _rgb(np.array([0.74, 0.72, 0.80]) * dim),
        _rgb(np.array([0.76, 0.74, 0.77]) * dim),
        extinction,
        depth,
        right,
    )


def _rgb(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b


def sky(view: View, light: Light, look: Air, seed: int) -> F32:
    """RGB of the sky, HxWx3, down to the horizon; below it the horizon's colour."""
    whole = np.full((view.height, view.width, 3), look.horizon, np.float32)
    rows = int(np.clip(math.ceil(view.horizon_px) + 2, 0, view.height))
    out = whole[:rows]
    y, x = np.mgrid[0:rows, 0 : view.width].astype(np.float32)
    elevation = np.arctan((view.horizon_px - y) / view.focal_px)
    elevation = np.maximum(elevation, 0)
    up = (1 - np.exp(-elevation / math.radians(9)))[..., None]
    out[:] = np.array(look.horizon, np.float32) * (1 - up) + np.array(look.zenith, np.float32) * up
    _clouds(out, view, light, look, seed, x, elevation)
    if look.dusk:
        _afterglow(out, view, light, look, x, elevation)
    return whole


def _clouds(out: F32, view: View, light: Light, look: Air, seed: int, x: F32, elevation: F32) -> None:
    """A broken layer seen in perspective, thinning into the haze at the horizon."""
    reach = CLOUD_BASE_M / np.tan(np.maximum(elevation, 0.012))
    bearing = np.radians(view.pan_deg) + np.arctan((x - view.width / 2) / view.focal_px)
    east, north = (np.sin(bearing) * reach).astype(np.float32), (np.cos(bearing) * reach).astype(np.float32)
    shape = smooth(tile(seed + 31, octaves=7, gain=0.56), east, north, 30_000.0)
    cover = np.clip((shape - 1.6 + 3.0 * light.cloud) * 0.75, 0, 1) * 0.85
    cover *= np.clip(elevation / 0.05, 0, 1) ** 1.5 * np.exp(-reach / 60_000)
    shade = 1 - 0.09 * np.clip(shape - 0.2, 0, 1.5)
    white = np.array((0.95, 0.955, 0.96) if not look.dusk else look.smoke, np.float32)
    a = cover[..., None].astype(np.float32)
    out *= 1 - a
    out += a * (white * shade[..., None])


def _afterglow(out: F32, view: View, light: Light, look: Air, x: F32, elevation: F32) -> None:
    """The band of warm light over the place where the sun went down."""
    bearing = view.pan_deg + np.degrees(np.arctan((x - view.width / 2) / view.focal_px))
    off = (bearing - light.sun_bearing_deg + 180) % 360 - 180
    glow = np.exp(-((off / 50) ** 2) - elevation / math.radians(6)) * 0.5
    out += glow[..., None] * np.array([0.55, 0.28, 0.08], np.float32)


def _ridge(view: View, hills: Hills, seed: int) -> tuple[F32, F32]:
    """Rows of a ridge's crest and of its foot in each column."""
    x = np.arange(view.width, dtype=np.float32)
    bearing = np.radians(view.pan_deg) + np.arctan((x - view.width / 2) / view.focal_px)
    along = f32(bearing * hills.range_m)
    key = seed + int(hills.range_m)
    crest, weight = f32(np.zeros_like(along)), 0.0
    for octave in range(9):
        i, f = _knots(along, hills.range_m * 0.33 / 2**octave)
        level = hashed(key, i, octave) * (1 - f) + hashed(key, i + 1, octave) * f
        gain = (0.36 + 0.2 * hills.roughness) ** octave
        # The great waves fold into crests and saddles, the small ones are the canopy.
        crest += gain * (1 - np.abs(2 * level - 1) if octave < 3 else level)
        weight += gain
    height = hills.height_m * np.clip(1.9 * crest / weight - 0.55, 0.03, None)
    i, f = _knots(along, hills.range_m * 0.06)
    foot_m = hills.range_m * (0.9 + 0.1 * (hashed(key, i, 50) * (1 - f) + hashed(key, i + 1, 50) * f))
    top = view.horizon_px - view.focal_px * (height - view.height_m) / hills.range_m
    return f32(top), f32(view.horizon_px + view.focal_px * view.height_m / foot_m)


def _knots(along: F32, wave: float) -> tuple[I64, F32]:
    """The knot before each place, and the eased way to the next."""
    i = np.floor(along / wave).astype(np.int64)
    f = along / wave - i
    return i, f32(f * f * (3 - 2 * f))


def draw_hills(out: F32, view: View, hills: Hills, look: Air, seed: int) -> None:
    """Paint one ridge over the sky and the plain: forested slopes with spurs, fading into the air."""
    top, foot = _ridge(view, hills, seed)
    first, last = (int(np.clip(row, 0, view.height)) for row in (top.min() - 4, foot.max() + 5))
    if first >= last:
        return
    out = out[first:last]
    y, x = np.mgrid[first:last, 0 : view.width].astype(np.float32)
    inside = np.clip(y - top[None, :] + 0.5, 0, 1) * np.clip(foot[None, :] - y + 0.5, 0, 1)
    scale = hills.range_m / view.focal_px
    key = seed + int(hills.range_m) % 97
    down = f32((y - top[None, :]) * scale)
    spurs = _spurs(f32(x * scale), down, hills, key)
    canopy = smooth(tile(key + 1, octaves=3, gain=0.9, first=4), f32(x * scale), down * 1.4, 1900.0)
    relief = np.clip(1 + 0.15 * spurs + 0.22 * canopy, 0.45, 1.8)
    rgb = np.array(HILL_RGB, np.float32) * np.array(look.tint, np.float32) * relief[..., None]
    clear = float(look.clearness(hills.range_m))
    # Air is thickest low down, so a slope pales towards its foot.
    low = np.clip((y - top[None, :]) / np.maximum(foot - top, 1)[None, :], 0, 1)[..., None]
    keep = clear * (1.05 - 0.15 * low)
    rgb = rgb * keep + np.array(look.airlight, np.float32) * (1 - keep)
    a = f32(cv2.GaussianBlur(f32(inside), (0, 0), 0.6))[..., None]
    out *= 1 - a
    out += a * rgb


def _spurs(across: F32, down: F32, hills: Hills, key: int) -> F32:
    """Light and shade of the spurs that run down from a crest and fan out."""
    field = tile(key, octaves=5, gain=0.5)
    bent = across + smooth(field, across, down, hills.height_m * 9) * hills.height_m * 0.35
    slope = smooth(field, f32(bent), down * 0.35, hills.height_m * 7)
    shifted = smooth(field, f32(bent + hills.height_m * 0.06), down * 0.35, hills.height_m * 7)
    return f32(np.clip((slope - shifted) * 6, -1.6, 0.7) * 0.8 + 0.2 * slope)
