# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box: which camera is looked at when, and what a sighting says."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.box import Looker
from detector.camera.stream import Stream
from detector.cli import main
from detector.config import CameraSettings
from detector.frame import Image
from detector.judgement.eye import NOTHING_KNOWN, Eye, Knowledge, Thresholds
from detector.link.timekeeper import Timekeeper
from detector.picture import encode_jpeg
from detector.preview.gallery import Gallery
from detector.vision.card import ModelCard
from detector.vision.model import Detection
from detector.watch import Watch
from detector.wire import MOST_PICTURE_BYTES, Onset, Sighting
from tests.detector.live import Camera, live, noise
from tests.detector.make import START, StillClock
from tests.detector.test_publisher import EDGE, eventually, serving
from tests.support.brokers import PASSWORDS, RunningBroker

CARD = ModelCard(name="scripted", sha256="a" * 64, classes=["smoke"], input=(64, 64))
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ +\S")
SMOKE = Detection((32.0, 24.0, 64.0, 48.0), 0.7, "smoke")


class ScriptedModel:
    """Sees what it is told to see, and remembers when it looked at pictures of which width."""

    card = CARD
    backend = "script"

    def __init__(self, clock: StillClock) -> None:
        self.sees: list[Detection] = []
        self.looks: list[tuple[float, int]] = []
        self._clock = clock

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        self.looks.append((self._clock.seconds, image.shape[1]))
        return [each for each in self.sees if each.confidence >= confidence]


class StillPicture:
    """A picture that is already decoded."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def pixels(self) -> Image:
        return self._image


class SteadySource:
    """A camera that has another picture at each step; its width stands at the end of its URL."""

    def __init__(self, url: str, clock: object) -> None:
        self._count = 0
        self._width = int(url.rsplit("/", 1)[-1])

    def read(self, every_s: float) -> StillPicture:
        self._count += 1
        return StillPicture(noise(self._count, (self._width, 240)))

    def faults(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


class Bench:
    """Cameras, a scripted model and a clock that stands still until told."""

    def __init__(
        self, *cameras: CameraSettings, knowledge: Knowledge = NOTHING_KNOWN, gallery: Gallery | None = None
    ) -> None:
        self.clock = StillClock()
        self.model = ScriptedModel(self.clock)
        self.keeper = Timekeeper(self.clock)
        self.kept: list[tuple[Sighting, bytes | None]] = []
        self.watches = [
            Watch(
                each,
                Stream(each.id, each.url, SteadySource, self.clock, 10),
                self.clock.monotonic(),
                Eye(each.id, each.preset, Thresholds(0.25), knowledge),
            )
            for each in cameras
        ]
        self.onsets: list[tuple[Onset, Mapping[str, bytes]]] = []
        self.looker = Looker(
            EDGE,
            self.model,
            self.watches,
            self.keeper,
            lambda *found: self.kept.append(found),
            lambda *found: self.onsets.append(found),
            gallery,
        )

    def run(self, seconds: float, tick: float = 0.5) -> None:
        """Let time pass; each camera has a new picture at each tick."""
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            for watch in self.watches:
                watch.stream.step()
            while self.looker.step() <= 0:
                pass
            self.clock.seconds += tick

    def times(self, width: int = 320) -> list[float]:
        """When the camera with pictures of this width was looked at."""
        return [at for at, of in self.model.looks if of == width]


def camera(name: str, width: int = 320, **more: object) -> CameraSettings:
    return CameraSettings.model_validate({"id": name, "url": f"rtsp://127.0.0.1/{width}"} | more)


def test_each_camera_is_looked_at_in_its_own_interval() -> None:
    """Two cameras, two intervals, one model; at first each view is soon made known."""
    bench = Bench(camera("west"), camera("east", 640, interval_s=5))
    bench.run(27)
    assert bench.times(320) == [0, 2, 4, 6, 16, 26]
    assert bench.times(640) == [0, 2, 4, 6, 11, 16, 21, 26]


def test_a_view_counts_as_watched_once_it_is_known() -> None:
    """Until the box can tell what is new in a view its time is not covered."""
    bench = Bench(camera("west"))
    bench.run(5)
    status = bench.watches[0].status(bench.clock.monotonic())
    assert (status.state, status.reason) == ("starting", "getting to know the view")
    bench.run(3)
    assert bench.watches[0].status(bench.clock.monotonic()).state == "ok"


def test_suspicion_turns_to_burst_and_confirms_in_seconds() -> None:
    """First seen at 16 s, confirmed at 18 s, then back to the interval; one sighting."""
    bench = Bench(camera("west"))
    bench.run(9)
    bench.model.sees = [SMOKE]
    bench.run(30)
    assert bench.times() == [0, 2, 4, 6, 16, 18, 28, 38]
    [(sighting, _)] = bench.kept
    assert sighting.t1 == START + timedelta(seconds=18)
    assert sighting.t0.earliest == START + timedelta(seconds=6)
    assert sighting.t0.latest == START + timedelta(seconds=16)


def test_a_false_suspicion_ends() -> None:
    """One glimpse costs a few more frames, then the interval is back."""
    bench = Bench(camera("west"))
    bench.run(9)
    bench.model.sees = [SMOKE]
    bench.run(8)
    bench.model.sees = []
    bench.run(60)
    assert bench.times()[4:6] == [16, 18]
    assert np.diff(bench.times())[-1] == 10
    assert bench.kept == []


def test_a_sighting_says_all_that_the_wire_asks_for() -> None:
    """Box and track as fractions, frame in pixels, the view as configured, the picture's own digest."""
    view = {"pan": 271.5, "tilt": -2.0, "hfov": 32.0}
    bench = Bench(camera("west", preset="p1", view=view))
    bench.run(9)
    bench.model.sees = [SMOKE]
    bench.run(10)
    [(sighting, jpeg)] = bench.kept
    assert jpeg is not None
    assert (sighting.edge, sighting.camera, sighting.preset, sighting.label) == (EDGE, "west", "p1", "smoke")
    assert sighting.box == (0.1, 0.1, 0.2, 0.2)
    assert [point.at for point in sighting.track] == [START + timedelta(seconds=each) for each in (16, 18)]
    assert (sighting.frame.width, sighting.frame.height) == (320, 240)
    assert sighting.view is not None
    assert sighting.view.model_dump() == view
    assert sighting.picture is not None
    assert sighting.picture.sha256 == hashlib.sha256(jpeg).hexdigest()
    assert sighting.picture.bytes == len(jpeg)
    assert sighting.model.name == "scripted"


def shape_of(jpeg: bytes) -> tuple[int, ...]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return tuple(image.shape)


def test_the_evidence_picture_fits_the_wire() -> None:
    """Full resolution up to 1920 wide; a picture that will not compress is compressed harder, up to the limit."""
    small = encode_jpeg(noise(1, (1280, 720)))
    assert small is not None
    assert shape_of(small) == (720, 1280, 3)
    wild = np.random.default_rng(1).integers(0, 256, (4000, 3840, 3), np.uint8)
    large = encode_jpeg(wild)
    assert large is not None
    assert len(large) <= MOST_PICTURE_BYTES
    assert shape_of(large) == (2000, 1920, 3)


@contextmanager
def box_process(folder: Path, broker: RunningBroker, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """`straw1530 detector run` as its own process, its log in folder/log."""
    write_settings(folder, broker.port, url)
    command = [sys.executable, "-m", "straw1530.cli", "detector", "run", str(folder / "edge.yaml")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def write_settings(folder: Path, port: int, url: str) -> Path:
    (folder / "password").write_text(PASSWORDS[EDGE])
    path = folder / "edge.yaml"
    path.write_text(
        f"edge: {EDGE}\ndata_dir: data\nmodel: {{threads: 1}}\n"
        f"broker: {{host: 127.0.0.1, port: {port}, username: {EDGE}, password_file: password}}\n"
        f"cameras:\n  - {{id: cam-1, url: '{url}', interval_s: 0.5, burst_interval_s: 0.5}}\n"
    )
    return path


def plume_script(shared: Path) -> list[Image]:
    folder = shared / "data" / "smoke" / "sequences" / "boucher-hill-west-2017-12-07"
    images = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))[:30]]
    return [np.asarray(image, np.uint8) for image in images if image is not None]


def test_from_stream_to_server_and_stopped_in_time(shared: Path, broker: RunningBroker, tmp_path: Path) -> None:
    """A real plume on a live stream arrives at the server with its picture; SIGTERM ends the box cleanly."""
    pictures = plume_script(shared)
    still = pictures[:1] * 50  # until the view is known: what stirs from the first look on is no news
    over = threading.Event()

    def script(camera: Camera) -> None:
        start = 0
        for picture in still + pictures * 10:
            camera.send([picture] * 3, group=3, start=start)
            start += 3
            if over.wait(0.3):
                return

    with serving(broker) as server, live(script) as url:
        with box_process(tmp_path, broker, url) as process:
            eventually(lambda: server.pictures, 90)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            eventually(lambda: server.status[-1]["online"] is False)
        over.set()
    message = server.messages[0]
    assert (message["edge"], message["camera"], message["label"]) == (EDGE, "cam-1", "smoke")
    assert 0.3 < (message["box"][0] + message["box"][2]) / 2 < 0.5
    assert hashlib.sha256(server.pictures[message["id"]]).hexdigest() == message["picture"]["sha256"]
    log = (tmp_path / "log").read_text()
    assert "SMOKE confirmed" in log
    assert [line for line in log.splitlines() if not LOG_LINE.match(line)] == []


def test_check_prints_a_table(broker: RunningBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each part on its own line, what fails with its mend, and the status says whether all is well."""

    def script(camera: Camera) -> None:
        camera.send([noise(number) for number in range(60)], group=5)
        camera.hold()

    with live(script) as url:
        path = write_settings(tmp_path, broker.port, url)
        path.write_text(path.read_text().replace("interval_s: 0.5", "interval_s: 10"))
        assert main(["check", str(path)]) == 1
        out = capsys.readouterr().out
        assert [line.split()[:2] for line in out.splitlines()] == [
            ["model", "ok"],
            ["broker", "ok"],
            ["clock", "FAIL"],
            ["disk", "ok"],
            ["camera", "cam-1"],
        ]
        assert "320x240" in out
        assert "is its engine running?" in out
    path = write_settings(tmp_path, 1, "rtsp://admin:secret@127.0.0.1:1/x")
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "127.0.0.1:1 cannot be reached" in out
    assert "refuses the connection: check host and port" in out
    assert "secret" not in out


def test_one_box_at_a_time(broker: RunningBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second box on the same data folder is refused with the reason."""
    with box_process(tmp_path, broker, "rtsp://127.0.0.1:1/x"):
        eventually(lambda: "connected to broker" in (tmp_path / "log").read_text(), 60)
        assert main(["run", str(tmp_path / "edge.yaml")]) == 2
    assert "another detector already runs" in capsys.readouterr().err


def test_bad_settings_stop_the_box_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, status 2."""
    assert main(["run", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_an_empty_outbox_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing there yet is no error."""
    assert main(["outbox", str(write_settings(tmp_path, 1, "rtsp://127.0.0.1:1/x"))]) == 0
    assert capsys.readouterr().out == "0 waiting, 0 refused\n"
