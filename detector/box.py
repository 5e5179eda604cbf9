# SPDX-License-Identifier: AGPL-3.0-or-later
"""The edge box: several cameras, one model that looks at them in turn, one outbox, one sender."""

from __future__ import annotations

import hashlib
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from detector.camera.patrol import Patrol
from detector.camera.ptz import Head, OnvifHead
from detector.camera.stream import Opener, Stream
from detector.clock import Clock
from detector.config import CameraSettings, EdgeSettings
from detector.coverage import Ledger
from detector.errors import ConfigError
from detector.frame import Frame
from detector.judgement.confirm import Confirmed
from detector.judgement.eye import NOTHING_KNOWN, Eye, Knowledge, Thresholds
from detector.judgement.hits import Hit
from detector.judgement.judge import judge
from detector.judgement.onset import Search
from detector.link.outbox import Outbox
from detector.link.publisher import Publisher
from detector.link.timekeeper import Timekeeper
from detector.picture import encode_jpeg
from detector.preview.gallery import Gallery
from detector.vision.model import Model
from detector.watch import Spot, Watch
from detector.wire import (
    MOST_TRACK_POINTS,
    CameraState,
    Interval,
    ModelName,
    Onset,
    PictureAnnounced,
    Sighting,
    Size,
    TrackPoint,
    as_text,
)

log = logging.getLogger(__name__)

NOTHING_SLOW: Mapping[str, str] = {}
MOST_SEARCHES = 8
"""Sightings whose beginning is looked for, one after the other; beyond these the oldest keep the T0 they have."""
PATIENCE_S = 20.0
"""Looking back is for when nothing is due; after so long it goes on between two looks."""
STATUS_S = 0.5
GOODBYE_S = 1.0
LAST_LOOK_S = 10.0
"""A look takes a second or two on the slowest machine."""


class Looker:
    """The one that runs the model: always the camera that has waited longest."""

    def __init__(
        self,
        edge: str,
        model: Model,
        watches: Sequence[Watch],
        clock: Timekeeper,
        keep: Callable[[Sighting, bytes | None], None],
        keep_onset: Callable[[Onset, Mapping[str, bytes]], None],
        gallery: Gallery | None = None,
    ) -> None:
        self._edge = edge
        self._model = model
        self._watches = watches
        self._clock = clock
        self._keep = keep
        self._keep_onset = keep_onset
        self._searches: deque[tuple[float, Search]] = deque(maxlen=MOST_SEARCHES)
        self._gallery = gallery
        self.stepped_at = clock.monotonic()
        self.look_seconds = 0.0

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
        now = self.stepped_at = self._clock.monotonic()
        due_at, watch = min(((each.due(now), each) for each in self._watches), key=lambda each: each[0])
        if due_at > now:
            return 0.0 if self._look_back() else due_at - now
        if self._searches and now - self._searches[0][0] > PATIENCE_S:
            self._look_back()
        frame = watch.take(now)
        if frame is not None:
            try:
                self._judge(watch, frame)
            finally:
                watch.plan(now)
        return 0.0

    def _judge(self, watch: Watch, frame: Frame) -> None:
        before = watch.confirmer.suspicious
        confidence = watch.eye.threshold(frame.image)
        hits, sightings = judge(self._model, watch.confirmer, frame, confidence, watch.eye.sift, watch.spot.gaze)
        watch.judged(frame, self._clock.monotonic())
        self.look_seconds = watch.judged_at - self.stepped_at
        if hits:
            watch.remember(frame)
        if self._gallery is not None:
            self._gallery.show(frame, watch.eye.preset, hits, watch.eye.dropped)
        if hits and watch.confirmer.suspicious and not before:
            log.info("camera %s: suspicion, %s %.2f", frame.camera, hits[0].label, hits[0].confidence)
        for confirmed in sightings:
            watch.sightings, watch.confirmed_at = watch.sightings + 1, watch.judged_at
            jpeg = encode_jpeg(frame.image, watch.veil)
            sighting = self._sighting(watch, frame, confirmed, jpeg)
            log.info(
                "camera %s: SMOKE confirmed, %s %.2f, sighting %s",
                frame.camera,
                sighting.label,
                sighting.confidence,
                sighting.id,
            )
            self._keep(sighting, jpeg)
            search = Search(sighting, watch.history.frames(watch.spot.preset), watch.veil)
            self._searches.append((self._clock.monotonic(), search))

    def _look_back(self) -> bool:
        """One inference for the oldest sighting whose beginning is still looked for; False when there is none."""
        if not self._searches:
            return False
        search = self._searches[0][1]
        if search.step(self._model):
            return True
        self._searches.popleft()
        found = search.result(self._clock)
        if found is None:
            log.info("sighting %s: the kept frames do not tell when its smoke first showed", search.sighting.id)
        else:
            log.info("sighting %s: smoke showed by %s", search.sighting.id, as_text(found[0].t0.latest))
            self._keep_onset(*found)
        return True

    def _sighting(self, watch: Watch, frame: Frame, confirmed: Confirmed, jpeg: bytes | None) -> Sighting:
        """Mint the sighting: its id is made here, once, and never again."""
        camera = watch.settings
        hit = confirmed.hits[-1]
        now = self._clock.now()
        width, height = frame.size
        digest = hashlib.sha256(jpeg).hexdigest() if jpeg else ""
        return Sighting(
            id=str(uuid.uuid4()),
            edge=self._edge,
            camera=camera.id,
            preset=watch.spot.preset,
            t0=Interval(earliest=confirmed.earliest, latest=confirmed.latest),
            t1=now,
            sent_at=now,
            clock=self._clock.stamp(now),
            label=hit.label,
            light=watch.eye.light,
            confidence=round(hit.confidence, 4),
            box=_rounded(hit),
            frame=Size(width=width, height=height),
            view=watch.view,
            moving=watch.patrol is not None and watch.view is None,
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
        knowledge: Knowledge = NOTHING_KNOWN,
        heads: Callable[[str], Head] = OnvifHead,
        slow: Mapping[str, str] = NOTHING_SLOW,
        gallery: Gallery | None = None,
    ) -> None:
        thresholds = Thresholds(settings.model.confidence or model.card.confidence, settings.model.profiles)
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self.watches = [
            Watch(
                camera,
                Stream(camera.id, camera.url, opener, clock, camera.interval_s),
                clock.monotonic(),
                Eye(camera.id, camera.preset, thresholds, knowledge),
                patrol=_patrol(camera, clock, heads),
                slow=slow.get(camera.id),
                history=settings.history,
            )
            for camera in settings.cameras
        ]
        self._told_looks: dict[Spot, int] = {}
        self._ledger = Ledger(outbox, clock)
        self.looker = Looker(settings.edge, model, self.watches, clock, self._keep, self._keep_onset, gallery)

    def run(self, stop: threading.Event) -> None:
        """Until stopped, and until what was being looked at is judged and kept; a camera or a network that does not
        answer is waited for no longer than a second."""
        readers = [watch.stream.run for watch in self.watches]
        readers += [watch.patrol.run for watch in self.watches if watch.patrol]
        # Daemons: a reader may be inside a network time-out when the box is told to stop, and has nothing to lose.
        # All else is waited for: a thread inside the model's library when Python ends would abort the process.
        reading = [threading.Thread(target=run, args=(stop,), daemon=True) for run in readers]
        looking = threading.Thread(target=self.looker.run, args=(stop,), daemon=True)
        sending = threading.Thread(target=self._publisher.run, args=(stop,), daemon=True)
        self._publisher.start()
        for thread in (*reading, looking, sending):
            thread.start()
        while not stop.wait(STATUS_S):
            self.step()
        self._join([looking], LAST_LOOK_S)
        self._ledger.save(ending=True)
        self._publisher.wake()
        self._join([sending, *reading], GOODBYE_S)
        self._publisher.stop()
        self._outbox.close()

    def _join(self, threads: Sequence[threading.Thread], timeout_s: float) -> None:
        """Wait until all have ended, so long together at most."""
        end = self._clock.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, end - self._clock.monotonic()))

    def step(self) -> None:
        """Tell the sender how the cameras are, and the ledger."""
        now = self._clock.monotonic()
        states = {watch.settings.id: watch.status(now) for watch in self.watches}
        self._publisher.tell(states)
        for watch in self.watches:
            for spot, state in watch.states(now):
                judged: CameraState = "ok" if state == "resized" else state
                done, told = spot.looks, self._told_looks.get(spot, 0)
                self._ledger.note(watch.settings.id, spot.preset, judged, done - told)
                self._told_looks[spot] = done
        self._ledger.save()

    def _keep(self, sighting: Sighting, jpeg: bytes | None) -> None:
        self._outbox.put(sighting, jpeg, self._clock.now())
        self._publisher.wake()

    def _keep_onset(self, onset: Onset, jpegs: Mapping[str, bytes]) -> None:
        self._outbox.put_onset(onset, jpegs, self._clock.now())
        self._publisher.wake()


def _patrol(camera: CameraSettings, clock: Clock, heads: Callable[[str], Head]) -> Patrol | None:
    """Of a camera that goes round, None for one that stands still; raises ConfigError when nobody can turn it."""
    if camera.patrol is None:
        return None
    address = camera.ptz
    if address is None:
        raise ConfigError(f"camera {camera.id} has a patrol but no ptz: write where its mount answers ONVIF")
    presets = {preset.name: preset.device or preset.name for preset in camera.patrol.presets}
    return Patrol(camera.id, presets, camera.patrol, lambda: heads(address), clock)


def _points(hits: Sequence[Hit]) -> list[TrackPoint]:
    """The track for the wire: the first point, which dates it, and the newest of the rest."""
    kept = [hits[0], *hits[1:][-(MOST_TRACK_POINTS - 1) :]]
    return [TrackPoint(at=hit.at, box=_rounded(hit), confidence=round(hit.confidence, 4)) for hit in kept]


def _rounded(hit: Hit) -> tuple[float, float, float, float]:
    """Five decimals: a hundredth of a pixel."""
    x1, y1, x2, y2 = (round(value, 5) for value in hit.box)
    return x1, y1, x2, y2
