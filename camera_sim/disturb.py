# SPDX-License-Identifier: AGPL-3.0-or-later
"""What fools detectors: steam, drifting fog, cloud shadows, headlights, drops on the lens and a shaking mast.

Each takes a BGR uint8 picture and changes it in place (shake gives a new one); all are functions of the
scene's time alone.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from camera_sim import plume
from camera_sim.geometry import View
from camera_sim.noise import F32, U8, hashed, smooth, tile, wander
from camera_sim.sky import Air
from camera_sim.spec import Burn, Disturbance, SceneSpec

COARSE = 4
STACK_M = 28.0
LAMP = (190, 235, 255)


def apply(picture: U8, active: list[Disturbance], spec: SceneSpec, view: View, look: Air, t_s: float) -> U8:
    """The picture with every active disturbance, those in the landscape before those on the lens."""
    kinds = {d.kind: d for d in active}
    for kind, change in (
        ("cloud_shadow", _cloud_shadow),
        ("chimney", _chimney),
        ("headlights", _headlights),
        ("fog", _fog),
    ):
        if kind in kinds:
            change(picture, kinds[kind], spec, view, look, t_s)
    if "shake" in kinds:
        picture = _shake(picture, kinds["shake"], spec, t_s)
    if "lens_rain" in kinds:
        _lens_rain(picture, kinds["lens_rain"], spec, t_s)
    return picture


def _ramp(d: Disturbance, t_s: float, over_s: float = 5) -> float:
    """0 to 1 over the first seconds and back over the last."""
    return float(np.clip(min(t_s - d.from_s, d.to_s - t_s) / over_s, 0, 1))


@lru_cache(maxsize=4)
def _plane(view: View) -> tuple[F32, F32, F32]:
    """Ground metres (right, forward) and nearness to the horizon of a coarse grid over the picture."""
    h, w = view.height // COARSE, view.width // COARSE
    y, x = np.mgrid[0:h, 0:w].astype(np.float32) * COARSE + COARSE / 2
    slope = (y - view.horizon_px) / view.focal_px
    forward = np.minimum(view.height_m / np.maximum(slope, 1e-4), 20_000).astype(np.float32)
    right = (forward * (x - view.width / 2) / view.focal_px).astype(np.float32)
    return right, forward, slope.astype(np.float32)


def _spread(mask: F32, picture: U8) -> F32:
    out: F32 = np.asarray(cv2.resize(mask, (picture.shape[1], picture.shape[0])), np.float32)
    return out


def _cloud_shadow(picture: U8, d: Disturbance, spec: SceneSpec, view: View, look: Air, t_s: float) -> None:
    right, forward, slope = _plane(view)
    drift = 9 * (t_s - d.from_s)
    field = smooth(tile(spec.seed + 91, octaves=3), right + drift, forward + 0.4 * drift, 5200.0)
    dark = 0.42 * d.strength * _ramp(d, t_s) * np.clip(field * 2 + 0.3, 0, 1) * np.clip(slope * 60 - 0.3, 0, 1)
    top = max(0, int(view.horizon_px))
    factor = _spread((1 - np.minimum(dark, 0.8)).astype(np.float32), picture)[top:, :, None]
    picture[top:] = (picture[top:] * factor).astype(np.uint8)


def _chimney(picture: U8, d: Disturbance, spec: SceneSpec, view: View, look: Air, t_s: float) -> None:
    """A brickworks' stack with white steam that evaporates a few hundred metres downwind."""
    bearing = spec.camera.pan_deg - spec.camera.hfov_deg / 4 if d.bearing_deg is None else d.bearing_deg
    range_m = 2600.0 if d.range_m is None else d.range_m
    right, forward = view.axes(bearing, range_m)
    x, y, depth = view.project(np.full(4, right), np.full(4, forward), np.array([0, STACK_M, 0, STACK_M]))
    half = max(1.0, 1.4 * view.focal_px / max(float(depth[0]), 1))
    clear = float(look.clearness(range_m))
    brick = 255 * (np.array((0.42, 0.47, 0.56)) * clear + np.array(look.airlight[::-1]) * (1 - clear))
    cv2.rectangle(
        picture,
        (round(float(x[0]) - half), round(float(y[1]))),
        (round(float(x[0]) + half), round(float(y[0]))),
        brick.tolist(),
        -1,
    )
    steam = plume.Source(
        right,
        forward,
        d.from_s - 60,
        d.to_s,
        (Burn(t_s=0, straw_kg_s=0.5 * d.strength),),
        spec.seed + 7,
        base_m=STACK_M,
        life_s=22,
        whiteness=1.0,
    )
    plume.draw(picture, steam, spec.wind, view, look, t_s, range_m)


def _headlights(picture: U8, d: Disturbance, spec: SceneSpec, view: View, look: Air, t_s: float) -> None:
    """A few cars along a road across the view, brightest at dusk."""
    range_m = 1500.0 if d.range_m is None else d.range_m
    width = 2 * range_m * math.tan(math.radians(view.hfov_deg / 2))
    for car in range(4):
        pace = 11 + 5 * float(hashed(spec.seed, car, 71))
        at = (float(hashed(spec.seed, car, 72)) * width + pace * t_s) % width - width / 2
        x, y, _ = view.project(at, range_m, 0.8)
        flash = 0.65 + 0.35 * math.sin(t_s * 0.7 + car)
        glow(picture, float(x), float(y), (3.5 + 9 * look.dusk) * d.strength, flash * _ramp(d, t_s, 1), LAMP)


def glow(picture: U8, x: float, y: float, radius: float, amount: float, bgr: tuple[int, int, int]) -> None:
    """Add a small light with its bloom, in place."""
    reach = math.ceil(radius * 3)
    x0, y0 = max(0, int(x) - reach), max(0, int(y) - reach)
    x1, y1 = min(picture.shape[1], int(x) + reach), min(picture.shape[0], int(y) + reach)
    if x0 >= x1 or y0 >= y1:
        return
    gy, gx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    d = np.hypot(gx - x, gy - y) / radius
    light = amount * (np.exp(-((d * 2.5) ** 2)) + 0.25 * np.exp(-d * 1.6))
    window = picture[y0:y1, x0:x1]
    window[:] = np.clip(window + light[..., None] * np.array(bgr, np.float32), 0, 255).astype(np.uint8)


def _fog(picture: U8, d: Disturbance, spec: SceneSpec, view: View, look: Air, t_s: float) -> None:
    """Banks of shallow fog that drift over the plain with the wind."""
    right, forward, slope = _plane(view)
    drift = 1.2 * spec.wind.speed_mps * (t_s - d.from_s)
    wide = smooth(tile(spec.seed + 92, octaves=5), right + drift, forward * 0.7, 4200.0)
    fine = smooth(tile(spec.seed + 93, octaves=6), right + 1.4 * drift, slope * 60_000, 2600.0)
    level = np.exp(-(((slope - 0.006) / 0.022) ** 2))
    tau = 1.5 * d.strength * _ramp(d, t_s, 10) * level * np.clip(wide + 0.35 * fine + 0.1, 0, None)
    through = _spread(np.exp(-tau).astype(np.float32), picture)
    rows = np.flatnonzero(through.min(axis=1) < 0.995)
    if rows.size:
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        pale = np.array(look.horizon[::-1], np.float32) * 245
        a = through[part, :, None]
        picture[part] = (picture[part] * a + pale * (1 - a)).astype(np.uint8)


def _shake(picture: U8, d: Disturbance, spec: SceneSpec, t_s: float) -> U8:
    """The mast sways in gusts and trembles."""
    at = np.array([t_s])
    dx, dy = (
        d.strength
        * _ramp(d, t_s, 2)
        * float(5 * wander(spec.seed + axis, at, 0.9)[0] + 2.5 * wander(spec.seed + 5 + axis, at, 0.2)[0])
        for axis in (1, 2)
    )
    move = np.array([[1, 0, dx], [0, 1, 0.6 * dy]], np.float32)
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, move, size, borderMode=cv2.BORDER_REFLECT), np.uint8)


def _lens_rain(picture: U8, d: Disturbance, spec: SceneSpec, t_s: float) -> None:
    """Drops on the glass: each a blurred, brighter, upside-down copy of what is around it, some of them running."""
    h, w = picture.shape[:2]
    for drop in range(int(14 * d.strength)):
        pick = [float(hashed(spec.seed, drop, 80 + n)) for n in range(4)]
        runs = max(0.0, pick[3] - 0.6) * 12 * (t_s - d.from_s)
        r = int((0.012 + 0.035 * pick[2]) * w)
        x, y = int(pick[0] * w), int((pick[1] * h + runs) % (h + 2 * r)) - r
        x0, y0, x1, y1 = max(0, x - r), max(0, y - r), min(w, x + r), min(h, y + r)
        if x1 - x0 < 4 or y1 - y0 < 4:
            continue
        window = picture[y0:y1, x0:x1]
        small = cv2.resize(cv2.flip(window, -1), (12, 12), interpolation=cv2.INTER_AREA)
        inside = cv2.resize(cv2.GaussianBlur(small, (0, 0), 1.6), (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
        gy, gx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        a = np.clip((1 - np.hypot(gx - x, gy - y) / r) * 2.5, 0, 1) * 0.8 * _ramp(d, t_s, 3)
        window[:] = np.clip(window * (1 - a[..., None]) + (inside * 1.06 + 8) * a[..., None], 0, 255).astype(np.uint8)
