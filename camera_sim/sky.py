# SPDX-License-Identifier: AGPL-3.0-or-later
"""Light, air, clouds and the hills behind the plain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from camera_sim.geometry import View
from camera_sim.noise import F32, f32, hashed, smooth, tile
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
    dim = 1 - 0.45 * depth
    return Air(
        _rgb(np.array([0.30, 0.36, 0.50]) * dim),
        _rgb(np.array([0.70, 0.58, 0.54]) * dim),
        _rgb(np.array([0.50, 0.47, 0.50]) * dim),
        _rgb(np.array([0.52, 0.50, 0.56]) * dim),
        _rgb(np.array([0.64, 0.62, 0.64]) * dim),
        extinction,
        depth,
        right,
    )


def _rgb(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float, float]:
    r, g, b = (float(v) for v in values)
    return r, g, b


def sky(view: View, light: Light, look: Air, seed: int) -> F32:
    """RGB of the sky over the whole picture, HxWx3."""
    y, x = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    elevation = np.arctan((view.horizon_px - y) / view.focal_px)
    elevation = np.maximum(elevation, 0)
    up = (1 - np.exp(-elevation / math.radians(9)))[..., None]
    out = np.array(look.horizon, np.float32) * (1 - up) + np.array(look.zenith, np.float32) * up
    _clouds(out, view, light, look, seed, x, elevation)
    if look.dusk:
        _afterglow(out, view, light, look, x, elevation)
    return f32(out)


def _clouds(out: F32, view: View, light: Light, look: Air, seed: int, x: F32, elevation: F32) -> None:
    """A broken layer seen in perspective, thinning into the haze at the horizon."""
    reach = CLOUD_BASE_M / np.tan(np.maximum(elevation, 0.012))
    bearing = np.radians(view.pan_deg) + np.arctan((x - view.width / 2) / view.focal_px)
    east, north = (np.sin(bearing) * reach).astype(np.float32), (np.cos(bearing) * reach).astype(np.float32)
    shape = smooth(tile(seed + 31, octaves=7, gain=0.56), east, north, 30_000.0)
    cover = np.clip((shape - 1.6 + 3.0 * light.cloud) * 0.75, 0, 1) * 0.85
    cover *= np.clip(elevation / 0.05, 0, 1) ** 1.5 * np.exp(-reach / 60_000)
    shade = 1 - 0.16 * np.clip(shape - 0.2, 0, 1.5)
    white = np.array((0.93, 0.94, 0.95) if not look.dusk else look.smoke, np.float32)
    a = cover[..., None].astype(np.float32)
    out *= 1 - a
    out += a * (white * shade[..., None])


def _afterglow(out: F32, view: View, light: Light, look: Air, x: F32, elevation: F32) -> None:
    """The band of warm light over the place where the sun went down."""
    bearing = view.pan_deg + np.degrees(np.arctan((x - view.width / 2) / view.focal_px))
    off = (bearing - light.sun_bearing_deg + 180) % 360 - 180
    glow = np.exp(-((off / 50) ** 2) - elevation / math.radians(6)) * 0.5
    out += glow[..., None] * np.array([0.55, 0.28, 0.08], np.float32)


def ridge_px(view: View, hills: Hills, seed: int) -> F32:
    """Row of a ridge's crest in each column."""
    x = np.arange(view.width, dtype=np.float32)
    bearing = np.radians(view.pan_deg) + np.arctan((x - view.width / 2) / view.focal_px)
    along = (bearing * hills.range_m).astype(np.float32)
    key = seed + int(hills.range_m)
    total = np.zeros_like(along)
    for octave in range(6):
        wave = hills.range_m * 0.45 / 2**octave
        i = np.floor(along / wave).astype(np.int64)
        f = along / wave - i
        f = f * f * (3 - 2 * f)
        level = hashed(key, i, octave) * (1 - f) + hashed(key, i + 1, octave) * f
        total += level * (0.35 + 0.25 * hills.roughness) ** octave
    crest = hills.height_m * (0.25 + 0.75 * total / 1.7)
    top = view.horizon_px - view.focal_px * (crest - view.height_m) / hills.range_m
    return f32(top)


def draw_hills(out: F32, view: View, hills: Hills, light: Light, look: Air, seed: int) -> None:
    """Paint one ridge over the sky: forested slopes with valleys, fading into the air."""
    top = ridge_px(view, hills, seed)
    foot = view.horizon_px + view.focal_px * view.height_m / hills.range_m
    y, x = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    inside = np.clip(y - top[None, :] + 0.5, 0, 1) * (y < foot + 1)
    scale = hills.range_m / view.focal_px
    seedling = tile(seed + int(hills.range_m) % 97, octaves=7, gain=0.62)
    u = x * scale + smooth(seedling, x * scale, y * scale, 2500.0) * 60
    spurs = smooth(seedling, u, (y - top[None, :]) * scale * 0.55, 3800.0)
    canopy = smooth(tile(seed + 77, octaves=6, gain=0.75), x * scale, y * scale * 2, 900.0)
    relief = 1 + 0.20 * spurs + 0.14 * canopy
    rgb = np.array(HILL_RGB, np.float32) * np.array(look.tint, np.float32) * relief[..., None]
    clear = float(look.clearness(hills.range_m))
    # Air is thickest low down, so a slope pales towards its foot.
    low = np.clip((y - top[None, :]) / np.maximum(foot - top[None, :], 1), 0, 1)[..., None]
    keep = clear * (1 - 0.45 * low)
    rgb = rgb * keep + np.array(look.airlight, np.float32) * (1 - keep)
    a = cv2.GaussianBlur(inside, (0, 0), 0.6)[..., None]
    out *= 1 - a
    out += a * rgb
