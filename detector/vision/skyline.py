# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where land meets sky: in one picture, and for a camera over its looks."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import Image

COLUMNS, ROWS = 80, 120
"""Of the thumbnail that the line is found in."""
DEFAULT = 0.4
"""The skyline, as a share of the height, of a picture that shows none: a camera that looks down on its land."""
CLEAR = 0.35
"""Share of a column's variance that the split into sky and land must explain."""
LOOKS = 15
"""Estimates whose median is the camera's skyline."""


def skyline(image: Image) -> NDArray[np.int32]:
    """First row of land in each column, smoothed; a rough estimate from brightness and blue."""
    rows, columns = image.shape[:2]
    line, _ = _split(image)
    wide = np.interp(np.linspace(0, COLUMNS - 1, columns), np.arange(COLUMNS), line) * rows / ROWS
    return np.asarray(np.clip(wide, 1, rows - 2), np.int32)


def horizon(image: Image) -> float | None:
    """The skyline's median height as a share of the picture's, from its top; None when there is no clear one."""
    line, explained = _split(image)
    return float(np.median(line)) / ROWS if explained >= CLEAR else None


class Horizon:
    """The horizon of one camera at one preset: the median of its latest clear estimates, or what it is told."""

    def __init__(self, told: float | None = None) -> None:
        self._told = told
        self._seen: deque[float] = deque(maxlen=LOOKS)

    def at(self, image: Image) -> float:
        """As a share of the height, from the top; takes the picture in."""
        if self._told is not None:
            return self._told
        found = horizon(image)
        if found is not None:
            self._seen.append(found)
        return float(np.median(self._seen)) if self._seen else DEFAULT


def _split(image: Image) -> tuple[NDArray[np.float64], float]:
    """For each column of the thumbnail the first row of land, and how much of the variance that split explains.

    Land is darker and less blue than the sky above it: per column, the row that best splits the column into
    two even parts (largest between-class variance of a sky score, as Otsu's threshold does over a histogram).
    """
    small = cv2.resize(image, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.float32)
    grey = small.mean(axis=2)
    texture = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    score = grey + 0.5 * (small[..., 0] - small[..., 2]) - 2 * cv2.GaussianBlur(texture, (0, 0), 2)
    counts = np.arange(1, ROWS + 1, dtype=np.float32)[:, None]
    above = np.cumsum(score, axis=0) / counts
    below = (score.sum(axis=0) - np.cumsum(score, axis=0)) / np.maximum(ROWS - counts, 1)
    gain = np.where(above > below, (above - below) ** 2 * counts * (ROWS - counts), 0)
    gain[: ROWS // 10] = 0
    gain[ROWS * 8 // 10 :] = 0
    explained = gain.max(axis=0) / np.maximum(ROWS**2 * score.var(axis=0), 1e-6)
    padded = np.pad(gain.argmax(axis=0), 4, "edge")
    line = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    return np.asarray(line, np.float64), float(np.median(explained))
