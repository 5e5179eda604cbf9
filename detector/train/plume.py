# SPDX-License-Identifier: AGPL-3.0-or-later
"""A smoke plume from a straw fire as a camera sees it: optical depth over time, then light.

The plume is a train of puffs. A puff rises as Briggs' bent-over plume does (height ~ F^(1/3) u^(-1/3) t^(2/3)),
is carried by a wind that grows with height, widens by entrainment in proportion to its rise, wanders with
smooth eddies, and keeps its smoke, so that its optical depth thins as it spreads. Everything is a function of
the seed and the time, so frames of one plume follow each other.
Sources: Briggs (1969, 1984) for the rise and the entrainment constant 0.6; Beer-Lambert for the opacity.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.train.noise import Field, fractal, smoothstep, warp

PUFFS = 260
ENTRAINMENT = 0.6


@dataclass(frozen=True, slots=True)
class Fire:
    """What burns and in which air. Metres, seconds; `wind` is at 10 m, positive to the right."""

    buoyancy: float  # flux F, m^4/s^3: 3 for a smouldering heap, 100 for a flaming field
    wind: float
    shear: float  # exponent of the wind profile, 0.1 over water to 0.35 over woods
    inversion: float  # height at which the smoke spreads instead of rising
    width: float  # of the burning line, across the view
    density: float  # optical depth the smoke has one metre wide at unit emission; sets thin or thick
    age: float  # seconds since ignition
    brown: float  # 0 white straw smoke, 1 brown (dense, flaming, poor air)
    albedo: float  # 1 sunlit white; 0.4 seen from its shaded side, dark against a bright sky
    seed: int


def random_fire(rng: np.random.Generator) -> Fire:
    """A plausible straw fire: mostly small and young, thin more often than thick."""
    calm = rng.random() < 0.3
    speed = rng.uniform(0.2, 1.0) if calm else rng.uniform(1.0, 6.0)
    return Fire(
        buoyancy=float(np.exp(rng.uniform(np.log(4), np.log(300)))),
        wind=float(speed * rng.choice([-1, 1]) * rng.uniform(0.35, 1.0)),
        shear=float(rng.uniform(0.1, 0.35)),
        inversion=float(np.exp(rng.uniform(np.log(35), np.log(500)))),
        width=float(np.exp(rng.uniform(np.log(2), np.log(40)))),
        density=float(np.exp(rng.uniform(np.log(0.5), np.log(7.0)))),
        age=float(np.exp(rng.uniform(np.log(25), np.log(400)))),
        brown=float(rng.random() ** 3),
        albedo=float(rng.uniform(0.8, 1.1) if rng.random() < 0.55 else rng.uniform(0.35, 0.8)),
        seed=int(rng.integers(2**31)),
    )


def _eddies(rng: np.random.Generator, count: int, ages: Field, births: Field) -> tuple[Field, Field]:
    """Smooth wandering, in units of the puff's radius: shared gusts plus each puff's own turns."""
    gust = np.zeros_like(ages), np.zeros_like(ages)
    for axis in range(2):
        for _ in range(4):
            period, phase = rng.uniform(15, 90), rng.uniform(0, 2 * np.pi)
            gust[axis][:] += np.sin(2 * np.pi * births / period + phase).astype(np.float32) * 0.35
        own_phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
        own_rate = rng.uniform(0.02, 0.10, count).astype(np.float32)
        gust[axis][:] += np.sin(ages * own_rate * 2 * np.pi + own_phase) * 0.25
        gust[axis][:] += rng.normal(0, 0.45, count).astype(np.float32)
    return gust


@dataclass(frozen=True, slots=True)
class Puffs:
    """Positions in metres (x to the right, z up from the fire), radius in metres, optical mass in m^2."""

    x: Field
    z: Field
    radius: Field
    mass: Field


def puffs(fire: Fire, after: float = 0.0) -> Puffs:
    """The plume's puffs `after` seconds from the fire's own age."""
    rng = np.random.default_rng(fire.seed)
    now = fire.age + after
    life = max(fire.age * 1.5, 60.0)  # older puffs are too thin to see
    births = np.linspace(0, 1, PUFFS, dtype=np.float32) * life + np.float32(fire.age - life)
    births += rng.uniform(-0.5, 0.5, PUFFS).astype(np.float32) * np.float32(life / PUFFS)
    cycles = np.floor((now - births) / life) if after else np.zeros(PUFFS)
    births = (births + np.maximum(cycles, 0) * life).astype(np.float32)  # a spent puff is emitted again
    ages = np.clip(now - births, 0.5, None).astype(np.float32)
    speed = max(abs(fire.wind), 0.25)
    free = 1.6 * (fire.buoyancy / speed) ** (1 / 3) * ages ** np.float32(2 / 3)
    rise = fire.inversion * np.tanh(free / fire.inversion)
    carried = fire.wind * (np.maximum(rise * 0.7, 2.0) / 10.0) ** fire.shear * ages
    radius = 0.35 * np.sqrt(fire.width) + 0.45 * ENTRAINMENT * free
    wander_x, wander_z = _eddies(rng, PUFFS, ages, births)
    start = rng.uniform(-0.5, 0.5, PUFFS).astype(np.float32) * np.float32(fire.width)
    emitted = np.clip(1 + 0.5 * np.sin(births / rng.uniform(6, 30) + rng.uniform(0, 6)), 0.1, None)
    grown = np.clip(births / max(fire.age * 0.3, 5.0), 0, 1)  # the fire takes time to take hold
    burning = (births >= 0) & (births <= now)
    mass = fire.density * (life / PUFFS) * np.sqrt(fire.buoyancy) * (1.5 + speed) * emitted * grown * burning
    return Puffs(
        x=np.asarray(start + carried + wander_x * radius, np.float32),
        z=np.asarray(np.maximum(rise + wander_z * radius * 0.8, 0.3 * radius), np.float32),
        radius=np.asarray(radius * rng.uniform(0.35, 0.8, PUFFS), np.float32),
        mass=np.asarray(mass, np.float32),
    )


def optical_depth(
    fire: Fire, metres_per_pixel: float, canvas: tuple[int, int], base: tuple[float, float], after: float = 0.0
) -> Field:
    """Optical depth per pixel, shape `canvas` (rows, columns), of a plume whose fire burns at `base` (x, y)."""
    rows, columns = canvas
    cloud = puffs(fire, after)
    depth = np.zeros(canvas, np.float32)
    scale = np.float32(1 / metres_per_pixel)
    column, row = base[0] + cloud.x * scale, base[1] - cloud.z * scale
    sigma = np.maximum(cloud.radius * scale * np.float32(0.75), np.float32(0.6))
    for cx, cy, s, mass in zip(column, row, sigma, cloud.mass, strict=True):
        reach = 3 * s
        left, right = max(int(cx - reach), 0), min(int(cx + reach) + 1, columns)
        top, bottom = max(int(cy - reach), 0), min(int(cy + reach) + 1, rows)
        if mass <= 0 or left >= right or top >= bottom:
            continue
        gx = np.exp(-0.5 * ((np.arange(left, right) - cx) / s) ** 2)
        gy = np.exp(-0.5 * ((np.arange(top, bottom) - cy) / s) ** 2)
        weight = mass * scale * scale / (2 * np.pi * s * s)
        depth[top:bottom, left:right] += (weight * gy[:, None] * gx[None, :]).astype(np.float32)
    return _turbulence(fire, depth, float(np.median(sigma)))


def _turbulence(fire: Fire, depth: Field, size: float) -> Field:
    """Tear the smooth sum into billows: displace it by noise and modulate it, eddies as large as a puff."""
    if size < 1.2:
        return depth
    rng = np.random.default_rng(fire.seed + 1)
    cell = max(size * 2.2, 3.0)
    dx, dy = fractal(rng, depth.shape, cell, 4), fractal(rng, depth.shape, cell, 4)
    torn = warp(depth, dx * np.float32(size * 0.5), dy * np.float32(size * 0.5))
    texture = warp(fractal(rng, depth.shape, cell * 1.3, 5), dy * np.float32(size), dx * np.float32(size))
    return np.asarray(torn * np.exp(0.32 * texture - 0.05), np.float32)


@dataclass(frozen=True, slots=True)
class Light:
    """The scene's light, BGR in 0..1: `sky` near the horizon, `sun` 0 overcast to 1 clear, its direction in the
    picture (unit x, y) and the share of a far object's light that haze lets through at this distance."""

    sky: NDArray[np.float32]
    ambient: float
    sun: float
    sun_x: float
    sun_y: float
    through_haze: float


def lay(image: NDArray[np.uint8], depth: Field, light: Light, fire: Fire) -> NDArray[np.uint8]:
    """`image` (BGR) seen through smoke of `depth`: Beer-Lambert, lit smoke, and the haze in front of both.

    The haze between camera and smoke is not hidden by the smoke: only the light from behind it is.
    """
    picture = image.astype(np.float32) / 255
    extinction = np.array([1.12, 1.0, 0.9], np.float32)  # fine particles take more of the blue
    through = np.exp(-depth[..., None] * extinction)
    shifted = np.asarray(cv2.GaussianBlur(depth, (0, 0), max(depth.shape[1] / 200, 1.0)), np.float32)
    step = max(depth.shape[1] / 150, 1.0)
    ones = np.ones_like(depth)
    toward = warp(shifted, ones * np.float32(light.sun_x * step * 2), ones * np.float32(light.sun_y * step * 2))
    lit = np.exp(-0.5 * np.clip(toward, 0, 6))  # thick smoke between here and the sun darkens
    grey = light.sky / max(float(light.sky.mean()), 1e-3)
    white = 0.75 * np.ones(3, np.float32) + 0.25 * grey
    tan = np.array([0.55, 0.72, 0.86], np.float32)
    dense = smoothstep(0.5, 3.0, depth)[..., None] * np.float32(fire.brown)
    colour = white * (1 - dense) + tan * white * dense
    shade = light.ambient * (1 - 0.25 * light.sun) + light.ambient * light.sun * 0.55 * lit
    smoke = np.clip(colour * shade[..., None] * np.float32(fire.albedo), 0, 1)
    airlight = light.sky * np.float32(1 - light.through_haze)
    behind = np.clip(picture - airlight, 0, None)
    front = np.minimum(picture, airlight)
    seen = front + behind * through + np.float32(light.through_haze) * smoke * (1 - through)
    # where the picture is darker than the haze should allow, trust the picture: keep smoke bright enough
    seen += (airlight - front) * (1 - through)
    return np.asarray(np.clip(seen * 255 + 0.5, 0, 255), np.uint8)
