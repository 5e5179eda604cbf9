# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera's pictures on their way out: drawn and coded once, however many watch, and not at all when none does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from camera_sim.media import AccessUnit, Encoder, Source
from camera_sim.noise import U8
from camera_sim.spec import SceneError

log = logging.getLogger(__name__)

SLICES = {1, 5}
"""NAL units that hold a picture (H.264, table 7-1)."""

Viewer = Callable[[AccessUnit], None]


@dataclass
class Faults:
    """What is deliberately wrong with a stream: the picture stands still, nothing is sent, what is sent is damaged,
    pictures come unevenly (for two seconds of four keyframes alone), time stamps are `back_s` behind."""

    frozen: bool = False
    stalled: bool = False
    damaged: bool = False
    uneven: bool = False
    back_s: float = 0.0


class Feed:
    """Draws, codes and hands out one camera's pictures.

    `step` makes one picture; `run` calls it at the camera's rate while somebody watches. Viewers are
    called on the feed's thread and must not block.
    """

    def __init__(self, camera_id: str, source: Source) -> None:
        self.id = camera_id
        self.source = source
        self.faults = Faults()
        self.started_s = 0.0
        self._viewers: tuple[Viewer, ...] = ()
        self._lock = threading.Condition()
        self._drawing = threading.Lock()
        self._changed = threading.Event()
        self._fresh = True
        self._size: tuple[int, int] | None = None
        self._encoder: Encoder | None = None
        self._picture: U8 | None = None
        self.header: AccessUnit | None = None

    def start(self, wall_s: float) -> None:
        """Draw the first picture, which is the slow one, and learn the stream's parameters; scene time starts at
        `wall_s`, or when that is done if later."""
        self.source.frame(0.0)
        self.started_s = wall_s
        self._code(self.source.frame(0.0), wall_s)

    def scene_s(self, wall_s: float) -> float:
        """Seconds since the scene began."""
        return max(0.0, wall_s - self.started_s)

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height being sent, pixels."""
        assert self._encoder is not None
        return self._size or self._encoder.size

    def watch(self, viewer: Viewer) -> None:
        """Add a viewer; the next picture is a keyframe."""
        with self._lock:
            self._viewers = (*self._viewers, viewer)
            self._fresh = True
            self._lock.notify_all()
        self._changed.set()

    def leave(self, viewer: Viewer) -> None:
        """Remove a viewer."""
        with self._lock:
            self._viewers = tuple(v for v in self._viewers if v != viewer)
            self._lock.notify_all()

    def wait_for_viewers(self, number: int, timeout_s: float) -> bool:
        """Wait until exactly so many watch; False when that does not come in time."""
        with self._lock:
            return self._lock.wait_for(lambda: len(self._viewers) == number, timeout_s)

    def resize(self, width: int, height: int) -> None:
        """Send another picture size from the next picture on."""
        if not (64 <= width <= 3840 and 64 <= height <= 2160) or width % 2 or height % 2:
            raise SceneError(f"{width}x{height} cannot be sent: sizes are even, from 64x64 to 3840x2160")
        self._size = (width, height)

    def snapshot(self, wall_s: float) -> U8:
        """The picture of a capture time, whoever watches, at the camera's own size."""
        with self._drawing:
            if self._picture is None or not self.faults.frozen:
                self._picture = self.source.frame(self.scene_s(wall_s))
            return self._picture

    def step(self, wall_s: float) -> None:
        """Draw, code and hand out the picture of a capture time."""
        picture = self.snapshot(wall_s)
        if self.faults.stalled:
            return
        for unit in self._code(picture, wall_s):
            if self.faults.uneven and not unit.keyframe and int(wall_s / 2) % 2:
                continue
            sent = self._spoilt(unit)
            for viewer in self._viewers:
                viewer(sent)

    def _spoilt(self, unit: AccessUnit) -> AccessUnit:
        """A coded picture as the faults leave it; parameter sets stay whole."""
        nals = unit.nals
        if self.faults.damaged:
            nals = tuple(_scrambled(nal) if nal[0] & 0x1F in SLICES else nal for nal in nals)
        return AccessUnit(nals, unit.keyframe, unit.wall_s - self.faults.back_s)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: a picture each 1/fps while somebody watches. A picture that cannot be made is logged."""
        period = 1 / self.source.fps
        due = time.monotonic()
        while not stop.is_set():
            if not self._viewers:
                self._changed.clear()
                if not self._viewers:
                    self._changed.wait(0.5)
                due = time.monotonic()
                continue
            try:
                self.step(time.time())
            except Exception:
                log.exception("camera %s: a picture could not be made", self.id)
            due = max(due + period, time.monotonic() - period)
            stop.wait(max(0.0, due - time.monotonic()))

    def _code(self, picture: U8, wall_s: float) -> list[AccessUnit]:
        size = self._size or (picture.shape[1], picture.shape[0])
        if self._encoder is None or self._encoder.size != size:
            self._encoder = Encoder(size[0], size[1], self.source.fps)
        with self._lock:
            force, self._fresh = self._fresh, False
        units = self._encoder.encode(picture, wall_s, force)
        for unit in units:
            if unit.keyframe:
                self.header = unit
        return units


def _scrambled(nal: bytes) -> bytes:
    """A slice with a byte in 50 changed, its header left."""
    spoilt = bytearray(nal)
    for at in range(20, len(spoilt), 50):
        spoilt[at] ^= 0x5A
    return bytes(spoilt)
