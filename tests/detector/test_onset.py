# SPDX-License-Identifier: AGPL-3.0-or-later
"""Looking back: when smoke first showed, after the alert and never before it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta

import cv2
import numpy as np

from detector.box import Looker
from detector.camera.stream import Stream
from detector.config import CameraSettings
from detector.frame import Frame, Image
from detector.judgement.eye import NOTHING_KNOWN, Eye, Thresholds
from detector.judgement.history import History
from detector.judgement.onset import Search
from detector.link.timekeeper import Timekeeper
from detector.vision.card import ModelCard
from detector.vision.model import Detection
from detector.watch import Watch
from detector.wire import Interval, Onset, Sighting
from tests.detector.make import START, StillClock, sighting
from tests.detector.test_box import StillPicture, camera
from tests.detector.test_publisher import EDGE

CARD = ModelCard(name="patch", sha256="a" * 64, classes=["smoke"], input=(64, 64), confidence=0.5)
GROUND = np.random.default_rng(1).integers(40, 120, (240, 320, 3), np.uint8)


class PatchModel:
    """Sees a white patch, the surer the larger it is against the picture: 0.5 from a 300th of it."""

    card = CARD
    backend = "patch"

    def __init__(self, clock: StillClock) -> None:
        self.looks: list[tuple[float, int]] = []
        self._clock = clock

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        self.looks.append((self._clock.seconds, image.shape[1]))
        rows, columns = np.nonzero(image.min(axis=2) > 200)
        if not rows.size:
            return []
        sure = min(1.0, 150 * rows.size / (image.shape[0] * image.shape[1]))
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        return [Detection(box, sure, "smoke")] if sure >= confidence else []


class Growing:
    """A camera: smoke stands at one place from `since` on and grows by two pixels a second each way."""

    def __init__(self, clock: StillClock, since: float, size: Callable[[float], float]) -> None:
        self._clock, self._since, self._size = clock, since, size

    def __call__(self, url: str, clock: object) -> Growing:
        return self

    def read(self, every_s: float) -> StillPicture:
        image = GROUND.copy()
        side = round(self._size(self._clock.seconds - self._since))
        if self._clock.seconds >= self._since and side > 0:
            cv2.rectangle(image, (150, 120 - side), (150 + side, 120), (255, 255, 255), -1)
        return StillPicture(image)

    def faults(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


class Tower:
    """One box with cameras that see smoke grow, its clock standing still until told."""

    def __init__(
        self,
        since: float,
        *cameras: CameraSettings,
        size: Callable[[float], float] = lambda s: 4 + 2 * s,
    ) -> None:
        self.clock = StillClock()
        self.model = PatchModel(self.clock)
        self.told: list[tuple[float, Sighting | Onset]] = []
        self.pictures: dict[str, bytes] = {}
        keeper = Timekeeper(self.clock)
        self.watches = [
            Watch(
                each,
                Stream(each.id, each.url, Growing(self.clock, since, size), self.clock, 10),
                self.clock.monotonic(),
                Eye(each.id, each.preset, Thresholds(CARD.confidence), NOTHING_KNOWN),
            )
            for each in cameras or (camera("west"),)
        ]
        self.looker = Looker(EDGE, self.model, self.watches, keeper, self._keep, self._keep_onset)

    def _keep(self, sighting: Sighting, jpeg: bytes | None) -> None:
        self.told.append((self.clock.seconds, sighting))
        self.pictures[sighting.id] = jpeg or b""

    def _keep_onset(self, onset: Onset, jpegs: Mapping[str, bytes]) -> None:
        self.told.append((self.clock.seconds, onset))
        self.pictures |= jpegs

    def run(self, seconds: float, tick: float = 0.5) -> None:
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            for watch in self.watches:
                watch.stream.step()
            while self.looker.step() <= 0:
                pass
            self.clock.seconds += tick


def test_the_beginning_is_found_between_two_looks() -> None:
    """Looked at every 10 s, the smoke's beginning is told to the second, with the frames on both sides of it."""
    tower = Tower(since=13)
    tower.run(60)
    (_, sighting), (_, onset) = tower.told
    assert isinstance(sighting, Sighting)
    assert isinstance(onset, Onset)
    assert sighting.t0.earliest == START + timedelta(seconds=6)
    assert sighting.t0.latest == START + timedelta(seconds=16)
    assert onset.sighting == sighting.id
    assert onset.t0.earliest is not None
    assert START + timedelta(seconds=12) <= onset.t0.earliest
    assert onset.t0.latest <= START + timedelta(seconds=16)
    assert onset.t0.latest - onset.t0.earliest == timedelta(seconds=1)
    assert onset.clean is not None
    assert onset.first is not None
    assert (onset.clean.at, onset.first.at) == (onset.t0.earliest, onset.t0.latest)
    for picture, name in ((onset.clean, "clean"), (onset.first, "first")):
        assert hashlib.sha256(tower.pictures[f"{onset.id}.{name}"]).hexdigest() == picture.sha256
    white = [_white(tower.pictures[f"{onset.id}.{name}"]) for name in ("clean", "first")]
    assert white[0] < white[1]


def _white(jpeg: bytes) -> int:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return int((image.min(axis=2) > 200).sum())


def test_the_alert_waits_for_no_look_back() -> None:
    """The sighting is kept before the first frame is looked back at, and looks that are due go first."""
    tower = Tower(12, camera("west"), camera("east", interval_s=5))
    tower.run(60)
    first_back = next(number for number, (_, width) in enumerate(tower.model.looks) if width == 160)
    assert [type(told) for _, told in tower.told].index(Sighting) == 0
    at = tower.model.looks[first_back][0]
    assert at >= tower.told[0][0]
    # All that was due at that moment had been looked at already.
    assert all(width == 160 for moment, width in tower.model.looks[first_back:] if moment == at)


def searched(shows: Callable[[int], bool], first: int = 40) -> tuple[Onset, dict[str, bytes]] | None:
    """Look back over a minute's frames, of which those of some seconds show smoke, from the one at `first`."""
    clock = StillClock()
    history = History(120, 1, 10**8)
    for second in range(60):
        image = GROUND.copy()
        if shows(second):
            cv2.rectangle(image, (150, 100), (170, 120), (255, 255, 255), -1)
        history.add(Frame(image, START + timedelta(seconds=second), second, second + 1, "west"), None)
    at = START + timedelta(seconds=first)
    found = sighting().model_copy(update={"t0": Interval(earliest=None, latest=at), "track": (), "box": PLACE})
    search = Search(found, history.frames(None))
    while search.step(PatchModel(clock)):
        pass
    return search.result(Timekeeper(clock))


PLACE = (150 / 320, 100 / 240, 170 / 320, 120 / 240)


def test_what_the_frames_cannot_tell_is_not_told() -> None:
    """Smoke in every kept frame, a place that always shows something now and then, a first frame kept no longer: the
    sighting keeps the T0 it has."""
    told = searched(lambda second: second >= 30)
    assert told is not None
    assert told[0].t0 == Interval(earliest=START + timedelta(seconds=29), latest=START + timedelta(seconds=30))
    assert searched(lambda _: True) is None
    assert searched(lambda second: second >= 30 or second % 5 < 3) is None
    assert searched(lambda second: second >= 30, first=70) is None


def test_a_flicker_does_not_end_the_search() -> None:
    """Smoke that is not seen in two frames of its beginning began before them."""
    tower = Tower(since=11, size=lambda s: 0 if 3 <= s < 5 else 12 + 2 * s)
    tower.run(60)
    onset = next(told for _, told in tower.told if isinstance(told, Onset))
    assert onset.t0.latest == START + timedelta(seconds=11)


def frame(second: float, size: int = 64) -> Frame:
    image = np.random.default_rng(int(10 * second)).integers(0, 256, (size, size, 3), np.uint8)
    return Frame(np.asarray(image, np.uint8), START + timedelta(seconds=second), second, int(second) + 1, "west")


def test_history_is_bounded_in_time_and_bytes() -> None:
    """Nothing older than asked; never more bytes than allowed, and then the older half with larger gaps."""
    one = len(_jpeg(frame(0)))
    history = History(60, 1, 20 * one)
    for second in range(100):
        history.add(frame(second), None)
        assert history.size <= 20 * one
    seconds = [(each.at - START).total_seconds() for each in history.frames(None)]
    assert seconds[-1] == 99
    assert 40 <= seconds[0] < 80
    gaps = np.diff(seconds)
    assert gaps[-5:].tolist() == [1.0] * 5
    assert gaps[0] > 1


def _jpeg(one: Frame) -> bytes:
    history = History(60, 1, 10**6)
    history.add(one, None)
    return history.frames(None)[0].jpeg


def test_history_keeps_order_and_views_apart() -> None:
    """A judged frame that comes late takes its place; the same moment is kept once; each view has its own."""
    history = History(60, 1, 10**7)
    for second in (1, 3, 2, 3):
        history.add(frame(second), "p1" if second != 2 else "p2")
    assert [(each.at - START).total_seconds() for each in history.frames("p1")] == [1, 3]
    assert len(history.frames("p2")) == 1
    assert not history.wants(START + timedelta(seconds=3.5))
    assert history.wants(START + timedelta(seconds=4))
