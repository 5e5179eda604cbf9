# SPDX-License-Identifier: AGPL-3.0-or-later
"""Straw smoke: puffs that leave the fire, rise, drift with the wind, widen and thin.

A fire burning m kg/s of dry straw gives the sensible heat Q = 0.4 * 15 MJ/kg * m and the smoke extinction
E = EF * MEE * m, with EF about 12 g/kg of fine particles (rice straw, Andreae 2019: 9.8 +- 5) and MEE about
4.5 m2/g in green light (fresh biomass smoke, Reid et al. 2005: 3.5 to 5). A puff of age a stands at the height
z = 1.6 F^(1/3) u^(-1/3) a^(2/3) (Briggs 1975, bent-over plume), with the buoyancy F = 8.8e-6 m4/s3 per watt times
Q, and has widened by entrainment to about 0.4 z. Wind grows with height by the 1/7 power. Puffs carry equal times of
burning; the sum of their optical depths along a line of sight dims what is behind by exp(-tau) (Beer-Lambert).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from camera_sim.geometry import View
from camera_sim.noise import F32, I64, U8, f32, hashed, tile, wander
from camera_sim.sky import Air
from camera_sim.spec import Burn, Wind

EXTINCTION_M2_PER_KG = 12 * 4.5
BUOYANCY_PER_KG = 8.8e-6 * 0.4 * 15e6
PUFF_EVERY_S = 0.22
LIFE_S = 100.0
FADE_S = 9.0
SPRITE = 96
SMOULDERS = 0.3
THICKEST = 0.8
VISIBLE_SHARE = 0.1
VISIBLE_PIXELS = 12
BROWN = np.array((0.80, 0.74, 0.66), np.float32)


@dataclass(frozen=True)
class Source:
    """A fire as the plume needs it: where (metres right and forward of the camera), when and how much.

    `start_s` and `stop_s` are scene times; after `stop_s` the plume thins away in about 20 s. Steam from a
    stack leaves `base_m` above the ground, is white (`whiteness` 1) and is gone after `life_s`.
    """

    right: float
    forward: float
    start_s: float
    stop_s: float
    growth: tuple[Burn, ...]
    seed: int
    base_m: float = 0.0
    life_s: float = LIFE_S
    whiteness: float = 0.0

    def burning(self, age_s: F32) -> F32:
        """Straw burnt per second at each age of the fire, kg/s; nothing before the ignition."""
        times = [b.t_s for b in self.growth]
        rates = [b.straw_kg_s for b in self.growth]
        out: F32 = np.where(age_s < 0, 0, np.interp(age_s, times, rates)).astype(np.float32)
        return out


@dataclass(frozen=True)
class Puffs:
    """The live puffs: pixel centre, pixel radius, optical depth at the middle, age, and hash key."""

    x: F32
    y: F32
    radius: F32
    tau: F32
    age: F32
    key: F32


def puffs(source: Source, wind: Wind, view: View, now_s: float) -> Puffs:
    """Where the smoke of one fire is at a scene time."""
    end = min(now_s, source.stop_s + FADE_S)
    first = max(0, math.ceil((now_s - source.life_s - source.start_s) / PUFF_EVERY_S))
    last = math.floor((end - source.start_s) / PUFF_EVERY_S)
    k = np.arange(first, last + 1, dtype=np.int64)
    born = f32(k * PUFF_EVERY_S)
    age = f32(now_s - source.start_s - k * PUFF_EVERY_S)
    dying = np.clip(1 - (born - (source.stop_s - source.start_s)) / FADE_S, 0, 1)
    rate = f32(source.burning(born) * dying * (0.75 + 0.5 * hashed(source.seed, k, 1)))
    # Part of the straw smoulders: its smoke creeps along the ground about the fire and is soon gone.
    creeps = hashed(source.seed, k, 8) < SMOULDERS * (1 - source.whiteness)
    right, forward, up = _flown(source, wind, view, k, age, born, rate, creeps)
    front = np.sqrt(np.maximum(rate, 0.02)) * 2.2
    radius = 0.9 + 0.5 * front + np.where(creeps, 0.9, 0.35) * np.sqrt(age) + 0.33 * up
    radius *= 0.75 + 0.5 * hashed(source.seed, k, 6)
    x, y, depth = view.project(right, forward, source.base_m + np.maximum(up + 0.5 * radius, 0))
    tau = 1.6 * EXTINCTION_M2_PER_KG * rate * PUFF_EVERY_S / (math.pi * radius**2)
    tau = tau / (1 + tau / THICKEST) * np.exp(-age / np.where(creeps, 12, 70))
    tau *= np.clip((source.life_s - age) / (0.3 * source.life_s), 0, 1)
    tau *= math.exp(-max(0.0, now_s - source.stop_s) / FADE_S)
    keep = (depth > 5) & (tau > 2e-4)
    size = radius * view.focal_px / np.maximum(depth, 5)
    return Puffs(*(f32(a)[keep] for a in (x, y, size, tau, age, hashed(source.seed, k, 7))))


def _flown(
    source: Source, wind: Wind, view: View, k: I64, age: F32, born: F32, rate: F32, creeps: npt.NDArray[np.bool_]
) -> tuple[F32, F32, F32]:
    """How far puffs have come: metres right and forward of the camera, and up."""
    u, seed = max(wind.speed_mps, 0.5), source.seed
    # Gusts and lulls bend the column to and fro; small eddies pull single puffs aside.
    gust = np.clip(1 + 0.22 * wander(seed + 1, born, 14) + 0.12 * wander(seed + 2, born, 4), 0.5, 2)
    lift = 1.6 * (BUOYANCY_PER_KG * np.maximum(rate, 0.05)) ** (1 / 3) * (u * gust) ** (-1 / 3)
    lift *= 1 + 0.16 * wander(seed + 3, born, 6) + 0.14 * (hashed(seed, k, 2) - 0.5)
    up = np.where(creeps, 0.2, 1) * lift * age ** (2 / 3)
    along = u * gust * (0.55 + 0.45 * np.minimum(np.maximum(up, 0.5) / 40, 2) ** (1 / 7)) * age
    along *= np.where(creeps, 0.45, 1)
    eddy = np.sqrt(age)
    swing = (0.66 * wander(seed + 4, born, 9) + 0.6 * (hashed(seed, k, 3) - 0.5)) * eddy * u**0.5
    up = up + (hashed(seed, k, 4) - 0.5) * eddy * np.where(creeps, 0.3, 1.6)
    spread = (hashed(seed, k, 5) - 0.5) * 4.4 * np.sqrt(np.maximum(rate, 0.02))
    towards = math.radians(wind.from_deg + 180 - view.pan_deg)
    right = source.right + along * math.sin(towards) + swing * math.cos(towards) + spread
    forward = source.forward + along * math.cos(towards) - swing * math.sin(towards)
    return f32(right), f32(forward), f32(up)


@lru_cache(maxsize=1)
def _sprites() -> list[F32]:
    """Ragged round clouds of optical depth, mean one over their disc."""
    y, x = np.mgrid[0:SPRITE, 0:SPRITE].astype(np.float32)
    d = np.hypot(x - SPRITE / 2 + 0.5, y - SPRITE / 2 + 0.5) / (SPRITE / 2)
    out = []
    for n in range(24):
        curl = tile(301 + n % 3, octaves=7, gain=0.62)
        at = (n * 37 % 400, n * 61 % 400)
        grain = curl[at[0] : at[0] + SPRITE, at[1] : at[1] + SPRITE]
        body = np.clip(1.15 - d + 0.20 * grain, 0, None) * np.clip((1 - d) * 4, 0, 1)
        body = body**1.6 * np.clip(1 + 0.5 * grain, 0.05, None)
        out.append((body / body.sum() * (math.pi * (SPRITE / 2) ** 2)).astype(np.float32))
    return out


@dataclass(frozen=True)
class Depth:
    """Optical depth of smoke in part of the picture, and the share of it that is thick young smoke."""

    x0: int
    y0: int
    tau: F32
    young: F32


def optical_depth(cloud: Puffs, view: View) -> Depth | None:
    """Sum the puffs into a map over the part of the picture they touch; None when that is empty."""
    if cloud.x.size == 0:
        return None
    reach = cloud.radius + 2
    x0, y0 = max(0, int((cloud.x - reach).min())), max(0, int((cloud.y - reach).min()))
    x1 = min(view.width, int((cloud.x + reach).max()) + 2)
    y1 = min(view.height, int((cloud.y + reach).max()) + 2)
    if x0 >= x1 or y0 >= y1:
        return None
    shape = (y1 - y0, x1 - x0)
    total = f32(np.zeros((*shape, 2)))
    # Wide puffs have no fine detail: they are summed on coarser grids.
    for step, least, most in ((1, 0.0, 12.0), (2, 12.0, 30.0), (4, 30.0, math.inf)):
        chosen = (cloud.radius >= least) & (cloud.radius < most)
        if chosen.any():
            part = _summed(cloud, chosen, (x0, y0), (-(-shape[0] // step), -(-shape[1] // step)), step)
            if step > 1:
                size = (part.shape[1] * step, part.shape[0] * step)
                part = f32(cv2.resize(part, size))[: shape[0], : shape[1]]
            total += part
    return Depth(x0, y0, total[..., 0], total[..., 1])


def _summed(
    cloud: Puffs, chosen: npt.NDArray[np.bool_], origin: tuple[int, int], shape: tuple[int, int], step: int
) -> F32:
    """Optical depth, whole and young, of the chosen puffs on a grid of `step` pixels."""
    out = f32(np.zeros((*shape, 2)))
    sprites = _sprites()
    x, y, r = ((a[chosen] / step).tolist() for a in (cloud.x - origin[0], cloud.y - origin[1], cloud.radius))
    tau, youth = cloud.tau[chosen], np.exp(-cloud.age[chosen] / 12)
    picks = (cloud.key[chosen] * len(sprites)).astype(int).tolist()
    amounts = np.stack([tau, tau * youth], axis=1)
    for n, pick in enumerate(picks):
        _stamp(out, sprites[pick], x[n], y[n], r[n], amounts[n])
    return out


def _stamp(out: F32, sprite: F32, x: float, y: float, r: float, amounts: F32) -> None:
    """Add one puff, keeping its whole optical mass however small it is."""
    size = max(3, math.ceil(2 * r) + 1)
    left, top = math.floor(x - size / 2), math.floor(y - size / 2)
    ax, ay = max(0, left), max(0, top)
    bx, by = min(out.shape[1], left + size), min(out.shape[0], top + size)
    if ax >= bx or ay >= by:
        return
    drawn = max(r, 0.7)
    if size <= 7:
        part = _dot(size, x - left - size / 2, y - top - size / 2, drawn)
    else:
        zoom = 2 * drawn / SPRITE
        shift = zoom / 2 - 0.5 - drawn
        move = np.array([[zoom, 0, x - left + shift], [0, zoom, y - top + shift]], np.float32)
        part = f32(cv2.warpAffine(sprite, move, (size, size)))
    out[ay:by, ax:bx] += part[ay - top : by - top, ax - left : bx - left, None] * (amounts * (r / drawn) ** 2)


def _dot(size: int, dx: float, dy: float, r: float) -> F32:
    axis = np.arange(size, dtype=np.float32) - (size - 1) / 2
    gx, gy = (np.exp(-(((axis - d) / (0.6 * r)) ** 2)) for d in (dx, dy))
    out: F32 = np.outer(gy, gx).astype(np.float32)
    return out


def draw(picture: U8, source: Source, wind: Wind, view: View, look: Air, now_s: float, range_m: float) -> None:
    """Draw one fire's smoke into a BGR picture, in place."""
    depth = optical_depth(puffs(source, wind, view, now_s), view)
    if depth is not None:
        _paint(picture, depth, look, range_m, source.whiteness)


def _paint(picture: U8, depth: Depth, look: Air, range_m: float, whiteness: float) -> None:
    """Lay smoke over a picture: lit from above and the sun's side, brownish where thick and young, paler with
    the air between it and the camera."""
    h, w = depth.tau.shape
    tau = depth.tau
    soft = cv2.GaussianBlur(tau, (0, 0), max(1.0, min(h, w) * 0.03))
    toward = cv2.warpAffine(
        soft, np.array([[1, 0, -3 * look.sun_right], [0, 1, 3]], np.float32), (w, h), borderMode=cv2.BORDER_REPLICATE
    )
    lit = np.clip(1.06 - 0.16 * toward + 0.25 * np.tanh((soft - toward) * 1.2), 0.55, 1.12)
    share = np.clip(depth.young / np.maximum(tau, 1e-4), 0, 1) * np.clip(tau / 2.5, 0, 1) * (1 - whiteness)
    smoke = np.array(look.smoke, np.float32) * (1 + 0.1 * whiteness)
    rgb = smoke * lit[..., None] * (1 - share[..., None] * (1 - BROWN))
    clear = float(look.clearness(range_m))
    bgr = 255 * (rgb * clear + np.array(look.airlight, np.float32) * (1 - clear))[..., ::-1]
    through = np.exp(-tau)[..., None]
    window = picture[depth.y0 : depth.y0 + h, depth.x0 : depth.x0 + w]
    window[:] = np.clip(window * through + bgr * (1 - through), 0, 255).astype(np.uint8)


def visible(depth: Depth | None, clearness: float) -> bool:
    """Whether a sharp-eyed person would see the smoke: enough pixels of which smoke, seen
    through the air before it, makes up enough."""
    return visible_box(depth, clearness) is not None


def visible_box(depth: Depth | None, clearness: float) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom, in pixels, of what such a person would see; None where that is nothing."""
    if depth is None:
        return None
    rows, columns = np.nonzero((1 - np.exp(-depth.tau)) * clearness > VISIBLE_SHARE)
    if rows.size < VISIBLE_PIXELS:
        return None
    left, top = depth.x0 + int(columns.min()), depth.y0 + int(rows.min())
    return left, top, depth.x0 + int(columns.max()) + 1, depth.y0 + int(rows.max()) + 1
