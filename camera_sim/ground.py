# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plain: regions of parcels, each with its crop, its paths and ditches, as functions of the place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from camera_sim.noise import F32, I64, f32, hashed, smooth, tile

REGION_M = 420.0
WOOD_PERIOD_M = 9000.0

# Colours (RGB, noon) and share of the parcels after the rice harvest of early autumn.
CROPS: tuple[tuple[str, float, tuple[float, float, float]], ...] = (
    ("stubble", 0.30, (0.57, 0.51, 0.38)),
    ("ripe rice", 0.17, (0.60, 0.54, 0.33)),
    ("late rice", 0.15, (0.44, 0.47, 0.29)),
    ("vegetables", 0.13, (0.33, 0.38, 0.26)),
    ("bare soil", 0.12, (0.46, 0.41, 0.34)),
    ("citrus", 0.13, (0.23, 0.29, 0.18)),
)
WOOD = (0.17, 0.24, 0.13)
VERGE = (0.36, 0.39, 0.23)
LANE = (0.66, 0.64, 0.59)
# Layers of mottling: period in metres, first octave, amount, and a turn that keeps their grids from showing.
MOTTLE = ((3100.0, 0, 0.07, 0.6), (2300.0, 4, 0.07, 1.1), (900.0, 5, 0.10, 2.6), (310.0, 6, 0.11, 0.25))


@dataclass(frozen=True)
class Regions:
    """Which region each place belongs to and how far its border is: a Voronoi partition of jittered seeds."""

    key_e: I64
    key_n: I64
    border_m: F32


def regions(seed: int, east: F32, north: F32) -> Regions:
    """The region of each place (metres east and north of the camera)."""
    ce, cn = np.floor(east / REGION_M).astype(np.int64), np.floor(north / REGION_M).astype(np.int64)
    first = np.full(east.shape, np.inf, np.float32)
    second = first.copy()
    key_e, key_n = ce.copy(), cn.copy()
    for de in (-1, 0, 1):
        for dn in (-1, 0, 1):
            ke, kn = ce + de, cn + dn
            pe = (ke + 0.15 + 0.7 * hashed(seed, ke, kn, 1)).astype(np.float32) * REGION_M
            pn = (kn + 0.15 + 0.7 * hashed(seed, ke, kn, 2)).astype(np.float32) * REGION_M
            d = np.hypot(east - pe, north - pn)
            near = d < first
            second = np.where(near, first, np.minimum(second, d))
            key_e, key_n = np.where(near, ke, key_e), np.where(near, kn, key_n)
            first = np.where(near, d, first)
    return Regions(key_e, key_n, ((second - first) / 2).astype(np.float32))


def wooded(seed: int, east: F32, north: F32) -> F32:
    """How much a place is woodland: above zero inside woods, in standard deviations of the terrain noise."""
    return smooth(tile(seed + 11, octaves=5), east, north, WOOD_PERIOD_M) - np.float32(1.25)


def colours(seed: int, east: F32, north: F32, footprint_m: F32) -> F32:
    """RGB at noon of the ground at each place, HxWx3 in 0..1.

    `footprint_m` is the size on the ground of a sample: detail finer than it is left out.
    """
    region = regions(seed, east, north)
    bend = smooth(tile(seed + 5), east, north, 900.0) * 3
    turn = hashed(seed, region.key_e, region.key_n, 3) * np.float32(np.pi)
    u = np.cos(turn) * east + np.sin(turn) * north + bend
    v = -np.sin(turn) * east + np.cos(turn) * north + bend
    width = 13 + 17 * hashed(seed, region.key_e, region.key_n, 4)
    row = np.floor(u / width)
    length = 32 + 60 * hashed(seed, region.key_e, region.key_n, 5)
    shifted = v + length * hashed(seed, region.key_e, region.key_n, row.astype(np.int64), 6)
    cell = np.floor(shifted / length)
    keys = (region.key_e, region.key_n, row.astype(np.int64), cell.astype(np.int64))
    out = _crop(seed, keys)
    out *= _texture(seed, east, north, u, keys, footprint_m)[..., None]
    edge = np.minimum(_to_edge(u, width), _to_edge(shifted, length))
    _blend(out, VERGE, _line(edge, 0.8, footprint_m) * 0.65)
    main = np.mod(row, 5) == 0
    _blend(out, LANE, _line(f32(np.where(main, np.mod(u, width), 99)), 1.2, footprint_m) * 0.6)
    _blend(out, LANE, _line(region.border_m, 1.6, footprint_m) * 0.7)
    _blend(out, WOOD, np.clip(wooded(seed, east, north) * 6, 0, 1) * 0.9)
    return out


def _crop(seed: int, keys: tuple[I64, ...]) -> F32:
    pick = hashed(seed, *keys, 7)
    shares = np.cumsum([share for _, share, _ in CROPS])
    table = np.array([rgb for _, _, rgb in CROPS], np.float32)
    out = table[np.clip(np.searchsorted(shares, pick), 0, len(CROPS) - 1)]
    tint = np.stack([hashed(seed, *keys, 8 + c) for c in range(3)], axis=-1)
    common = hashed(seed, *keys, 12)[..., None]
    result: F32 = (out * (0.86 + 0.22 * common + 0.05 * tint)).astype(np.float32)
    return result


def _texture(seed: int, east: F32, north: F32, u: F32, keys: tuple[I64, ...], footprint: F32) -> F32:
    """Mottling of several sizes and the rows of the harvester, each faded where a sample cannot show it."""
    out = np.ones_like(east)
    for period, first, amount, turn in MOTTLE:
        finest = period / (4 << first)
        seen = np.clip(2.2 - footprint / finest, 0.15, 1)
        c, s = math.cos(turn), math.sin(turn)
        field = tile(seed + 21 + first, octaves=min(4, 7 - first), first=first, gain=0.7)
        out += amount * seen * smooth(field, f32(c * east - s * north), f32(s * east + c * north), period)
    spacing = 2.2 + 2.5 * hashed(seed, *keys, 13)
    seen = np.clip(1.4 - footprint / spacing * 2, 0, 1)
    out += 0.05 * seen * np.sin(u * (2 * np.pi / spacing))
    clipped: F32 = np.clip(out, 0.5, 1.6).astype(np.float32)
    return clipped


def _to_edge(x: F32, period: F32) -> F32:
    m = np.mod(x, period)
    out: F32 = np.minimum(m, period - m)
    return out


def _line(distance: F32, half_width: float, footprint: F32) -> F32:
    """Share of a sample covered by a line whose middle is `distance` away."""
    blur = np.maximum(footprint, 0.3)
    cover = np.clip((half_width + blur / 2 - distance) / blur, 0, 1)
    out: F32 = np.minimum(cover, 2 * half_width / blur).astype(np.float32)
    return out


def _blend(out: F32, rgb: tuple[float, float, float], amount: F32) -> None:
    a = amount[..., None]
    out *= 1 - a
    out += a * np.array(rgb, np.float32)
