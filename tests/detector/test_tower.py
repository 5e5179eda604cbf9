# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera that turns, whole: real RTSP, real ONVIF, pictures that move, the box's own patrol, looks and ledger."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camera_sim.onvif import OnvifServer
from camera_sim.scene import LitFire, Scene
from camera_sim.server import CameraServer, open_camera
from detector.box import Looker
from detector.camera.patrol import Patrol
from detector.camera.ptz import OnvifHead
from detector.camera.rtsp import RtspSource
from detector.camera.stream import Stream
from detector.clock import SystemClock
from detector.config import CameraSettings
from detector.coverage import Ledger
from detector.frame import Image
from detector.judgement.eye import NOTHING_KNOWN, Eye, Thresholds
from detector.link.outbox import Outbox
from detector.link.timekeeper import Timekeeper
from detector.vision.model import Detection
from detector.watch import Watch
from detector.wire import Sighting
from tests.camera_sim.make import spec
from tests.detector.test_box import CARD
from tests.detector.test_patrol import nothing
from tests.detector.test_publisher import EDGE

STANDING = 4.5
"""Grey levels from the drawn view, in the mean: 2.5 after the camera's compression, 7 and more half a degree aside."""
WEST, NORTH = {"pan_deg": 281, "tilt_deg": -2.5}, {"pan_deg": 311, "tilt_deg": -2.5}
VIEWS = {"west": {"pan": 281, "tilt": -2.5, "hfov": 32}, "north": {"pan": 311, "tilt": -2.5, "hfov": 32}}


class Witness:
    """A model that sees the fires that the camera truly has in its picture, and remembers which pictures moved."""

    card = CARD
    backend = "witness"

    def __init__(self, cameras: CameraServer, scene: Scene) -> None:
        self._cameras, self._scene = cameras, scene
        self.moving: list[bool] = []

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        now, mount = self._cameras.scene_s("tower"), self._cameras.mount("tower")
        # By the picture itself: when it is judged, the mount may be on its way again.
        stills = [self._scene.still(view).astype(np.int16) for view in self._scene.drawn()]
        self.moving.append(min(float(np.abs(image - still).mean()) for still in stills) > STANDING)
        feet = [self._scene.base(fire, mount.view(now)) for fire in self._scene.fires if _burns(fire, now)]
        height, width = image.shape[:2]
        return [
            Detection((x * width - 9, y * height - 25, x * width + 9, y * height), 0.8, "smoke")
            for x, y in (foot for foot in feet if foot)
            if 0.1 < x < 0.9 and 0.2 < y < 0.95
        ]


def _burns(fire: LitFire, now: float) -> bool:
    return fire.start_s + 3 <= now < fire.stop_s


class Tower:
    """The box's part, each thread as the box runs it."""

    def __init__(self, device: OnvifServer, scene: Scene, folder: Path, **patrol: Any) -> None:
        clock = Timekeeper(SystemClock())
        url = device.cameras.url("tower")
        presets = [{"name": name, "view": view} for name, view in VIEWS.items()]
        round_ = {"dwell_s": 1, "slew_s": 1.5, "settle_s": 0.3, "manual_s": 1, "presets": presets} | patrol
        settings = CameraSettings.model_validate(
            {
                "id": "tower",
                "url": url,
                "interval_s": 0.5,
                "burst_interval_s": 0.5,
                "ptz": device.url,
                "patrol": round_,
            }
        )
        assert settings.patrol is not None
        heads = {name: name for name in VIEWS}
        self.patrol = Patrol("tower", heads, settings.patrol, lambda: OnvifHead(device.url, 2), clock)
        stream = Stream("tower", url, RtspSource, clock, 2)
        eye = Eye("tower", None, Thresholds(0.25), NOTHING_KNOWN)
        self.watch = Watch(settings, stream, clock.monotonic(), eye, self.patrol)
        self.model = Witness(device.cameras, scene)
        self.kept: list[Sighting] = []
        self._looker = Looker(EDGE, self.model, [self.watch], clock, lambda one, _: self.kept.append(one), nothing)
        self.outbox = Outbox(folder / "outbox.sqlite")
        self.ledger = Ledger(self.outbox, clock)
        self._clock = clock

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        runs = (self.watch.stream.run, self.patrol.run, self._looker.run)
        threads = [threading.Thread(target=run, args=(stop,), daemon=True) for run in runs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
            self.outbox.close()

    def until(self, wanted: Callable[[], bool], patience_s: float = 60) -> None:
        """Wait, keeping the ledger."""
        end = time.monotonic() + patience_s
        while not wanted():
            assert time.monotonic() < end, (self.patrol.stance, self.patrol.blind, self.patrol.note, self.state)
            for spot, state in self.watch.states(self._clock.monotonic()):
                self.ledger.note("tower", spot.preset, state, 0)
            time.sleep(0.1)

    @property
    def state(self) -> str:
        return self.watch.status(self._clock.monotonic()).state

    def looks(self, preset: str) -> int:
        return next(spot.looks for spot in self.watch.spots if spot.preset == preset)

    def recorded(self) -> dict[str | None, set[str]]:
        """The states on record, by preset."""
        self.ledger.save(ending=True)
        reports = [self.outbox.coverage(key) for key in self.outbox.due("coverage", 99)]
        return {report.preset: {run.state for run in report.runs} for report in reports if report}


@pytest.fixture
def device() -> Iterator[tuple[OnvifServer, Scene]]:
    """A lookout camera that turns 40 degrees a second between two presets 30 degrees apart."""
    presets = [{"name": "west", "hfov_deg": 32} | WEST, {"name": "north", "hfov_deg": 32} | NORTH]
    camera = open_camera(spec("tower", ptz={"presets": presets}, villages=[], hills=[]))
    scene: Scene = camera.source.scene  # type: ignore[attr-defined]
    with CameraServer([camera]) as cameras, OnvifServer(cameras, "tower") as onvif:
        yield onvif, scene


def test_a_fire_at_one_preset_of_a_patrol(device: tuple[OnvifServer, Scene], tmp_path: Path) -> None:
    """Both presets are looked at in turn; smoke at the second is told once, from there; a hand that takes the camera is
    left alone, on record; and then the round goes on."""
    onvif, scene = device
    tower = Tower(onvif, scene, tmp_path)
    with tower.running():
        tower.until(lambda: tower.looks("west") >= 2 and tower.looks("north") >= 2)
        onvif.cameras.ignite("tower", bearing_deg=309, range_m=900)
        tower.until(lambda: bool(tower.kept))
        sighting = tower.kept[0]
        assert (sighting.preset, sighting.moving) == ("north", False)
        assert sighting.view is not None
        assert sighting.view.model_dump() == VIEWS["north"]
        foot = scene.base(scene.fires[0], replace(scene.view, pan_deg=311))
        assert foot is not None
        assert (sighting.box[0] + sighting.box[2]) / 2 == pytest.approx(foot[0], abs=0.02)
        looks = tower.looks("west")
        tower.until(lambda: tower.looks("west") > looks)
        onvif.cameras.turn("tower", 200, -5)
        tower.until(lambda: tower.state == "manual")
        looks = tower.looks("west")
        tower.until(lambda: tower.looks("west") > looks and tower.state == "ok")
        assert len(tower.kept) == 1
        for states in tower.recorded().values():
            assert {"ok", "manual"} <= states <= {"starting", "ok", "manual", "away"}


def test_a_mount_that_lies_is_found_out_by_the_picture(device: tuple[OnvifServer, Scene], tmp_path: Path) -> None:
    """It says at once that it has arrived: the picture, which still moves, is not judged before it stands."""
    onvif, scene = device
    onvif.cameras.mount("tower").ptz = onvif.cameras.mount("tower").ptz.model_copy(update={"pan_deg_s": 15.0})
    onvif.fault = "lies"
    tower = Tower(onvif, scene, tmp_path, settle_s=0.2)
    notes = set()
    with tower.running():

        def gone_round() -> bool:
            notes.add(tower.patrol.note)
            return tower.looks("west") >= 2 and tower.looks("north") >= 2

        tower.until(gone_round)
    assert "its mount says that it stands while the picture moves" in notes
    assert not any(tower.model.moving)
