# SPDX-License-Identifier: AGPL-3.0-or-later
"""The edge box: several cameras, one model that looks at them in turn, one outbox, one sender."""

from __future__ import annotations

import hashlib
import logging
import threading
import uuid
from collections.abc import Callable, Sequence

from detector.config import CameraSettings, EdgeSettings
from detector.confirm import Confirmed, Confirmer, Hit
from detector.coverage import NO_PICTURE, Ledger, state_of
from detector.frame import Frame
from detector.judge import judge
from detector.model import Model
from detector.outbox import Outbox
from detector.picture import encode_jpeg
from detector.publisher import Publisher
from detector.scenery import Scenery
from detector.stream import Opener, Stream
from detector.timekeeper import Timekeeper
from detector.wire import (
    MOST_TRACK_POINTS,
    CameraState,
    CameraStatus,
    Interval,
    ModelName,
    PictureAnnounced,
    Sighting,
    Size,
    TrackPoint,
)

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 0.1
"""How soon to look again for a picture that was due and has not come."""
STATUS_S = 0.5
GOODBYE_S = 1.0


class Watch:
    """One camera: its stream, its confirmation, and when it is next to be looked at."""

    def __init__(self, settings: CameraSettings, stream: Stream, now: float) -> None:
        self.settings = settings
        self.stream = stream
        self.confirmer = Confirmer(settings.confirm_params())
        self.scenery = Scenery()
        self.due_at = now
        self.judged_at = now
        self.looks = 0
        self._judged = 0

    def take(self, now: float) -> Frame | None:
        """The newest picture if it was not judged yet, else None. Sets when the camera is due next."""
        if self.stream.index == self._judged:
            self.due_at = now + LOOK_AGAIN_S
            return None
        frame = self.stream.newest()
        if frame is not None:
            self._judged = frame.index
        return frame

    def plan(self, started: float) -> None:
        """After a frame was judged at `started`: the next in an interval, or sooner on suspicion."""
        burst = self.confirmer.suspicious
        every = self.settings.burst_interval_s if burst else self.settings.interval_s
        self.stream.want(every)
        self.due_at = started + every

    def judged(self, frame: Frame, now: float) -> None:
        """The model has seen the frame: is it one that can be judged?"""
        self.scenery.look(frame.image)
        self.judged_at = now
        self.looks += 1

    def status(self, now: float) -> CameraStatus:
        """How the camera is: its stream first, then whether it is looked at, then what the picture shows."""
        health = self.stream.health()
        if health.state in NO_PICTURE:
            self.judged_at = now  # what does not come is not judged late
        state = state_of(health.state, self.scenery.state[0], now - self.judged_at, self.settings.interval_s)
        reason = health.reason
        if state == "overloaded":
            reason = f"not judged for {now - self.judged_at:.0f} s: the box is too slow for its cameras"
        elif state == self.scenery.state[0] != "ok":
            reason = self.scenery.state[1]
        elif state == "ok":
            state = health.state
        return CameraStatus(state=state, last_frame_at=health.last_frame_at, reason=reason)


class Looker:
    """The one that runs the model: always the camera that has waited longest."""

    def __init__(
        self,
        edge: str,
        model: Model,
        confidence: float,
        watches: Sequence[Watch],
        clock: Timekeeper,
        keep: Callable[[Sighting, bytes | None], None],
    ) -> None:
        self._edge = edge
        self._model = model
        self._confidence = confidence
        self._watches = watches
        self._clock = clock
        self._keep = keep

    def run(self, stop: threading.Event) -> None:
        """`step` until stopped."""
        while not stop.is_set():
            try:
                pause = self.step()
            except Exception:
                log.exception("looking failed; going on")
                pause = 1.0
            if pause > 0:
                stop.wait(pause)

    def step(self) -> float:
        """Judge one frame if one is due; returns the seconds until the next is."""
        now = self._clock.monotonic()
        watch = min(self._watches, key=lambda each: each.due_at)
        if watch.due_at > now:
            return watch.due_at - now
        frame = watch.take(now)
        if frame is not None:
            try:
                self._judge(watch, frame)
            finally:
                watch.plan(now)
        return 0.0

    def _judge(self, watch: Watch, frame: Frame) -> None:
        before = watch.confirmer.suspicious
        hits, sightings = judge(self._model, watch.confirmer, frame, self._confidence)
        watch.judged(frame, self._clock.monotonic())
        if hits and watch.confirmer.suspicious and not before:
            log.info("camera %s: suspicion, %s %.2f", frame.camera, hits[0].label, hits[0].confidence)
        for confirmed in sightings:
            jpeg = encode_jpeg(frame.image)
            sighting = self._sighting(watch.settings, frame, confirmed, jpeg)
            log.info(
                "camera %s: SMOKE confirmed, %s %.2f, sighting %s",
                frame.camera,
                sighting.label,
                sighting.confidence,
                sighting.id,
            )
            self._keep(sighting, jpeg)

    def _sighting(self, camera: CameraSettings, frame: Frame, confirmed: Confirmed, jpeg: bytes | None) -> Sighting:
        """Mint the sighting: its id is made here, once, and never again."""
        hit = confirmed.hits[-1]
        now = self._clock.now()
        width, height = frame.size
        digest = hashlib.sha256(jpeg).hexdigest() if jpeg else ""
        return Sighting(
            id=str(uuid.uuid4()),
            edge=self._edge,
            camera=camera.id,
            preset=camera.preset,
            t0=Interval(earliest=confirmed.earliest, latest=confirmed.latest),
            t1=now,
            sent_at=now,
            clock=self._clock.stamp(now),
            label=hit.label,
            confidence=round(hit.confidence, 4),
            box=_rounded(hit),
            frame=Size(width=width, height=height),
            view=camera.view,
            track=tuple(_points(confirmed.hits)),
            model=ModelName(name=self._model.card.name, sha256=self._model.card.sha256),
            picture=PictureAnnounced(sha256=digest, bytes=len(jpeg)) if jpeg else None,
        )


class EdgeBox:
    """All threads of one box: a reader for each camera, the looker, the sender, and paho's own."""

    def __init__(
        self,
        settings: EdgeSettings,
        model: Model,
        outbox: Outbox,
        publisher: Publisher,
        clock: Timekeeper,
        opener: Opener,
    ) -> None:
        confidence = settings.model.confidence or model.card.confidence
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._watches = [
            Watch(camera, Stream(camera.id, camera.url, opener, clock, camera.interval_s), clock.monotonic())
            for camera in settings.cameras
        ]
        self._told_looks = [0] * len(self._watches)
        self._ledger = Ledger(outbox, clock)
        self._looker = Looker(settings.edge, model, confidence, self._watches, clock, self._keep)

    def run(self, stop: threading.Event) -> None:
        """Until stopped; returns within two seconds then, whatever a camera or the network is doing."""
        runs = [watch.stream.run for watch in self._watches] + [self._looker.run, self._publisher.run]
        # Daemons: a reader may be inside a network time-out when the box is told to stop, and has nothing to lose.
        threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
        self._publisher.start()
        for thread in threads:
            thread.start()
        while not stop.wait(STATUS_S):
            self.step()
        self._ledger.save(ending=True)
        self._publisher.wake()
        threads[-1].join(GOODBYE_S)
        threads[-2].join(GOODBYE_S)
        self._publisher.stop()
        self._outbox.close()

    def step(self) -> None:
        """Tell the sender how the cameras are, and the ledger."""
        now = self._clock.monotonic()
        states = {watch.settings.id: watch.status(now) for watch in self._watches}
        self._publisher.tell(states)
        looks = [watch.looks for watch in self._watches]
        for watch, done, told in zip(self._watches, looks, self._told_looks, strict=True):
            state = states[watch.settings.id].state
            judged: CameraState = "ok" if state == "resized" else state
            self._ledger.note(watch.settings.id, watch.settings.preset, judged, done - told)
        self._told_looks = looks
        self._ledger.save()

    def _keep(self, sighting: Sighting, jpeg: bytes | None) -> None:
        self._outbox.put(sighting, jpeg, self._clock.now())
        self._publisher.wake()


def _points(hits: Sequence[Hit]) -> list[TrackPoint]:
    """The track for the wire: the first point, which dates it, and the newest of the rest."""
    kept = [hits[0], *hits[1:][-(MOST_TRACK_POINTS - 1) :]]
    return [TrackPoint(at=hit.at, box=_rounded(hit), confidence=round(hit.confidence, 4)) for hit in kept]


def _rounded(hit: Hit) -> tuple[float, float, float, float]:
    """Five decimals: a hundredth of a pixel."""
    x1, y1, x2, y2 = (round(value, 5) for value in hit.box)
    return x1, y1, x2, y2
