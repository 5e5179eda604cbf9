# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a picture can be judged at all: black, covered, out of focus, or not the view it was.

Cheap statistics on a grey thumbnail of frames that are decoded anyway. The reference is the camera's own past: how
sharp it usually is, and where its edges were when it was first seen, slowly following light and season.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import Image
from detector.wire import CameraState

SIZE = (320, 180)
BLACK_P99 = 30.0
"""Grey levels. Where 99 of 100 pixels are darker, there is nothing to see by: lit windows are brighter."""
FLAT_SPREAD = 6.0
"""Grey levels between the 5th and the 95th percentile after smoothing. Fog still has a ground that is darker."""
BLUR_SHARE = 0.25
"""Of the usual sharpness; dusk and haze take away about half of it."""
SHIFT = 0.03
"""Of the width. A mast in the wind moves by less than 0.01."""
SURE = 0.15
"""Response of the phase correlation above which a shift is one of the same scene."""
LOOKS = 3
"""A fault must show so many looks running: a bird, a passing lorry and one torn picture are none."""
USUAL = 60
"""Looks whose median sharpness is the usual one."""
FOLLOW = 0.05
"""How much of each good look goes into the reference."""

Grey = NDArray[np.float32]


class Scenery:
    """One camera at one preset."""

    def __init__(self) -> None:
        self._sharpness: deque[float] = deque(maxlen=USUAL)
        self._edges: Grey | None = None
        self._suspect: CameraState | None = None
        self._count = 0
        self._state: tuple[CameraState, str | None] = ("ok", None)

    @property
    def state(self) -> tuple[CameraState, str | None]:
        """What the looks so far say, and in one phrase why."""
        return self._state

    def look(self, image: Image) -> None:
        """Take in a judged frame (BGR)."""
        grey = _grey(image)
        state, reason = self._judge(grey)
        if state == "ok":
            self._learn(grey)
        self._count = self._count + 1 if state == self._suspect else 1
        self._suspect = state
        if self._count >= LOOKS or state == "ok":
            self._state = (state, reason)

    def _judge(self, grey: Grey) -> tuple[CameraState, str | None]:
        brightest = float(np.percentile(grey, 99))
        if brightest < BLACK_P99:
            return "dark", f"the picture is black (brightest {brightest:.0f} of 255)"
        low, high = np.percentile(cv2.GaussianBlur(grey, (9, 9), 0), (5, 95))
        if high - low < FLAT_SPREAD:
            return "covered", "the picture has no structure: look at the lens"
        if len(self._sharpness) >= LOOKS:
            share = _sharpness(grey) / max(1e-6, float(np.median(self._sharpness)))
            if share < BLUR_SHARE:
                return "blurred", f"the picture is {share:.0%} as sharp as usual: look at the lens"
        shift = self._shift(grey)
        if shift > SHIFT:
            return "moved", f"the view has moved by {shift:.0%} of its width: look at the mount"
        return "ok", None

    def _shift(self, grey: Grey) -> float:
        """How far the view has moved, as a fraction of the width; 0 when that cannot be told."""
        return 0.0 if self._edges is None else shift(self._edges, _edges(grey))

    def _learn(self, grey: Grey) -> None:
        self._sharpness.append(_sharpness(grey))
        edges = _edges(grey)
        if self._edges is None:
            self._edges = edges
        else:
            self._edges = ((1 - FOLLOW) * self._edges + FOLLOW * edges).astype(np.float32)


def outline(image: Image) -> Grey:
    """What `shift` compares of a picture (BGR)."""
    return _edges(_grey(image))


def shift(one: Grey, other: Grey) -> float:
    """How far two outlines are apart, as a fraction of the width; 0 when that cannot be told."""
    window = cv2.createHanningWindow(SIZE, cv2.CV_32F)
    (across, down), response = cv2.phaseCorrelate(one, other, window)
    return float(np.hypot(across, down)) / SIZE[0] if response > SURE else 0.0


def _grey(image: Image) -> Grey:
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


def _sharpness(grey: Grey) -> float:
    """Energy of the finest detail, in shares of all contrast, so that light does not count for sharpness."""
    return float(cv2.Laplacian(grey, cv2.CV_32F).var() / max(1.0, float(grey.var())))


def _edges(grey: Grey) -> Grey:
    """Where edges are, whatever the light."""
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(across, down)
    return np.asarray(np.minimum(strength, 4 * float(strength.mean()) + 1), np.float32)
