# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stopping a box: what was begun is finished and kept."""

from __future__ import annotations

import threading
from pathlib import Path

from detector.box import EdgeBox
from detector.clock import SystemClock
from detector.config import read_settings
from detector.frame import Image
from detector.link.outbox import Outbox
from detector.link.publisher import Publisher
from detector.link.timekeeper import Timekeeper
from detector.vision.model import Detection
from tests.detector.make import StillClock
from tests.detector.test_box import ScriptedModel, SteadySource, StillPicture, write_settings
from tests.detector.test_publisher import EDGE


class SlowModel(ScriptedModel):
    """Its first look goes on after the box was told to stop: for seconds, or until the box has ended without it."""

    def __init__(self, stop: threading.Event, over: threading.Event) -> None:
        super().__init__(StillClock())
        self.finished = False
        self._stop, self._over = stop, over

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        self._stop.set()
        self.finished = not self._over.wait(1.5)
        return []


class CalmSource(SteadySource):
    """A camera with some pictures a second."""

    def read(self, every_s: float) -> StillPicture:
        threading.Event().wait(0.02)
        return super().read(every_s)


def test_the_look_that_was_begun_is_finished_before_the_box_ends(tmp_path: Path) -> None:
    """Its finds would be lost with a closed outbox, and Python may not end while a thread is inside the model."""
    settings = read_settings(write_settings(tmp_path, 1, "rtsp://127.0.0.1/320"))
    stop, over = threading.Event(), threading.Event()
    outbox, clock = Outbox(settings.outbox_path()), Timekeeper(SystemClock())
    publisher = Publisher(EDGE, settings.broker_access(), outbox, clock)
    model = SlowModel(stop, over)
    EdgeBox(settings, model, outbox, publisher, clock, CalmSource).run(stop)
    over.set()
    assert model.finished
