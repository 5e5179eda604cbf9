# SPDX-License-Identifier: AGPL-3.0-or-later
"""Repeatable randomness over the ground and in time: hashes of integers and smooth noise."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_TILE = 512


def f32(values: npt.ArrayLike) -> F32:
    """Values as single precision, what pictures are drawn in."""
    return np.asarray(values, np.float32)


def hashed(seed: int, *keys: npt.NDArray[np.integer] | int) -> F32:
    """Uniform [0, 1) numbers that depend on the integer keys alone (broadcast together)."""
    h: npt.NDArray[np.uint32] = np.array([seed * 0x9E3779B1 & 0xFFFFFFFF], dtype=np.uint32)
    for key in keys:
        k = np.asarray(key).astype(np.int64).astype(np.uint32)
        h = (h ^ (k + np.uint32(0x7F4A7C15))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        h = h ^ (h >> np.uint32(16))
    shape = np.broadcast_shapes(*(np.shape(key) for key in keys))
    return ((h >> np.uint32(8)).astype(np.float32) * np.float32(1 / (1 << 24))).reshape(shape)


@lru_cache(maxsize=16)
def tile(seed: int, octaves: int = 6, gain: float = 0.5, first: int = 0) -> F32:
    """A seamless 512x512 field of fractal noise: zero mean, unit standard deviation.

    Its octaves have 4 * 2^first cells across and upwards (at most 256).
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((_TILE, _TILE), np.float32)
    for octave in range(octaves):
        n = 4 << (first + octave)
        grid = rng.standard_normal((n, n)).astype(np.float32)
        margin = 4
        padded = np.pad(grid, margin, mode="wrap")
        step = _TILE // n
        big = cv2.resize(padded, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        m = margin * step
        total += gain**octave * big[m : m + _TILE, m : m + _TILE]
    total -= total.mean()
    out: F32 = (total / total.std()).astype(np.float32)
    out.setflags(write=False)
    return out


def smooth(field: F32, u: F32, v: F32, period: float) -> F32:
    """A tile sampled at places (u, v), one- or two-dimensional; it repeats every `period` both ways."""
    if u.ndim == 1:  # OpenCV's remap takes at most 32,766 in each dimension
        fill = -u.size % 1024
        square = [np.pad(axis, (0, fill)).reshape(-1, 1024) for axis in (u, v)]
        return smooth(field, square[0], square[1], period).reshape(-1)[: u.size]
    scale = np.float32(_TILE / period)
    x, y = (_wrapped(axis * scale) for axis in (u, v))
    return np.asarray(cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def _wrapped(x: F32) -> F32:
    """x modulo the tile; numpy's own mod takes four times as long."""
    return f32(x - np.floor(x * np.float32(1 / _TILE)) * np.float32(_TILE))


def wander(seed: int, t: npt.NDArray[np.floating], period_s: float) -> F32:
    """Smooth noise over time, about unit standard deviation, that changes within `period_s`."""
    x = np.asarray(t, np.float64) / period_s
    i = np.floor(x).astype(np.int64)
    f = x - i
    w = f * f * (3 - 2 * f)
    a, b = (hashed(seed, i + k).astype(np.float64) * 2 - 1 for k in (0, 1))
    out: F32 = ((a * (1 - w) + b * w) * math.sqrt(3) * 1.1).astype(np.float32)
    return out
