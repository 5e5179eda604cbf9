# SPDX-License-Identifier: AGPL-3.0-or-later
"""An invented hilly landscape under the demo region, as SRTM tiles."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Random = np.random.Generator


def write_hills(folder: Path, seed: int, error_m: float) -> None:
    """SRTM tiles of invented hills under the demo region, cells of 3″, wrong by ``error_m``: octaves of smooth waves of
    110 to 6 m (standard deviation) around 200 m above a plain of 60 m."""
    for south in (28, 29):
        for west in (118, 119):
            rows, columns = np.mgrid[0:1201, 0:1201] / 1200.0
            lats, lons = south + 1 - rows, west + columns
            heights = 200 + sum(
                size * _waves(np.random.default_rng([seed, octave]), lats * 111.2, lons * 97.3, size_km)
                for octave, (size, size_km) in enumerate([(110, 9.0), (50, 3.5), (18, 1.2), (6, 0.5)])
            )
            heights = np.maximum(heights, 60) + error_m * _waves(
                np.random.default_rng([seed, 99]), lats * 111.2, lons * 97.3, 0.4
            )
            path = folder / f"N{south}E{west}.hgt"
            path.write_bytes(np.rint(heights).astype(">i2").tobytes())


def _waves(random: Random, north_km: NDArray[np.float64], east_km: NDArray[np.float64], size_km: float) -> Any:
    """A sum of twelve plane waves of about this length; standard deviation 1."""
    total = np.zeros_like(north_km)
    for turn, phase, length in zip(
        random.uniform(0, math.pi, 12), random.uniform(0, 2 * math.pi, 12), random.uniform(0.6, 1.6, 12), strict=True
    ):
        along = (north_km * math.cos(turn) + east_km * math.sin(turn)) / (size_km * length)
        total += np.sin(2 * math.pi * along + phase)
    return total / math.sqrt(6)
