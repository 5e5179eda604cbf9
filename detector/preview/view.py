# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the page, the health check and the metrics are told of the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from detector.box import Looker
from detector.link.outbox import Outbox
from detector.link.publisher import Publisher
from detector.link.timekeeper import Timekeeper
from detector.upkeep.versions import Versions
from detector.watch import Watch
from detector.wire import CameraState, ClockOffset, Light, Part, VersionReport

LOOKED: frozenset[CameraState] = frozenset({"ok", "resized", "slow"})
PARTS: tuple[Part, ...] = get_args(Part)
CONFIRMED_S = 300.0
"""How long a confirmed sighting is what the page says of a camera."""
Judgement = Literal["clear", "suspect", "confirmed", "blind"]


@dataclass(frozen=True, slots=True)
class CameraView:
    """One camera now. `preset` is the view it faces, `presets` all it has; ages are seconds, None before the first."""

    id: str
    preset: str | None
    presets: Sequence[str]
    state: CameraState
    reason: str | None
    judgement: Judgement
    light: Light
    looks: int
    look_age_s: float | None
    interval_s: float
    sightings: int


@dataclass(frozen=True, slots=True)
class BoxView:
    """The whole box now. `waiting` is what the outbox still has to send, by part; `parked` what was refused,
    `unwritten` what its disk does not take."""

    edge: str
    connected: bool
    clock: ClockOffset
    waiting: Mapping[str, int]
    parked: int
    unwritten: int
    cameras: Sequence[CameraView]
    versions: Mapping[str, VersionReport]
    model: str
    look_seconds: float

    def findings(self) -> list[str]:
        """What is not well, one sentence each; empty when all is."""
        found = [
            f"camera {camera.id}: {camera.state}" + (f" ({camera.reason})" if camera.reason else "")
            for camera in self.cameras
            if camera.state not in {"ok", "resized"}
        ]
        if not self.connected:
            found.append("no connection to the broker; alarms wait in the outbox")
        if self.unwritten:
            found.append(f"the disk takes nothing: {self.unwritten} alarms are in memory alone; free some disk space")
        if self.parked:
            found.append(f"the server refused {self.parked} parts: see `straw1530 detector outbox`")
        return found


class Glance:
    """Looks at the running box, from any thread."""

    def __init__(
        self,
        edge: str,
        model: str,
        watches: Sequence[Watch],
        looker: Looker,
        outbox: Outbox,
        publisher: Publisher,
        clock: Timekeeper,
        versions: Versions,
    ) -> None:
        self._edge = edge
        self._model = model
        self._watches = watches
        self._looker = looker
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._versions = versions

    def view(self) -> BoxView:
        """The box now."""
        now = self._clock.monotonic()
        listing = self._outbox.listing()
        waiting = [each for each in listing if each.parked is None]
        return BoxView(
            edge=self._edge,
            connected=self._publisher.connected,
            clock=self._clock.stamp(),
            waiting={part: sum(each.part == part for each in waiting) for part in PARTS},
            parked=len(listing) - len(waiting),
            unwritten=self._outbox.unwritten,
            cameras=[_camera(watch, now) for watch in self._watches],
            versions=self._versions.report(),
            model=self._model,
            look_seconds=self._looker.look_seconds,
        )


def _camera(watch: Watch, now: float) -> CameraView:
    status = watch.status(now)
    settings = watch.settings
    names = [each.name for each in settings.patrol.presets] if settings.patrol else [settings.preset or ""]
    return CameraView(
        id=settings.id,
        preset=watch.eye.preset,
        presets=names,
        state=status.state,
        reason=status.reason,
        judgement=_judgement(watch, status.state, now),
        light=watch.eye.light,
        looks=watch.looks,
        look_age_s=now - watch.judged_at if watch.looks else None,
        interval_s=settings.interval_s,
        sightings=watch.sightings,
    )


def _judgement(watch: Watch, state: CameraState, now: float) -> Judgement:
    if state not in LOOKED:
        return "blind"
    if watch.confirmed_at is not None and now - watch.confirmed_at < CONFIRMED_S:
        return "confirmed"
    return "suspect" if watch.confirmer.suspicious else "clear"
