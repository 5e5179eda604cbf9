# SPDX-License-Identifier: AGPL-3.0-or-later
"""The newest judged picture of each view, small, for whoever looks at the box's page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detector.frame import Frame, Image
from detector.judgement.eye import Dropped
from detector.judgement.hits import Hit

WIDEST = 960
QUALITY = 80


@dataclass(frozen=True, slots=True)
class Shown:
    """One judged picture, at most 960 wide, with what counted in it and what did not."""

    image: Image
    hits: tuple[Hit, ...]
    dropped: tuple[Dropped, ...]
    monotonic: float


class Gallery:
    """By camera and preset. Written by the looking thread, read by others."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], Shown] = {}

    def show(self, frame: Frame, preset: str | None, hits: Sequence[Hit], dropped: Sequence[Dropped]) -> None:
        """Take in a judged frame."""
        width, height = frame.size
        image = frame.image
        if width > WIDEST:
            size = (WIDEST, max(1, round(height * WIDEST / width)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        self._shown[frame.camera, preset or ""] = Shown(image, tuple(hits), tuple(dropped), frame.monotonic)

    def of(self, camera: str, preset: str | None) -> Shown | None:
        """The newest of one view."""
        return self._shown.get((camera, preset or ""))

    def jpeg(self, camera: str, preset: str | None) -> bytes | None:
        """The same as JPEG."""
        shown = self.of(camera, preset)
        if shown is None:
            return None
        done, data = cv2.imencode(".jpg", shown.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return data.tobytes() if done else None
