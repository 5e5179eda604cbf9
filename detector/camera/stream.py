# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's live picture: a thread that reads for ever and holds the newest frame, and how the camera is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import cv2
import numpy as np

from detector.clock import Clock
from detector.errors import StreamError
from detector.frame import Frame, Image
from detector.wire import CameraState

log = logging.getLogger(__name__)

STILL_S = 30.0
"""A live picture is never the same for so long: sensors are noisy and their clocks tick."""
STILL_DIFFERENCE = 6.0
"""Grey levels. A live picture changes by more than this somewhere in its thumbnail: leaves, light, a clock's
digits. The same picture encoded again and again stays below 4, real cameras' frames 50 s apart above 15."""
NOTE_S = 60.0
"""How long a passing fault stays in the camera's reason."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""Between attempts to connect: doubled each time, up to the longest."""


class Picture(Protocol):
    """A decoded picture that is turned into pixels only when it is wanted."""

    def pixels(self) -> Image:
        """BGR uint8, (height, width, 3)."""


class Source(Protocol):
    """One connection to a camera."""

    def read(self, every_s: float) -> Picture | None:
        """Take in one packet; a picture when that completed one. Pictures need come only `every_s` seconds.

        Blocks no longer than a time-out. Raises StreamError when the connection is of no more use.
        """

    def faults(self) -> list[str]:
        """What went wrong since the last call without ending the connection, one phrase each."""

    def close(self) -> None:
        """Let go of the connection."""


class Opener(Protocol):
    """Connects to a camera; raises StreamError when it cannot."""

    def __call__(self, url: str, clock: Clock) -> Source: ...


@dataclass(frozen=True, slots=True)
class CameraHealth:
    """A camera as docs/wire.md reports it: `reason` is one phrase, None when there is nothing to say."""

    state: CameraState
    last_frame_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class _Newest:
    picture: Picture
    at: datetime
    monotonic: float
    index: int


class Stream:
    """Reads one camera for ever in a thread of its own; `newest` never waits for the network."""

    def __init__(self, camera: str, url: str, opener: Opener, clock: Clock, every_s: float) -> None:
        self.camera = camera
        self._url = url
        self._opener = opener
        self._clock = clock
        self._every_s = every_s
        self._source: Source | None = None
        self._pause_s = FIRST_PAUSE_S
        self._lock = threading.Lock()
        self._newest: _Newest | None = None
        self._count = 0
        self._down: str | None = None
        self._note: tuple[float, str] | None = None
        self._first_size: tuple[int, int] | None = None
        self._size: tuple[int, int] | None = None
        self._thumbnail: Image | None = None
        self._moved_at = clock.monotonic()
        self.told: Callable[[datetime, Callable[[], Frame]], None] = lambda at, frame: None
        """Told of each picture in the reading thread: when it came, and how to have its pixels."""

    def want(self, every_s: float) -> None:
        """From now on a picture every `every_s` seconds will do."""
        self._every_s = every_s

    def run(self, stop: threading.Event) -> None:
        """`step` until stopped, pausing longer after each failure."""
        while not stop.is_set():
            try:
                pause = self.step()
            except Exception:
                log.exception("camera %s: reading failed; going on", self.camera)
                pause = self._fail("reading failed, see the box's log")
            if pause:
                stop.wait(pause)
        self._close()

    def step(self) -> float:
        """Connect, or take in one packet; returns how many seconds to wait before the next step."""
        try:
            if self._source is None:
                self._source = self._opener(self._url, self._clock)
                log.info("camera %s: connected", self.camera)
            picture = self._source.read(self._every_s)
            self._notice(self._source.faults())
        except StreamError as error:
            return self._fail(str(error))
        if picture is not None:
            self._keep(picture)
        return 0.0

    def newest(self) -> Frame | None:
        """The newest picture, None before the first. The same frame again has the same index."""
        with self._lock:
            newest = self._newest
        if newest is None:
            return None
        frame = self._frame(newest)
        self._compare(frame)
        return frame

    def _frame(self, newest: _Newest) -> Frame:
        return Frame(newest.picture.pixels(), newest.at, newest.monotonic, newest.index, self.camera)

    @property
    def index(self) -> int:
        """The newest picture's number, 0 before the first: tells cheaply whether there is a new one."""
        return self._count

    def health(self) -> CameraHealth:
        """How the camera is now."""
        with self._lock:
            newest, down, note = self._newest, self._down, self._note
        last = newest.at if newest else None
        now = self._clock.monotonic()
        reason = note[1] if note and now - note[0] < NOTE_S else None
        if down is not None:
            return CameraHealth("stream_down", last, down)
        if newest is None:
            return CameraHealth("starting", None, reason)
        if newest.monotonic - self._moved_at > self._still_s():
            return CameraHealth("frozen", last, f"same picture for {now - self._moved_at:.0f} s")
        if self._size != self._first_size and self._size and self._first_size:
            was, became = ("x".join(map(str, size)) for size in (self._first_size, self._size))
            return CameraHealth("resized", last, f"picture was {was} and is now {became}")
        return CameraHealth("ok", last, reason)

    def _still_s(self) -> float:
        return max(STILL_S, 3 * self._every_s)

    def _keep(self, picture: Picture) -> None:
        with self._lock:
            self._count += 1
            newest = self._newest = _Newest(picture, self._clock.now(), self._clock.monotonic(), self._count)
            was_down, self._down = self._down, None
        self._pause_s = FIRST_PAUSE_S
        if was_down or self._count == 1:
            log.info("camera %s: picture is there", self.camera)
        self.told(newest.at, lambda: self._frame(newest))

    def _compare(self, frame: Frame) -> None:
        """Notice a picture that stands still or changed its size."""
        thumbnail = cv2.resize(frame.image, (160, 90), interpolation=cv2.INTER_AREA)
        still = self._thumbnail
        if still is None or cv2.absdiff(still, thumbnail).mean(axis=2).max() > STILL_DIFFERENCE:
            self._thumbnail = np.asarray(thumbnail, np.uint8)
            self._moved_at = frame.monotonic
        self._first_size = self._first_size or frame.size
        if self._size not in {None, frame.size}:
            log.warning("camera %s: picture is now %sx%s", self.camera, *frame.size)
        self._size = frame.size

    def _notice(self, faults: list[str]) -> None:
        for fault in faults:
            log.warning("camera %s: %s", self.camera, fault)
            self._note = (self._clock.monotonic(), fault)

    def _fail(self, reason: str) -> float:
        self._close()
        with self._lock:
            known, self._down = self._down, reason
        if known != reason:
            log.warning("camera %s: %s; trying again", self.camera, reason)
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None
