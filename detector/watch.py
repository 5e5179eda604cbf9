# SPDX-License-Identifier: AGPL-3.0-or-later
"""One camera as the box sees it: its stream, its views with what is remembered of each, and when it is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from detector.camera.patrol import Patrol, Stance
from detector.camera.stream import CameraHealth, Stream
from detector.config import CameraSettings, HistorySettings
from detector.coverage import LATE_INTERVALS, NO_PICTURE, state_of
from detector.frame import Frame
from detector.judgement.confirm import Confirmer
from detector.judgement.eye import Eye
from detector.judgement.gaze import Gaze
from detector.judgement.history import History
from detector.privacy import Veil
from detector.vision.scenery import SHIFT, Grey, Scenery, outline, shift
from detector.vision.skyline import Horizon
from detector.wire import CameraState, CameraStatus, View

KEPT = HistorySettings()
LOOK_AGAIN_S = 0.1
"""How soon to look again for a picture that was due and has not come."""
TURNING_S = 0.2
"""How often a camera that turns is asked whether it stands."""
LATE_ROUNDS = 2
"""A preset that was not looked at for so many rounds is not looked after."""


class Spot:
    """One view of a camera, and what is remembered of it."""

    def __init__(
        self,
        settings: CameraSettings,
        preset: str | None,
        view: View | None,
        now: float,
        skyline: float | None = None,
    ) -> None:
        self.preset = preset
        self.view = view
        self.gaze = Gaze(Horizon(skyline))
        self.confirmer = Confirmer(settings.confirm_params())
        self.scenery = Scenery()
        self.judged_at = now
        self.awaited_at = now
        """Since when a look is waited for: the last one, or the last moment without a picture to look at."""
        self.looks = 0


class Watch:
    """For use from the looking thread; `states` and `status` from any one other. `slow`: why the plan of this camera
    cannot keep one minute."""

    def __init__(
        self,
        settings: CameraSettings,
        stream: Stream,
        now: float,
        eye: Eye,
        patrol: Patrol | None = None,
        slow: str | None = None,
        history: HistorySettings = KEPT,
    ) -> None:
        self.settings = settings
        self.stream = stream
        self.eye = eye
        self.patrol = patrol
        self.spots = tuple(Spot(settings, preset, view, now, skyline) for preset, view, skyline in _views(settings))
        self.spot = self.spots[0]
        self.sightings = 0
        self.confirmed_at: float | None = None
        self.history = History(history.seconds, history.step_s, round(history.megabytes * 2**20))
        stream.told = self._told
        self._slow = slow
        self._late_s = _late_s(settings)
        self._due_at = now
        self._judged = 0
        self._visit = 0
        self._before: tuple[int, Grey] | None = None

    @property
    def confirmer(self) -> Confirmer:
        """Of the present view."""
        return self.spot.confirmer

    @property
    def judged_at(self) -> float:
        """When the present view was last judged (monotonic)."""
        return self.spot.judged_at

    @property
    def looks(self) -> int:
        """Of all its views."""
        return sum(spot.looks for spot in self.spots)

    @property
    def preset(self) -> str | None:
        """The view that it shows now; None while it moves, and where nobody can say."""
        if self.patrol is None:
            return self.spot.preset
        stance = self.patrol.stance
        return stance.preset if stance and stance.known else None

    @property
    def view(self) -> View | None:
        """The present view's angles, as far as they were read back or do not change."""
        return self.spot.view if self.patrol is None or self.preset == self.spot.preset else None

    @property
    def veil(self) -> Veil | None:
        """What people in its pictures are hidden by, None where that was not asked for."""
        privacy = self.settings.privacy
        return Veil(self.view, privacy.height_m, privacy.person_px) if privacy else None

    def due(self, now: float) -> float:
        """When it is next to be looked at, or to be asked again (monotonic)."""
        if self.patrol is None:
            return self._due_at
        stance = self.patrol.stance
        if stance is None:
            return now + TURNING_S
        at = stance.ready_at if stance.visit != self._visit else max(stance.ready_at, self._due_at)
        return min(at, now + TURNING_S)

    def take(self, now: float) -> Frame | None:
        """The newest picture if it was not judged yet and may be, else None. Sets when the camera is due next."""
        stance = self.patrol.stance if self.patrol else None
        if self.patrol is not None and not self._face(stance):
            return None
        self._due_at = now + LOOK_AGAIN_S
        if self.stream.index == self._judged:
            return None
        frame = self.stream.newest()
        if frame is None or (stance is not None and not self._steady(frame, stance)):
            return None
        self._judged = frame.index
        if self.patrol is not None:
            self.patrol.looking(self._visit)
        return frame

    def plan(self, started: float) -> None:
        """After a frame was judged at `started`: the next in an interval, or sooner on suspicion and until the view is
        known: a fire must not be lit before that can be told."""
        suspicious = self.confirmer.suspicious
        soon = suspicious or not self.spot.gaze.settled
        every = self.settings.burst_interval_s if soon else self.settings.interval_s
        self.stream.want(every)
        self._due_at = started + every
        if self.patrol is not None:
            self.patrol.looked(self._visit, started, suspicious)

    def judged(self, frame: Frame, now: float) -> None:
        """The model has seen the frame: is it one that can be judged?"""
        self.spot.scenery.look(frame.image)
        self.spot.judged_at = self.spot.awaited_at = now
        self.spot.looks += 1

    def remember(self, frame: Frame) -> None:
        """Keep the frame to be looked back at."""
        if self.patrol is None or self.preset is not None:
            self.history.add(frame, self.preset)

    def _told(self, at: datetime, frame: Callable[[], Frame]) -> None:
        if self.history.wants(at):
            self.remember(frame())

    def status(self, now: float) -> CameraStatus:
        """How the camera is: the first of its views with which something is wrong."""
        health = self.stream.health()
        found = [(spot, *self._state(spot, health, now)) for spot in self.spots]
        faults = [each for each in found if each[1] != "ok"]
        spot, state, reason = next((each for each in faults if each[1] != "starting"), (faults or found)[0])
        if state == "ok":
            reason = health.reason or (self.patrol.note if self.patrol else None)
            state = health.state
        elif self.patrol is not None and self.patrol.blind is None and state not in NO_PICTURE:
            reason = f"{spot.preset}: {reason}"
        return CameraStatus(state=state, last_frame_at=health.last_frame_at, reason=reason)

    def states(self, now: float) -> list[tuple[Spot, CameraState]]:
        """What the time of each view counts as."""
        health = self.stream.health()
        return [(spot, self._state(spot, health, now)[0]) for spot in self.spots]

    def _state(self, spot: Spot, health: CameraHealth, now: float) -> tuple[CameraState, str | None]:
        """The stream first, then whether it stands there, then whether it is looked at, then what the picture shows."""
        if health.state in NO_PICTURE:
            spot.awaited_at = now  # what does not come is not judged late
            return health.state, health.reason
        elsewhere = self.patrol is not None and self.preset != spot.preset
        if self.patrol is not None and elsewhere and self.patrol.blind is not None:
            return self.patrol.blind
        unjudged_s = now - spot.awaited_at
        state = state_of(health.state, spot.scenery.state[0], unjudged_s, self._late_s / LATE_INTERVALS)
        if state == "overloaded" and self.patrol is not None:
            return (
                "away",
                f"not looked at for {unjudged_s:.0f} s: the camera was held elsewhere, or the box is too slow",
            )
        if state == "overloaded":
            return state, f"not judged for {unjudged_s:.0f} s: the box is too slow for its cameras"
        if state == spot.scenery.state[0] != "ok":
            return state, spot.scenery.state[1]
        if state == "ok" and not spot.gaze.settled:
            return "starting", "getting to know the view"
        return ("slow", self._slow) if state == "ok" and self._slow else (state, health.reason)

    def _face(self, stance: Stance | None) -> bool:
        """Whether the camera stands; turns to what is remembered of where."""
        if stance is None:
            return False
        if stance.visit != self._visit:
            self._visit, self._before = stance.visit, None
            known = next((spot for spot in self.spots if spot.preset == stance.preset), None)
            self.spot = known or Spot(self.settings, None, None, stance.ready_at)
            self.eye.face(stance.preset)
            self.stream.want(LOOK_AGAIN_S)
        return True

    def _steady(self, frame: Frame, stance: Stance) -> bool:
        """Whether the picture stands too, by this one and one before it."""
        assert self.patrol is not None
        if frame.monotonic < stance.ready_at or (self._before and self._before[0] == frame.index):
            return False
        before, self._before = self._before, (frame.index, outline(frame.image))
        if before is None:
            return False
        if shift(before[1], self._before[1]) > SHIFT:
            self._before = None
            self.patrol.unsteady()
            return False
        return True


def _views(settings: CameraSettings) -> list[tuple[str | None, View | None, float | None]]:
    if settings.patrol is None:
        return [(settings.preset, settings.view, settings.skyline)]
    return [(preset.name, preset.view, preset.skyline) for preset in settings.patrol.presets]


def _late_s(settings: CameraSettings) -> float:
    if settings.patrol is None:
        return LATE_INTERVALS * settings.interval_s
    return LATE_ROUNDS * settings.as_plan().rhythm().cycle_s + settings.interval_s
