# SPDX-License-Identifier: AGPL-3.0-or-later
"""The last minutes of one camera, as JPEG in memory: what a sighting's first visible smoke is looked for in."""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import cv2
import numpy as np

from detector.frame import Frame, Image

QUALITY = 80


@dataclass(frozen=True, slots=True)
class Kept:
    """One frame; `preset` is the view it shows, None for the only one."""

    at: datetime
    preset: str | None
    jpeg: bytes

    def image(self) -> Image:
        """BGR again."""
        picture = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError("a kept frame is no JPEG any more")
        return np.asarray(picture, np.uint8)


class History:
    """Bounded in time and in bytes. When the bytes do not suffice, every second frame of the older half goes: what is
    long ago is kept with larger gaps. Safe to use from several threads."""

    def __init__(self, seconds: float, step_s: float, budget: int) -> None:
        self._seconds = seconds
        self._step_s = step_s
        self._budget = budget
        self._lock = threading.Lock()
        self._frames: list[Kept] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    def wants(self, at: datetime) -> bool:
        """Whether a frame of this moment is more than a step after the newest."""
        with self._lock:
            return not self._frames or abs((at - self._frames[-1].at).total_seconds()) >= self._step_s

    def add(self, frame: Frame, preset: str | None) -> None:
        """Keep a frame, in its place in time; one of the same moment is kept once."""
        done, data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done or data.nbytes > self._budget:
            return
        kept = Kept(frame.captured_at, preset, data.tobytes())
        with self._lock:
            if self._frames and kept.at < self._frames[-1].at - timedelta(seconds=self._seconds):
                self._frames, self._size = [], 0  # the clock was set back: what is newer by it is older
            place = bisect.bisect_left(self._frames, kept.at, key=lambda each: each.at)
            if place < len(self._frames) and self._frames[place].at == kept.at:
                return
            self._frames.insert(place, kept)
            self._size += len(kept.jpeg)
            self._forget()

    def frames(self, preset: str | None) -> list[Kept]:
        """What there is of one view, oldest first."""
        with self._lock:
            return [each for each in self._frames if each.preset == preset]

    def _forget(self) -> None:
        oldest = self._frames[-1].at - timedelta(seconds=self._seconds)
        self._frames = [each for each in self._frames if each.at >= oldest]
        self._size = sum(len(each.jpeg) for each in self._frames)
        while self._size > self._budget:
            half = max(2, len(self._frames) // 2)
            self._frames = self._frames[1:half:2] + self._frames[half:]
            self._size = sum(len(each.jpeg) for each in self._frames)
