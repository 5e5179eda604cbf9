# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a single picture tells about its scene: where land meets sky, and the light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.train.plume import Light
from detector.vision.skyline import skyline


@dataclass(frozen=True, slots=True)
class Scene:
    """`skyline[x]` is the first row of land in column x; `light` is for an object at the far edge of the land."""

    skyline: NDArray[np.int32]
    light: Light


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
