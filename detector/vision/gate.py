# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether anything changed in a view since it was last judged: inference is spent where something did.

Compared with the last *judged* picture, not the last one, so that what grows slowly adds up until it shows. Light that
changes over wide areas is taken out first; a cell that always flickers (leaves, water) must change by more, up to a
limit that smoke passes. What the gate cannot see is looked at all the same, every `FORCED_S`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import Image

WIDTH = 480
"""Columns of the thumbnail, at most: a cell is 4 pixels of a 1080p picture."""
LEAST, MOST = 4.0, 9.0
"""Grey levels a cell must change by: in a quiet place, and in the most restless one."""
RESTLESS = 4.0
"""Times the usual change of a cell between two pictures."""
LIMIT = 12.0
"""Grey levels that one picture's change adds to what is usual, at most."""
CELLS, ACROSS = 6, 5
"""So many cells must have changed in a square so many across: the smallest plume that the model sees covers more."""
WIDE = 61
"""Cells over which a change counts as light."""
FORCED_S = 40.0
"""A view is judged at least so often, whatever the gate says: with ten seconds for a burst still within the minute."""
FOLLOW = 0.03
"""How much of each picture's change goes into what is usual, once there were 1/`FOLLOW` of them."""
FEW = 3
"""Pictures before which nothing is usual."""

Grey = NDArray[np.uint8]
Levels = NDArray[np.float32]


def small(image: Image) -> Image:
    """A picture (BGR) at the size that the gate works at."""
    width = min(WIDTH, image.shape[1])
    size = width, max(1, round(width * image.shape[0] / image.shape[1]))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def grey(picture: Image) -> Grey:
    """A small picture without its colour."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


class Usual:
    """How much each cell of one camera's picture changes from look to look, in grey levels: leaves, water, a mast that
    shakes. None while that is not known."""

    def __init__(self) -> None:
        self._last: Grey | None = None
        self._mean: Levels | None = None
        self._count = 0
        self.looks = 0
        """Pictures taken in."""

    @property
    def change(self) -> Levels | None:
        """For each cell; None after fewer than `FEW` pictures of this size."""
        return self._mean if self._count >= FEW else None

    def learn(self, picture: Grey) -> None:
        """Take in a picture, after it was judged."""
        if self._last is None or self._last.shape != picture.shape:
            self._count, self._mean = 0, None
        elif float(np.median(change := change_between(self._last, picture))) < LIMIT / 2:  # else it is another scene
            change = np.minimum(change, LIMIT)
            self._count += 1
            before, share = change if self._mean is None else self._mean, max(1 / self._count, FOLLOW)
            self._mean = np.asarray((1 - share) * before + share * change, np.float32)
        self._last = picture
        self.looks += 1


class Gate:
    """Of one camera at one preset: what each view looked like when it was last judged."""

    def __init__(self) -> None:
        self._judged: dict[str, tuple[Grey, float]] = {}

    def changed(self, view: str, rows: tuple[float, float], picture: Grey, usual: Levels | None, at: float) -> bool:
        """Whether a view (its rows as shares of the height) must be judged at `at` (seconds, monotonic)."""
        judged = self._judged.get(view)
        if judged is None or judged[0].shape != picture.shape or at - judged[1] >= FORCED_S:
            return True
        asked = LEAST if usual is None else np.clip(RESTLESS * usual, LEAST, MOST)
        top, bottom = (round(share * picture.shape[0]) for share in rows)
        changed = (change_between(judged[0], picture) > asked)[top:bottom].astype(np.float32)
        return bool(cv2.boxFilter(changed, -1, (ACROSS, ACROSS), normalize=False).max() >= CELLS - 0.5)

    def judged(self, view: str, picture: Grey, at: float) -> None:
        """The view was judged by this picture."""
        self._judged[view] = picture, at


def change_between(before: Grey, after: Grey) -> Levels:
    """By how many grey levels each cell changed, smoothed over its neighbours, without what changed widely."""
    difference = cv2.blur(cv2.subtract(after, before, dtype=cv2.CV_32F), (3, 3))
    return np.asarray(cv2.absdiff(difference, cv2.blur(difference, (WIDE, WIDE))), np.float32)
