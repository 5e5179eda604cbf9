# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a single picture tells about its scene: where land meets sky, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.train.plume import Light


@dataclass(frozen=True, slots=True)
class Scene:
    """`skyline[x]` is the first row of land in column x; `light` is for an object at the far edge of the land."""

    skyline: NDArray[np.int32]
    light: Light


def skyline(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """First row of land in each column, smoothed; a rough estimate from brightness and blue.

    Land is darker and less blue than the sky above it: per column, the row that best splits the column into
    two even parts (largest between-class variance of a sky score, as Otsu's threshold does over a histogram).
    """
    rows, columns = image.shape[:2]
    small = cv2.GaussianBlur(cv2.resize(image, (80, 120), interpolation=cv2.INTER_AREA), (0, 0), 1.0).astype(np.float32)
    score = small.mean(axis=2) + 0.5 * (small[..., 0] - small[..., 2])
    texture = np.abs(cv2.Laplacian(small.mean(axis=2), cv2.CV_32F))
    score = score - 2 * cv2.GaussianBlur(texture, (0, 0), 2)
    counts = np.arange(1, 121, dtype=np.float32)[:, None]
    above = np.cumsum(score, axis=0) / counts
    below = (score.sum(axis=0) - np.cumsum(score, axis=0)) / np.maximum(120 - counts, 1)
    gain = np.where(above > below, (above - below) ** 2 * counts * (120 - counts), 0)
    gain[:12] = 0
    gain[96:] = 0
    line = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(gain.argmax(axis=0), 4, "edge"), 9), axis=1)
    wide = np.interp(np.linspace(0, 79, columns), np.arange(80), line) * rows / 120
    return np.asarray(np.clip(wide, 1, rows - 2), np.int32)


def read_scene(image: NDArray[np.uint8], rng: np.random.Generator) -> Scene:
    """Skyline and light of `image` (BGR); what a picture does not tell (sun, haze) is drawn from `rng`."""
    line = skyline(image)
    rows, columns = image.shape[:2]
    strip = np.concatenate(
        [image[max(int(line[x]) - rows // 12, 0) : max(int(line[x]) - 2, 1), x] for x in range(0, columns, 8)]
    )
    sky = np.median(strip, axis=0).astype(np.float32) / 255
    bright = float(np.percentile(image.max(axis=2), 90)) / 255
    angle = rng.uniform(np.pi * 0.1, np.pi * 0.9)
    light = Light(
        sky=sky,
        ambient=float(np.clip(0.35 * bright + 0.6 * float(sky.mean()), 0.12, 0.95)),
        sun=float(rng.uniform(0, 1)),
        sun_x=float(np.cos(angle)),
        sun_y=float(-np.sin(angle)),
        through_haze=1.0,
    )
    return Scene(skyline=line, light=light)
