# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands on the plain: trees along borders and in woods, and the houses of villages, drawn far to near."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from camera_sim import ground
from camera_sim.geometry import View
from camera_sim.noise import F32, f32, hashed, smooth, tile
from camera_sim.sky import Air
from camera_sim.spec import Village

TREE_GRID_M = 13.0
TREE_REACH_M = 5200.0
SPRITE = 96
WALLS = ((0.84, 0.83, 0.80), (0.78, 0.74, 0.67), (0.70, 0.69, 0.67), (0.80, 0.74, 0.71), (0.88, 0.88, 0.86))
ROOFS = ((0.29, 0.29, 0.31), (0.35, 0.33, 0.33), (0.45, 0.27, 0.22), (0.26, 0.35, 0.47), (0.40, 0.39, 0.38))


@dataclass(frozen=True)
class Tree:
    """A tree or clump at metres right and forward of the camera, with its height and picture."""

    right: float
    forward: float
    height_m: float
    kind: int
    shade: float


@dataclass(frozen=True)
class House:
    """A house: centre, half sizes and height in metres, turned by an angle (radians), with its colours."""

    right: float
    forward: float
    half_w: float
    half_d: float
    height_m: float
    turn: float
    wall: tuple[float, float, float]
    roof: tuple[float, float, float]
    lit: bool


def trees(view: View, villages: tuple[Village, ...], seed: int) -> list[Tree]:
    """The trees in view: in woods, in villages, along some borders of regions, and a few alone."""
    half = math.radians(view.hfov_deg / 2) * 1.05 + 0.01
    reach = TREE_REACH_M
    pan = math.radians(view.pan_deg)
    edge = [(reach * math.sin(pan + a), reach * math.cos(pan + a)) for a in np.linspace(-half, half, 9)] + [(0.0, 0.0)]
    cells = [
        np.arange(
            math.floor(min(p[k] for p in edge) / TREE_GRID_M), math.ceil(max(p[k] for p in edge) / TREE_GRID_M) + 1
        )
        for k in (0, 1)
    ]
    ke, kn = (k.ravel() for k in np.meshgrid(*cells))
    bearing, far = np.arctan2(ke, kn), np.hypot(ke, kn) * TREE_GRID_M
    off = (bearing - pan + np.pi) % (2 * np.pi) - np.pi
    seen = (np.abs(off) < half) & (far < reach) & (far > 60)
    ke, kn = ke[seen], kn[seen]
    east = ((ke + hashed(seed, ke, kn, 41)) * TREE_GRID_M).astype(np.float32)
    north = ((kn + hashed(seed, ke, kn, 42)) * TREE_GRID_M).astype(np.float32)
    chance = _tree_chance(seed, east, north)
    chance = np.maximum(chance, _village_chance(view, villages, east, north))
    grows = hashed(seed, ke, kn, 43) < chance
    east, north, chance = (a[grows] for a in (east, north, chance))
    ke, kn = ke[grows], kn[grows]
    right = east * math.cos(pan) - north * math.sin(pan)
    forward = east * math.sin(pan) + north * math.cos(pan)
    size = 2.5 + 7.5 * hashed(seed, ke, kn, 44) ** 1.5 + 2.5 * (chance > 0.7)
    kind = (hashed(seed, ke, kn, 45) * 12).astype(int)
    shade = 0.72 + 0.5 * hashed(seed, ke, kn, 46)
    return [
        Tree(*row)
        for row in zip(right.tolist(), forward.tolist(), size.tolist(), kind.tolist(), shade.tolist(), strict=True)
    ]


def _tree_chance(seed: int, east: F32, north: F32) -> F32:
    region = ground.regions(seed, east, north)
    lined = hashed(seed, region.key_e, region.key_n, 47) < 0.55
    clump = smooth(tile(seed + 51, octaves=5), east, north, 700.0)
    border = 0.75 * (region.border_m < 9) * lined * (clump > -0.4)
    wood = 0.85 * (ground.wooded(seed, east, north) > -0.02)
    grove = 0.6 * (clump > 1.9)
    out: F32 = np.maximum(np.maximum(border, wood), np.maximum(grove, 0.02)).astype(np.float32)
    return out


def _village_chance(view: View, villages: tuple[Village, ...], east: F32, north: F32) -> F32:
    chance = f32(np.zeros_like(east))
    for village in villages:
        b = math.radians(village.bearing_deg)
        off = np.hypot(east - village.range_m * math.sin(b), north - village.range_m * math.cos(b))
        chance = np.maximum(chance, f32(0.4 * (off < 1.35 * village.radius_m)))
    return chance


def houses(view: View, villages: tuple[Village, ...], seed: int) -> list[House]:
    """The houses of the villages, thickest in the middle, most of them facing south."""
    out: list[House] = []
    for index, village in enumerate(villages):
        right0, forward0 = view.axes(village.bearing_deg, village.range_m)
        rng = np.random.default_rng(seed * 1009 + index)
        grain = rng.uniform(-0.25, 0.25)
        for _ in range(village.houses):
            # Villages lie along their lanes: wide across, shallow in depth.
            a, r = rng.uniform(0, 2 * np.pi), village.radius_m * math.sqrt(rng.uniform(0, 1))
            tall = float(rng.choice([4.0, 7.0, 10.0, 11.5], p=[0.2, 0.35, 0.33, 0.12]))
            out.append(
                House(
                    right0 + r * math.cos(a) * 1.3,
                    forward0 + r * math.sin(a),
                    rng.uniform(4, 7.5),
                    rng.uniform(3.5, 6),
                    tall,
                    grain + math.radians(view.pan_deg) + rng.normal(0, 0.08),
                    WALLS[rng.integers(len(WALLS))],
                    ROOFS[rng.integers(len(ROOFS))],
                    bool(rng.uniform() < 0.35),
                )
            )
    return out


def draw(out: F32, view: View, things: list[Tree | House], look: Air) -> None:
    """Draw trees and houses into an RGB picture, the farthest first."""
    for thing in sorted(things, key=lambda t: -math.hypot(t.right, t.forward)):
        if isinstance(thing, Tree):
            _draw_tree(out, view, thing, look)
        else:
            _draw_house(out, view, thing, look)


@lru_cache(maxsize=64)
def _sprite(kind: int, sun_right: float) -> tuple[F32, F32]:
    """A tree as (RGB at noon, opacity), SPRITE pixels high: tufts of leaves on a crown, lit from the sun's side."""
    rng = np.random.default_rng(900 + kind)
    y, x = np.mgrid[0:SPRITE, 0:SPRITE].astype(np.float32) / SPRITE
    light, mask = f32(np.zeros_like(x)), f32(np.zeros_like(x))
    slim = kind % 4 == 3
    wide, tall = (0.13, 0.40) if slim else (rng.uniform(0.28, 0.40), rng.uniform(0.28, 0.38))
    for _ in range(150):  # from the back of the crown to the front
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.6
        u, v = r * np.cos(a), r * np.sin(a)
        cx, cy = 0.5 + wide * u * (1.1 if v > 0 else 0.9), 0.95 - tall - 0.06 + tall * v
        size = rng.uniform(0.025, 0.06)
        tuft = np.clip(1.8 * (1 - np.hypot(x - cx, (y - cy) * 1.2) / size), 0, 1)
        lit = 0.5 - 0.36 * v + 0.34 * sun_right * u + rng.normal(0, 0.12)
        light = f32(np.where(tuft > 0.3, lit, light))
        mask = np.maximum(mask, tuft)
    foot = (np.abs(x - 0.5) < 0.02) & (y > 0.8)
    mask = np.maximum(mask, foot)
    leaf = tile(61, octaves=8, gain=0.9)[kind * 30 : kind * 30 + SPRITE, :SPRITE]
    hue = np.array([(0.21, 0.27, 0.15), (0.26, 0.31, 0.17), (0.18, 0.24, 0.15), (0.29, 0.31, 0.18)][kind % 4])
    rgb = hue * np.clip(0.42 + 0.95 * light + 0.10 * leaf, 0.2, None)[..., None]
    return f32(rgb), f32(cv2.GaussianBlur(mask, (0, 0), 0.8))


def _draw_tree(out: F32, view: View, tree: Tree, look: Air) -> None:
    xs, ys, depth = view.project(np.array([tree.right] * 2), np.array([tree.forward] * 2), np.array([0, tree.height_m]))
    if depth[0] <= 1:
        return
    tall = float(ys[0] - ys[1])
    h, w = max(2, round(tall)), max(2, round(tall * 1.1))
    left, top = round(float(xs[0]) - w / 2), round(float(ys[0]) * 1.0) - h
    clear = float(look.clearness(math.hypot(tree.right, tree.forward)))
    _shadow(out, float(xs[0]), float(ys[0]), w, look, clear)
    rgb, opacity = _sprite(tree.kind, look.sun_right)
    mode = cv2.INTER_AREA if h < SPRITE else cv2.INTER_CUBIC
    rgb = cv2.resize(rgb, (w, h), interpolation=mode) * np.float32(tree.shade)
    opacity = np.clip(cv2.resize(opacity, (w, h), interpolation=mode), 0, 1)
    _paste(out, left, top, _in_air(rgb, look, tree.right, tree.forward), opacity)


def _shadow(out: F32, x: float, y: float, width: int, look: Air, clear: float) -> None:
    """Darken the ground beside a tree's foot, away from the sun."""
    w, h = max(2, round(width * 0.9)), max(1, round(width * 0.12))
    left, top = round(x - w / 2 - 0.35 * w * look.sun_right), round(y - h / 2)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, out.shape[1]), min(top + h, out.shape[0])
    if x0 < x1 and y0 < y1:
        out[y0:y1, x0:x1] *= 1 - clear * (0.2 if look.dusk == 0 else 0.07)


def _in_air(rgb: F32, look: Air, right: float, forward: float) -> F32:
    clear = float(look.clearness(math.hypot(right, forward)))
    out: F32 = (
        rgb * np.array(look.tint, np.float32) * clear + np.array(look.airlight, np.float32) * (1 - clear)
    ).astype(np.float32)
    return out


def _paste(out: F32, left: int, top: int, rgb: F32, opacity: F32) -> None:
    h, w = opacity.shape
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + w, out.shape[1]), min(top + h, out.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    a = opacity[part][..., None]
    out[y0:y1, x0:x1] = out[y0:y1, x0:x1] * (1 - a) + rgb[part] * a


def _draw_house(out: F32, view: View, house: House, look: Air) -> None:
    c, s = math.cos(house.turn), math.sin(house.turn)
    corners = [
        (
            house.right + u * house.half_w * c - v * house.half_d * s,
            house.forward + u * house.half_w * s + v * house.half_d * c,
        )
        for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    far = sorted(range(4), key=lambda k: -math.hypot(*corners[k]))[0]
    walls = [(k, (k + 1) % 4) for k in range(4) if far not in (k, (k + 1) % 4)]
    for a, b in walls:
        normal = math.atan2(corners[b][1] - corners[a][1], corners[b][0] - corners[a][0])
        lit = 0.80 + 0.20 * math.copysign(1, look.sun_right) * math.sin(normal)
        wall = _in_air(np.array(house.wall, np.float32) * np.float32(lit), look, house.right, house.forward)
        _face(
            out,
            view,
            [(*corners[a], 0), (*corners[b], 0), (*corners[b], house.height_m), (*corners[a], house.height_m)],
            wall,
        )
        _windows(out, view, house, corners[a], corners[b], look)
    ridge = [
        ((corners[0][k] + corners[3][k]) / 2 for k in (0, 1)),
        ((corners[1][k] + corners[2][k]) / 2 for k in (0, 1)),
    ]
    (r0, f0), (r1, f1) = (tuple(point) for point in ridge)
    top, eaves = house.height_m + 2.2, house.height_m
    roof = _in_air(np.array(house.roof, np.float32), look, house.right, house.forward)
    for (p, q), tone in (((3, 2), 0.85), ((0, 1), 1.1)):
        _face(
            out,
            view,
            [(*corners[p], eaves), (*corners[q], eaves), (r1, f1, top), (r0, f0, top)],
            (roof * np.float32(tone)).astype(np.float32),
        )


def _windows(out: F32, view: View, house: House, a: tuple[float, float], b: tuple[float, float], look: Air) -> None:
    floors = int(house.height_m // 3.3)
    if view.focal_px / math.hypot(house.right, house.forward) < 0.6:
        return
    rgb = np.array((0.42, 0.43, 0.44), np.float32)
    glass = _in_air(rgb, look, house.right, house.forward)
    for floor in range(floors):
        for n, centre in enumerate((0.2, 0.5, 0.8)):
            ends = [(a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t) for t in (centre - 0.09, centre + 0.09)]
            low, high = floor * 3.3 + 1.0, floor * 3.3 + 2.5
            lamp = house.lit and look.dusk > 0.3 and (n + floor) % 3 == 0
            colour = np.array((0.95, 0.78, 0.45), np.float32) if lamp else glass
            _face(out, view, [(*ends[0], low), (*ends[1], low), (*ends[1], high), (*ends[0], high)], colour)


def _face(out: F32, view: View, points: list[tuple[float, float, float]], rgb: F32) -> None:
    r, f, up = (np.array(axis) for axis in zip(*points, strict=True))
    x, y, depth = view.project(r, f, up)
    if depth.min() <= 1:
        return
    shape = np.round(np.stack([x - 0.5, y - 0.5], axis=1) * 16).astype(np.int32)
    cv2.fillConvexPoly(out, shape, [float(v) for v in rgb], lineType=cv2.LINE_8, shift=4)
