# SPDX-License-Identifier: AGPL-3.0-or-later
"""The still part of a scene: sky, hills, plain, villages and trees, rendered once for a view."""

from __future__ import annotations

import math

import cv2
import numpy as np

from camera_sim import ground, objects
from camera_sim.geometry import View
from camera_sim.noise import F32, f32
from camera_sim.sky import Air, air, draw_hills, sky
from camera_sim.spec import SceneSpec

OVERSAMPLE = 2
FARTHEST_M = 30_000.0


def render(spec: SceneSpec, view: View) -> F32:
    """The picture without smoke, noise or disturbance: RGB, view.height x view.width x 3, 0..1 float32."""
    look = air(spec.light, view.pan_deg)
    big = view.scaled(OVERSAMPLE)
    out = sky(big, spec.light, look, spec.seed)
    _draw_ground(out, big, spec, look)
    for hills in sorted(spec.hills, key=lambda h: -h.range_m):
        draw_hills(out, big, hills, look, spec.seed)
    things: list[objects.Tree | objects.House] = [
        *objects.trees(big, spec.villages, spec.seed),
        *objects.houses(big, spec.villages, spec.seed),
    ]
    objects.draw(out, big, things, look)
    return _lens(f32(cv2.resize(out, (view.width, view.height), interpolation=cv2.INTER_AREA)), view)


def _draw_ground(out: F32, view: View, spec: SceneSpec, look: Air) -> None:
    """Sample the plain, finely just below the horizon where one row spans many fields."""
    first = max(0, math.ceil(view.horizon_px))
    steep = min(view.height, first + view.height // 8)
    for top, bottom, fine in ((first, steep, 4), (steep, view.height, 1)):
        if top >= bottom:
            continue
        rows = f32((np.arange((bottom - top) * fine) + 0.5) / fine + top)
        band = _ground_rows(view, spec, look, rows, f32(np.arange(view.width) + 0.5))
        out[top:bottom] = cv2.resize(band, (view.width, bottom - top), interpolation=cv2.INTER_AREA)


def _ground_rows(view: View, spec: SceneSpec, look: Air, rows: F32, columns: F32) -> F32:
    s, c = math.sin(math.radians(view.tilt_deg)), math.cos(math.radians(view.tilt_deg))
    v = (rows[:, None] - view.height / 2) / view.focal_px
    u = (columns[None, :] - view.width / 2) / view.focal_px
    reach = view.height_m / np.maximum(v * c - s, 1e-6)
    forward = (reach * (c + v * s) + 0 * u).astype(np.float32)
    right = (reach * u).astype(np.float32)
    pan = math.radians(view.pan_deg)
    east = right * np.float32(math.cos(pan)) + forward * np.float32(math.sin(pan))
    north = -right * np.float32(math.sin(pan)) + forward * np.float32(math.cos(pan))
    far = np.hypot(right, forward)
    footprint = np.minimum(far / view.focal_px * 2.0, 40).astype(np.float32)
    rgb = ground.colours(spec.seed, east, north, footprint) * np.array(look.tint, np.float32)
    clear = look.clearness(np.minimum(far, FARTHEST_M))[..., None]
    band: F32 = (rgb * clear + np.array(look.airlight, np.float32) * (1 - clear)).astype(np.float32)
    return band


def _lens(picture: F32, view: View) -> F32:
    """What a long zoom does to a picture: a little softness, then the camera's own sharpening; darker corners."""
    soft = cv2.GaussianBlur(picture, (0, 0), 0.7)
    sharp = soft + 0.5 * (soft - cv2.GaussianBlur(soft, (0, 0), 1.6))
    y, x = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
    off = ((x / view.width - 0.5) ** 2 + (y / view.height - 0.5) ** 2) * 2
    return f32(np.clip(sharp * (1 - 0.10 * off**1.5)[..., None], 0, 1))
