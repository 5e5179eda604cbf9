# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera that goes round its presets: order, wait until it stands where it should, let it be looked at, go on.

The mount is believed as little as possible: it has arrived when it says that it stands *and* its position is that of
the preset, and the picture has the last word (detector.box). Somebody who takes the camera by hand is left alone for a
while. Whatever the mount does, the picture that there is goes on being looked at; only what cannot be told of its
direction is not told.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from detector.camera.ptz import Head, Position, PtzStatus
from detector.clock import Clock
from detector.errors import PtzError, PtzRefused
from detector.wire import CameraState

log = logging.getLogger(__name__)

POLL_S, POLL_MOVING_S = 0.5, 0.2
"""Between two questions where the camera stands, at rest and on its way."""
TOLERANCE: Position = (0.005, 0.01, 0.02)
"""Of a position, in ONVIF's generic units: 0.9 degrees of each turn, and what a worn zoom misses by."""
STILL: Position = (0.0005, 0.001, 0.002)
"""What counts as movement between two answers."""
SURE_S = 1.0
"""A mount whose word is not enough stands when its position has not changed for so long."""
START_S = 3.0
"""A mount that has not begun to move so long after an order will not."""
MOST_HOLD_S = 60.0
"""How long a suspicion may keep a camera at one preset (as long as one may ask for a burst)."""
NO_LOOK_S = 10.0
"""A visit without a picture ends so long after its time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
Blind = tuple[CameraState, str]


class Round(Protocol):
    """What a patrol is told to do (detector.config.PatrolSettings)."""

    @property
    def dwell_s(self) -> float:
        """A visit, from its first look."""

    @property
    def slew_s(self) -> float:
        """The longest way between two presets."""

    @property
    def settle_s(self) -> float:
        """From standing to a picture that may be judged."""

    @property
    def manual_s(self) -> float:
        """How long a camera that was taken by hand is left alone after its last movement."""


@dataclass(frozen=True, slots=True)
class Stance:
    """The camera stands at `preset` (None: somewhere), and may be judged from `ready_at` (monotonic) on. `known`: its
    direction was read back as that of the preset. `visit` is another number each time that it has moved."""

    preset: str | None
    ready_at: float
    known: bool
    visit: int


@dataclass(slots=True)
class _Visit:
    first_look: float | None = None
    suspicious: bool = False


class Patrol:
    """Of one camera. `step` is called by one thread, `looked` by the one that looks; `stance`, `blind` and `note` may
    be read by any."""

    def __init__(
        self, camera: str, presets: Mapping[str, str], settings: Round, connect: Callable[[], Head], clock: Clock
    ) -> None:
        """`presets`: our names in their order, each with what the device calls it."""
        self.camera = camera
        self.presets = tuple(presets)
        self._devices = presets
        self.stance: Stance | None = None
        self.blind: Blind | None = None
        """Why what is seen now is not what the patrol should see."""
        self.note: str | None = None
        self._settings = settings
        self._connect = connect
        self._clock = clock
        self._head: Head | None = None
        self._pause_s = FIRST_PAUSE_S
        self._positions: dict[str, Position | None] = {}
        self._at = -1
        self._ordered_at: float | None = None
        self._visit = _Visit()
        self._visits = 0
        self._judging: int | None = None
        self._last: Position | None = None
        self._still_since = clock.monotonic()
        self._by_hand_at: float | None = None
        self._failed = 0

    def run(self, stop: threading.Event) -> None:
        """`step` until stopped."""
        while not stop.is_set():
            try:
                pause = self.step()
            except Exception:
                log.exception("camera %s: the patrol failed; going on", self.camera)
                pause = self._lost("the patrol failed, see the box's log")
            stop.wait(pause)
        self._drop()

    def step(self) -> float:
        """Ask where the camera stands and order what is due; returns the seconds until the next step."""
        try:
            if self._head is None:
                self._head = self._connect()
                found = self._head.presets()
                self._positions = {name: found.get(device) for name, device in self._devices.items()}
                log.info("camera %s: its mount answers, %d presets", self.camera, len(found))
                return POLL_S if self._by_hand_at is not None else self._go_on(self._head)
            status = self._head.status()
            pause = self._follow(self._head, status)
        except PtzRefused as error:
            return self._lost(str(error)) if self._head is None else self._refused(str(error))
        except PtzError as error:
            self._drop()
            return self._lost(str(error))
        self._pause_s = FIRST_PAUSE_S
        return pause

    def looking(self, visit: int) -> None:
        """A picture of this visit is being judged: the camera stays until `looked`, or for a while."""
        self._judging = visit

    def looked(self, visit: int, at: float, suspicious: bool) -> None:
        """A picture of this visit, taken up at `at`, was judged; of a visit that is over it counts no more."""
        now, stance = self._visit, self.stance
        self._judging = None
        if stance is None or stance.visit != visit:
            return
        now.suspicious = suspicious
        if now.first_look is None:
            now.first_look = at

    def unsteady(self) -> None:
        """The picture moves although the mount says that it stands: it has to settle anew."""
        stance = self.stance
        if stance is not None:
            self.stance = replace(stance, ready_at=self._clock.monotonic() + self._settings.settle_s)
            self.note = "its mount says that it stands while the picture moves"

    @property
    def target(self) -> str:
        """The preset that it is at, or on its way to."""
        return self.presets[max(0, self._at)]

    def _follow(self, head: Head, status: PtzStatus) -> float:
        now = self._clock.monotonic()
        moved = self._moved(status, now)
        if self._by_hand_at is not None:
            return self._in_hand(head, moved, now)
        if self._ordered_at is not None:
            return self._on_its_way(head, status, moved, self._ordered_at, now)
        expected = self._positions.get(self.target)
        position = status.position
        away = moved if position is None or expected is None else not _near(position, expected)
        return self._taken(now) if away else self._stay(head, now)

    def _moved(self, status: PtzStatus, now: float) -> bool:
        """Whether it moves: by its position where it gives one, else by its word."""
        last, self._last = self._last, status.position
        if status.position is None or last is None:
            moved = status.moving is True
        else:
            moved = any(abs(a - b) > most for a, b, most in zip(status.position, last, STILL, strict=True))
        if moved:
            self._still_since = now
        return moved

    def _go_on(self, head: Head) -> float:
        """After it was lost: to the next preset, unless something is suspected where it still stands."""
        stance, expected = self.stance, self._positions.get(self.target)
        if stance is not None and stance.preset == self.target and self._visit.suspicious and expected is not None:
            status = head.status()
            if status.position is not None and _near(status.position, expected) and not status.moving:
                self.stance, self.blind = replace(stance, known=True), None
                return POLL_S
        return self._go(head)

    def _go(self, head: Head) -> float:
        """On to the next preset."""
        self._at = (self._at + 1) % len(self.presets)
        head.go(self._devices[self.target])
        self.stance, self._last = None, None
        self._visit = _Visit()
        self._ordered_at = self._still_since = self._clock.monotonic()
        self._by_hand_at = None
        return POLL_MOVING_S

    def _on_its_way(self, head: Head, status: PtzStatus, moved: bool, ordered_at: float, now: float) -> float:
        expected = self._positions.get(self.target)
        there = status.position is not None and (expected is None or _near(status.position, expected))
        still_s, gone_s = now - self._still_since, now - ordered_at
        if status.moving is False and there and (expected is not None or still_s >= SURE_S):
            return self._arrived(status, known=True, gone_s=gone_s)
        if status.moving is None and there and still_s >= SURE_S:
            return self._arrived(status, known=True, gone_s=gone_s)
        if status.moving and there and still_s >= SURE_S:
            self.note = "its mount says for ever that it moves"
            return self._arrived(status, known=False, gone_s=gone_s)
        if status.position is None and not status.moving and gone_s >= self._settings.slew_s:
            self.note = "its mount gives no position"
            return self._arrived(status, known=False, gone_s=gone_s)
        if still_s >= START_S and not status.moving:
            return self._refused(f"{self.target}: it stands elsewhere {gone_s:.0f} s after the order")
        return self._taken(now) if gone_s >= 2 * self._settings.slew_s + 5 else POLL_MOVING_S

    def _arrived(self, status: PtzStatus, known: bool, gone_s: float) -> float:
        if known and self._positions.get(self.target) is None:
            self._positions[self.target] = status.position
        self._ordered_at = None
        self._failed = 0
        self.blind = None if known else ("lost", self.note or "its position is not known")
        late = gone_s > self._settings.slew_s + POLL_MOVING_S
        if known:
            self.note = (
                f"{self.target} reached in {gone_s:.1f} s: the plan allows {self._settings.slew_s:g}" if late else None
            )
        self._stand(self.target, known)
        return self._settings.settle_s

    def _stay(self, head: Head, now: float) -> float:
        """Leave when the time is over and nothing is suspected; returns when to ask again."""
        stance, visit = self.stance, self._visit
        assert stance is not None
        if visit.first_look is None:
            leave = stance.ready_at + self._settings.dwell_s + NO_LOOK_S
        elif visit.suspicious:
            leave = visit.first_look + MOST_HOLD_S
        else:
            leave = visit.first_look + self._settings.dwell_s
        if now < leave:
            return min(POLL_S, leave - now)
        if self._judging == stance.visit and now < leave + NO_LOOK_S:
            return POLL_MOVING_S
        return self._go(head)

    def _taken(self, now: float) -> float:
        """Somebody else moves it: leave it alone."""
        log.warning("camera %s: taken by hand; the patrol waits %g s", self.camera, self._settings.manual_s)
        self._ordered_at, self.stance, self._visit = None, None, _Visit()
        self._by_hand_at = self._still_since = now
        self.blind = ("manual", "taken by hand: the patrol waits")
        return POLL_S

    def _in_hand(self, head: Head, moved: bool, now: float) -> float:
        quiet_s = now - self._still_since
        held = self._visit.suspicious and quiet_s < self._settings.manual_s + MOST_HOLD_S
        if quiet_s >= self._settings.manual_s and not held:
            log.info("camera %s: nobody moves it any more; the patrol goes on", self.camera)
            return self._go(head)
        if moved:
            self.stance = None
        elif self.stance is None and quiet_s >= SURE_S:
            self._stand(None, known=False)
        return POLL_S

    def _refused(self, reason: str) -> float:
        """This preset cannot be reached: say so, look at what there is, and try the next one."""
        now = self._clock.monotonic()
        self._failed += 1
        self._ordered_at = None
        self.blind = ("lost", reason)
        log.warning("camera %s: %s", self.camera, reason)
        if self.stance is None:
            self._visit = _Visit()
            self._stand(None, known=False)
        # Standing where it is, it is treated as if by hand: watched, and ordered on after a while.
        self._by_hand_at = now
        pause = min(LONGEST_PAUSE_S, 2.0 ** (self._failed - 1))
        self._still_since = now - self._settings.manual_s + pause
        return min(POLL_S, pause)

    def _lost(self, reason: str) -> float:
        """The mount does not answer. What is seen is still judged, but nobody can say where that is."""
        if self.blind != ("lost", reason):
            log.warning("camera %s: %s; trying again", self.camera, reason)
        self.blind = ("lost", reason)
        if self.stance is not None:
            self.stance = replace(self.stance, known=False)
        else:
            self._stand(None, known=False)
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause

    def _stand(self, preset: str | None, known: bool) -> None:
        self._visits += 1
        self.stance = Stance(preset, self._clock.monotonic() + self._settings.settle_s, known, self._visits)

    def _drop(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            head.close()


def _near(one: Position, other: Position) -> bool:
    """Within the tolerance; a turn of pan more or less is the same direction."""
    pan = abs((one[0] - other[0] + 1) % 2 - 1)
    return pan <= TOLERANCE[0] and all(
        abs(a - b) <= most for a, b, most in zip(one[1:], other[1:], TOLERANCE[1:], strict=True)
    )
