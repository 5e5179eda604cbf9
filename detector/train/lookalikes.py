# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is not smoke and fools a detector: each function changes a picture and adds no box.

All take `(image, scene, rng)`: BGR uint8 of any size, the scene's light and skyline, a generator; and
return a new picture.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.train.noise import Field, fractal, smoothstep, warp
from detector.train.scene import Scene

Image = NDArray[np.uint8]


def _blend(image: Image, alpha: Field, colour: NDArray[np.float32]) -> Image:
    """Lay `colour` (BGR 0..1) over the picture with opacity `alpha`."""
    mixed = image * (1 - alpha[..., None]) + colour * 255 * alpha[..., None]
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def _pale(scene: Scene, rng: np.random.Generator, low: float = 0.85, high: float = 1.1) -> NDArray[np.float32]:
    """The colour of water droplets under this sky: neutral, a little cooler or warmer than the sky."""
    grey = np.full(3, scene.light.ambient, np.float32)
    return np.asarray(np.clip((0.5 * grey + 0.5 * scene.light.sky) * rng.uniform(low, high), 0, 1), np.float32)


def fog_bank(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Fog lying in a valley or along a slope: wide, layered, soft above, following the ground."""
    rows, columns = image.shape[:2]
    line = scene.skyline.astype(np.float32) + rng.uniform(0.02, 0.3) * rows
    line += fractal(rng, (1, columns), columns * 0.4, 3)[0] * rows * rng.uniform(0.01, 0.05)
    height = rows * rng.uniform(0.02, 0.10)
    distance = (np.arange(rows, dtype=np.float32)[:, None] - line[None, :]) / height
    body = np.exp(-np.where(distance < 0, distance**2 * 1.2, distance**2 * 0.4))
    noise = fractal(rng, (rows, columns), rows * 0.25, 5, stretch=rng.uniform(2, 5))
    noise = warp(
        noise, fractal(rng, (rows, columns), rows * 0.2, 3) * 8, fractal(rng, (rows, columns), rows * 0.2, 3) * 4
    )
    alpha = np.clip(body * smoothstep(-1.2, 1.6, noise + 0.3 * fractal(rng, (rows, columns), 20, 4)), 0, 1)
    span = fractal(rng, (1, columns), columns * 0.5, 2)[0]
    alpha = alpha * smoothstep(-0.8, 0.6, np.broadcast_to(span, alpha.shape).astype(np.float32))
    return _blend(image, np.asarray(alpha * rng.uniform(0.4, 0.97), np.float32), _pale(scene, rng))


def low_cloud(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Cloud hanging on the hills: ragged shreds drifting over slope and skyline, sometimes the whole top hidden."""
    rows, columns = image.shape[:2]
    centre = scene.skyline.astype(np.float32) + rng.uniform(-0.12, 0.15) * rows
    height = rows * rng.uniform(0.05, 0.22)
    distance = (np.arange(rows, dtype=np.float32)[:, None] - centre[None, :]) / height
    body = np.exp(-(distance**2))
    cell = rows * rng.uniform(0.12, 0.4)
    noise = fractal(rng, (rows, columns), cell, 6, stretch=rng.uniform(1.2, 3))
    shift = fractal(rng, (rows, columns), cell, 4) * np.float32(cell * 0.15)
    noise = warp(noise, shift, shift[::-1].copy())
    alpha = body * smoothstep(rng.uniform(-0.8, 0.6), 2.0, noise)
    return _blend(image, np.asarray(alpha * rng.uniform(0.5, 1.0), np.float32), _pale(scene, rng, 0.8))


def mist_patches(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Small separate shreds of mist on a slope: the hardest look-alike; flat, without a source or a trunk."""
    rows, columns = image.shape[:2]
    alpha = np.zeros((rows, columns), np.float32)
    texture = fractal(rng, (rows, columns), rows * 0.08, 5, stretch=2.5)
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    for _ in range(int(rng.integers(3, 9))):
        cx = rng.uniform(0, columns)
        cy = scene.skyline[int(cx)] + rng.uniform(0.01, 0.25) * rows
        wide, high = columns * rng.uniform(0.04, 0.18), rows * rng.uniform(0.008, 0.03)
        tilt = rng.uniform(-0.15, 0.15)
        away = ((grid_x - cx) / wide) ** 2 + ((grid_y - cy - tilt * (grid_x - cx)) / high) ** 2
        alpha += np.exp(-away) * rng.uniform(0.3, 0.9)
    alpha = np.clip(alpha * smoothstep(-1.5, 1.2, texture), 0, 0.95)
    return _blend(image, np.asarray(alpha, np.float32), _pale(scene, rng))


def steam(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Steam at a visible stack: dazzling white, gone within a few stack heights, because it evaporates."""
    rows, columns = image.shape[:2]
    out = image.copy()
    x = int(rng.uniform(0.1, 0.9) * columns)
    foot = int(min(scene.skyline[x] + rng.uniform(0.02, 0.2) * rows, rows - 2))
    tall = int(rows * rng.uniform(0.04, 0.10))
    wide = max(2, tall // int(rng.integers(6, 11)))
    shade = float(np.clip(scene.light.ambient * rng.uniform(0.35, 0.8), 0.1, 0.9)) * 255
    cv2.rectangle(out, (x, foot - tall), (x + wide, foot), (shade * 1.02, shade, shade), -1)
    cv2.rectangle(out, (x, foot - tall), (x + wide, foot - tall + max(1, tall // 12)), (60, 60, shade), -1)
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    up = (foot - tall - grid_y) / tall
    lean = rng.uniform(-1.2, 1.2)
    centre = x + wide / 2 + lean * np.clip(up, 0, None) * tall
    spread = wide * 0.6 + np.clip(up, 0, None) * tall * 0.22
    alpha = np.exp(-(((grid_x - centre) / spread) ** 2)) * smoothstep(-0.02, 0.05, up) * (1 - smoothstep(0.3, 1.2, up))
    alpha = alpha * smoothstep(-1.8, 0.6, fractal(rng, (rows, columns), max(wide * 3, 5), 4))
    return _blend(out, np.asarray(np.clip(alpha, 0, 1), np.float32), np.asarray([0.98, 0.98, 0.97], np.float32))


def dust(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Dust behind a tractor: the soil's colour, long, low, hugging the ground, a dark dot at its head."""
    rows, columns = image.shape[:2]
    x = rng.uniform(0.15, 0.85) * columns
    y = min(scene.skyline[int(x)] + rng.uniform(0.08, 0.4) * rows, rows - 8)
    way = rng.choice([-1, 1])
    size = rows * rng.uniform(0.006, 0.016)
    length = size * rng.uniform(6, 16)
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    behind = (grid_x - x) * way / length
    thick = size * (0.4 + 1.3 * np.clip(behind, 0, 1))
    alpha = (
        np.exp(-(((grid_y - (y - thick * 0.6)) / thick) ** 2))
        * smoothstep(0, 0.06, behind)
        * (1 - smoothstep(0.3, 1, behind))
    )
    alpha = alpha * smoothstep(-2, 0.7, fractal(rng, (rows, columns), max(size * 2, 4), 4)) * rng.uniform(0.3, 0.75)
    soil = np.asarray([0.45, 0.58, 0.68], np.float32) * np.float32(scene.light.ambient * rng.uniform(0.8, 1.1))
    out = _blend(image, np.asarray(np.clip(alpha, 0, 1), np.float32), soil)
    half = max(int(size * 0.5), 1)
    cv2.rectangle(out, (int(x) - half, int(y) - 2 * half), (int(x) + half, int(y)), (35, 45, 60), -1)
    return out


def glare(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """The sun in or beside the view: veil, streaks and a chain of lens ghosts."""
    rows, columns = image.shape[:2]
    sx, sy = rng.uniform(-0.1, 1.1) * columns, rng.uniform(-0.15, 0.35) * rows
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    away = np.hypot(grid_x - sx, grid_y - sy) / columns
    light = np.exp(-away / rng.uniform(0.06, 0.25)) * rng.uniform(0.6, 1.3) + rng.uniform(0.03, 0.2) * np.exp(-away)
    angle = np.arctan2(grid_y - sy, grid_x - sx)
    light = light * (1 + 0.25 * np.cos(angle * int(rng.integers(4, 14)) + rng.uniform(0, 6)) ** 8)
    colour = np.asarray([rng.uniform(0.75, 0.95), rng.uniform(0.88, 0.98), 1.0], np.float32)
    out = image / 255 + light[..., None] * colour * (1 - image / 255 * 0.6)
    for _ in range(int(rng.integers(0, 5))):
        t, radius = rng.uniform(0.3, 1.8), rng.uniform(0.008, 0.05)
        gx, gy = sx + (columns / 2 - sx) * t, sy + (rows / 2 - sy) * t
        disc = 1 - smoothstep(
            radius * 0.7, radius, np.asarray(np.hypot(grid_x - gx, grid_y - gy) / columns, np.float32)
        )
        out = out + disc[..., None] * rng.uniform(0.02, 0.12) * rng.uniform(0.3, 1, 3)
    return np.asarray(np.clip(out * 255, 0, 255), np.uint8)


def drops(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Rain drops on the glass, some smeared by the wind: out of focus, each an upside-down blur of the scene."""
    rows, columns = image.shape[:2]
    out = image.astype(np.float32)
    blurred = cv2.GaussianBlur(image, (0, 0), rows / 25)[::-1].astype(np.float32)
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    for _ in range(int(rng.integers(3, 25))):
        radius = rows * np.exp(rng.uniform(np.log(0.008), np.log(0.06)))
        cx, cy = rng.uniform(0, columns), rng.uniform(0, rows)
        turn = rng.uniform(0, np.pi)
        along = (grid_x - cx) * np.cos(turn) + (grid_y - cy) * np.sin(turn)
        across = (grid_y - cy) * np.cos(turn) - (grid_x - cx) * np.sin(turn)
        away = np.hypot(along, across * rng.uniform(1, 1.3 if rng.random() < 0.7 else 4)) / radius
        alpha = (1 - smoothstep(0.6, 1.1, np.asarray(away, np.float32)))[..., None] * rng.uniform(0.4, 0.95)
        out = out * (1 - alpha) + (blurred * rng.uniform(0.6, 0.95) + 18) * alpha
    return np.asarray(np.clip(out, 0, 255), np.uint8)


def lit_glass(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Drops and dirt on a housing in the sun: pale blobs of any outline, bright towards the sun; some have run down."""
    rows, columns = image.shape[:2]
    out = image.astype(np.float32) / 255
    sun = np.asarray([rng.uniform(-0.2, 1.2) * columns, rng.uniform(-0.3, 0.4) * rows], np.float32)
    colour = np.asarray([rng.uniform(0.75, 1.0), rng.uniform(0.88, 1.0), 1.0], np.float32)
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    ragged = fractal(rng, (rows, columns), rows * rng.uniform(0.02, 0.08), 3)
    for _ in range(int(rng.integers(1, 16))):
        radius = rows * np.exp(rng.uniform(np.log(0.008), np.log(0.08)))
        cx, cy = rng.uniform(0, columns), rng.uniform(0, rows)
        run = rng.uniform(1.5, 5) if rng.random() < 0.25 else rng.uniform(0.7, 1.3)  # some have run down
        away = np.hypot(grid_x - cx, (grid_y - cy) / run) / radius + rng.uniform(0, 0.25) * ragged
        soft = rng.uniform(0.1, 0.7)
        toward = (sun - (cx, cy)) / (float(np.hypot(sun[0] - cx, sun[1] - cy)) + 1)
        lit = 0.75 + 0.25 * np.tanh(((grid_x - cx) * toward[0] + (grid_y - cy) * toward[1]) / radius)
        alpha = (1 - smoothstep(1 - soft, 1 + soft / 2, away)) * lit * rng.uniform(0.1, 0.75)
        out = out + alpha[..., None] * (colour * rng.uniform(0.7, 1.0) - out)
    near = np.hypot(grid_x - sun[0], grid_y - sun[1]) / columns
    veiled = out + (np.exp(-near / rng.uniform(0.1, 0.5)) * rng.uniform(0, 0.7))[..., None] * colour * (1 - out)
    return np.asarray(np.clip(veiled * 255, 0, 255), np.uint8)


def flare(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Light from a sun outside the view: soft pale patches, shafts and arcs with no edge, often at the frame's side."""
    rows, columns = image.shape[:2]
    out = image.astype(np.float32) / 255
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    for _ in range(int(rng.integers(1, 5))):
        side = rng.random() < 0.6
        cx = (rng.choice([rng.uniform(-0.05, 0.12), rng.uniform(0.88, 1.05)]) if side else rng.uniform(0, 1)) * columns
        cy = rng.uniform(0.05, 0.85) * rows
        long, wide = rows * rng.uniform(0.06, 0.5), rows * rng.uniform(0.02, 0.12)
        turn = rng.uniform(-0.7, 0.7)
        bend = rng.uniform(-0.5, 0.5) / long
        up = (grid_y - cy) * np.cos(turn) - (grid_x - cx) * np.sin(turn)
        across = (grid_x - cx) * np.cos(turn) + (grid_y - cy) * np.sin(turn) + bend * up**2
        alpha = np.exp(-((up / long) ** 2) - np.abs(across / wide) ** rng.uniform(1.2, 3)) * rng.uniform(0.08, 0.6)
        warm = np.asarray([rng.uniform(0.6, 1.0), rng.uniform(0.8, 1.0), 1.0], np.float32)
        out = out + alpha[..., None] * warm * (1 - out * rng.uniform(0.4, 1.0))
    return np.asarray(np.clip(out * 255, 0, 255), np.uint8)


def fog_sea(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Fog that fills the low land up to one height, its top in billows, with what stands higher looking out."""
    rows, columns = image.shape[:2]
    level = scene.skyline.astype(np.float32).mean() + rng.uniform(-0.01, 0.15) * rows
    foot = level + rng.uniform(0.05, 0.4) * rows
    grid_y = np.arange(rows, dtype=np.float32)[:, None]
    land = fractal(rng, (1, columns), columns * 0.3, 4)[0] * rows * rng.uniform(0.01, 0.05)
    cell = rows * rng.uniform(0.03, 0.12)
    billows = fractal(rng, (rows, columns), cell, 5, stretch=rng.uniform(2, 6))
    top = level + billows * cell * rng.uniform(0.1, 0.5)
    bottom = foot + land + billows * cell * 0.5
    soft = rows * rng.uniform(0.004, 0.03)
    line = cv2.blur(scene.skyline[None, :].astype(np.float32), (columns // 8 | 1, 1))
    below_sky = smoothstep(-2, 4, grid_y - line)
    alpha = smoothstep(-soft, soft, grid_y - top) * (1 - smoothstep(-3 * soft, 3 * soft, grid_y - bottom)) * below_sky
    shade = 1 + rng.uniform(0.02, 0.12) * np.clip(billows, -2, 2)
    colour = _pale(scene, rng, 0.8)[None, None, :] * shade[..., None]
    return _blend(image, np.asarray(alpha * rng.uniform(0.5, 1.0), np.float32), np.asarray(colour, np.float32))


def dusk_lights(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Head and tail lights, mostly at dusk: a dark blue scene with blooming points, or a dull day."""
    rows, columns = image.shape[:2]
    dusk = np.asarray([rng.uniform(0.3, 0.5), rng.uniform(0.22, 0.36), 0.24], np.float32)
    dark = image.astype(np.float32) / 255 * (dusk if rng.random() < 0.7 else rng.uniform(0.6, 1.0))
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    for _ in range(int(rng.integers(1, 8))):
        x = rng.uniform(0, columns)
        y = min(scene.skyline[min(int(x), columns - 1)] + rng.uniform(0.03, 0.4) * rows, rows - 1)
        bloom = rows * rng.uniform(0.004, 0.02)
        gap = bloom * rng.uniform(0.8, 2)
        red = rng.random() < 0.35
        colour = np.asarray([rng.uniform(0.4, 1), rng.uniform(0.75, 1), 1] if not red else [0.1, 0.15, 1], np.float32)
        for side in (-gap, gap):
            near = np.hypot(grid_x - x - side, grid_y - y) / bloom
            dark = dark + (np.exp(-(near**2)) + 0.25 * np.exp(-near / 3))[..., None] * colour
    noisy = dark * 255 + rng.normal(0, rng.uniform(1, 5), image.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def veil(image: Image, scene: Scene, rng: np.random.Generator) -> Image:
    """Even haze, thicker with distance: everything near the skyline pales, nothing has a source."""
    rows = image.shape[0]
    depth = (np.arange(rows, dtype=np.float32)[:, None] - scene.skyline[None, :]) / rows
    far = np.exp(-np.clip(depth, 0, None) / rng.uniform(0.05, 0.3))
    alpha = np.where(depth < 0, np.exp(6 * np.minimum(depth, 0)), far) * rng.uniform(0.3, 0.9)
    return _blend(image, np.asarray(alpha, np.float32), _pale(scene, rng, 0.9))


LOOKALIKES: dict[str, Callable[[Image, Scene, np.random.Generator], Image]] = {
    "fog bank": fog_bank,
    "low cloud": low_cloud,
    "mist patches": mist_patches,
    "steam": steam,
    "dust": dust,
    "glare": glare,
    "drops": drops,
    "lit glass": lit_glass,
    "flare": flare,
    "fog sea": fog_sea,
    "dusk lights": dusk_lights,
    "veil": veil,
}
