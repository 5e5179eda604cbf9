# SPDX-License-Identifier: AGPL-3.0-or-later
"""Band-limited noise fields, from which smoke, fog and cloud take their texture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def fractal(
    rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 5, stretch: float = 1.0
) -> Field:
    """Fractal noise, mean 0 and standard deviation 1, `shape` (rows, columns).

    `cell` is the size in pixels of the largest features, `stretch` how many times wider than high they are.
    Amplitude halves with each octave's doubled frequency: close to the -5/3 law of turbulence.
    """
    rows, columns = shape
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        grid = rng.standard_normal((int(rows / size) + 3, int(columns / (size * stretch)) + 3)).astype(np.float32)
        total += cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC) * np.float32(0.55**octave)
        if size == 1.0:
            break
    spread = float(total.std())
    return np.asarray((total - total.mean()) / (spread if spread > 0 else 1.0), np.float32)


def warp(field: Field, dx: NDArray[Any], dy: NDArray[Any]) -> Field:
    """`field` displaced by (dx, dy) pixels: noise advected by another noise makes eddies."""
    rows, columns = field.shape
    grid_x, grid_y = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    moved = cv2.remap(
        field,
        (grid_x + dx).astype(np.float32),
        (grid_y + dy).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(moved, np.float32)


def smoothstep(low: float, high: float, value: NDArray[Any]) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
