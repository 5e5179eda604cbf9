# SPDX-License-Identifier: AGPL-3.0-or-later
"""People near the camera are made unrecognisable in the evidence picture, and only there: the model sees all.

By geometry and not by finding people: a detector of people misses some, the more the odder they stand, and each one
missed is a face that left the box. Where somebody standing on level ground would be taller than so many pixels is
known for each row of the picture, and from there down it is laid in blocks as large as a head. Smoke there is
larger than that and stays to be seen as what it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import Image
from detector.wire import View

PERSON_M = 1.7
HEADS = 7
"""A person is so many heads tall."""


@dataclass(frozen=True, slots=True)
class Veil:
    """For a camera `height_m` above the ground that looks as `view` says; None: nobody knows how it looks, and nothing
    is shown clearly. People of `person_px` pixels and more are veiled."""

    view: View | None
    height_m: float
    person_px: float

    def over(self, image: Image) -> Image:
        """The picture (BGR) as it may leave the box; a copy where anything had to be veiled."""
        rows, columns = image.shape[:2]
        if self.view is None:
            return _blocks(image, 0, rows, rows / HEADS / 2)
        tall = self._tall(rows, columns, self.view)
        near = np.flatnonzero(tall >= self.person_px)
        if not near.size:
            return image
        veiled, top = image.copy(), max(0, int(near[0] - self.person_px))
        while top < rows:
            # In bands, each down to where people are twice as tall as at its beginning.
            large = np.flatnonzero(tall[top:] >= 2 * max(self.person_px, tall[top]))
            bottom = top + int(large[0]) if large.size else rows
            veiled[top:bottom] = _blocks(image, top, bottom, float(tall[top:bottom].max()) / HEADS)
            top = bottom
        return veiled

    def _tall(self, rows: int, columns: int, view: View) -> NDArray[np.float64]:
        """How many pixels tall somebody is whose feet are in each row; 0 above the horizon."""
        focal = columns / 2 / math.tan(math.radians(view.hfov / 2))
        down = math.radians(-view.tilt) + np.arctan((np.arange(rows) + 0.5 - rows / 2) / focal)
        down = np.clip(down, 0, math.pi / 2)
        # At a slant distance of height / sin(down), seen foreshortened by cos(down).
        return np.asarray(focal * PERSON_M * np.cos(down) * np.sin(down) / self.height_m, np.float64)


def _blocks(image: Image, top: int, bottom: int, size: float) -> Image:
    """Rows of the picture in blocks of so many pixels."""
    part = image[top:bottom]
    height, width = part.shape[:2]
    small = (max(1, round(width / max(1.0, size))), max(1, round(height / max(1.0, size))))
    coarse = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
