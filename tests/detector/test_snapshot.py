# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that give single pictures over HTTP, good and bad."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from camera_sim.auth import Credentials
from camera_sim.control import ControlServer
from camera_sim.server import CameraServer, open_camera
from detector.camera.snapshot import FAULTS_RUNNING, SnapshotSource, gives_pictures
from detector.camera.source import open_source
from detector.camera.stream import Stream
from detector.clock import SystemClock
from detector.errors import StreamError
from tests.detector.live import noise
from tests.detector.make import StillClock

Answer = Callable[[BaseHTTPRequestHandler, int], None]
JPEG = cv2.imencode(".jpg", noise(1))[1].tobytes()


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a camera that answers as told; the number counts the requests from 0."""
    numbers = iter(range(10**6))
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, next(numbers))

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/snapshot.jpg"
        finally:
            over.set()
            server.shutdown()
            thread.join()


def send(request: BaseHTTPRequestHandler, body: bytes, kind: str = "image/jpeg") -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[tuple[CameraServer, str]]:
    """A simulated camera behind a password, and the address of its snapshots."""
    folder = tmp_path / "recording"
    folder.mkdir()
    for number in range(30):
        cv2.imwrite(str(folder / f"{number:02d}.png"), noise(number))
    server = CameraServer([open_camera(folder, fps=10)], credentials=Credentials("viewer", "right"))
    with server, ControlServer(server) as control:
        yield server, f"http://viewer:right@127.0.0.1:{control.port}/cameras/recording/snapshot.jpg"


def test_a_snapshot_address_is_a_camera(cameras: tuple[CameraServer, str]) -> None:
    """Known by what it answers, behind digest authentication; new pictures come, down while stalled, and back."""
    server, url = cameras
    clock = StillClock()
    stream = Stream("cam-1", url, open_source, clock, 2.0)
    stream.step()
    first = stream.newest()
    assert first is not None
    assert first.size == (320, 240)
    clock.seconds += 2
    assert stream.step() == 0
    assert stream.index == 2
    assert stream.health().state == "ok"
    server.stall("recording")
    clock.seconds += 2
    assert stream.step() > 0
    assert stream.health().state == "stream_down"
    assert "answers 503" in str(stream.health().reason)
    server.unfreeze("recording")
    stream.step()
    assert stream.health().state == "ok"


def test_it_is_asked_no_more_often_than_wanted(cameras: tuple[CameraServer, str]) -> None:
    """One picture an interval; a shorter one, as in a burst, counts at once."""
    clock = StillClock()
    source = SnapshotSource(cameras[1], clock)
    assert source.read(2.0) is not None
    clock.seconds += 1
    assert source.read(2.0) is None
    assert source.read(1.0) is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("right", "wrong"), "refuses the password"),
        (("recording", "nobody"), "knows no such picture"),
    ],
)
def test_what_is_wrong_with_an_address_is_named(
    cameras: tuple[CameraServer, str], change: tuple[str, str], words: str
) -> None:
    """One phrase with the mend, and no password in it."""
    with pytest.raises(StreamError, match=words) as caught:
        open_source(cameras[1].replace(*change), SystemClock()).read(1)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "single"),
    [
        ("http://10.0.0.1/ISAPI/Streaming/channels/101/picture", True),
        ("http://10.0.0.1/axis-cgi/jpg/image.cgi", True),
        ("http://10.0.0.1/cgi-bin/api.cgi?cmd=Snap", True),
        ("http://10.0.0.1/anything#snapshot", True),
        ("http://10.0.0.1/mjpg/video.mjpg", False),
        ("http://10.0.0.1/live.ts", False),
    ],
)
def test_single_pictures_are_known_by_their_address(url: str, single: bool) -> None:
    """As makers of cameras call them; what else there is at HTTP is video."""
    assert gives_pictures(url) is single


def test_half_a_picture_is_said_and_survived() -> None:
    """A torn JPEG is a fault; the next whole one is taken."""
    clock = StillClock()
    with serving(lambda request, n: send(request, JPEG[: len(JPEG) // 2] if n == 1 else JPEG)) as url:
        stream = Stream("cam-1", url, lambda url, clock: SnapshotSource(url, clock), clock, 1.0)
        for _ in range(3):
            assert stream.step() == 0
            clock.seconds += 1
        assert stream.index == 2
        assert "damaged picture" in str(stream.health().reason)
        assert np.abs(stream.newest().image.astype(int) - noise(1)).mean() < 12  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda request, n: send(request, b"<html>no camera here</html>", "text/html"), "damaged pictures running"),
        (lambda request, n: threading.Event().wait(3), "does not answer"),
        (lambda request, n: [send(request, b""), [drip(request) for _ in range(40)]], "too long over one picture"),
        (lambda request, n: request.send_error(500), "answers 500"),
        (lambda request, n: request.connection.close(), "was lost"),
    ],
    ids=["a page", "silence", "a drip", "an error", "hung up"],
)
def test_what_is_no_picture_is_given_up(answer: Answer, words: str) -> None:
    """Each is named, and none holds the reader for longer than its time-out."""
    clock = StillClock()
    with serving(answer) as url:
        stream = Stream("cam-1", url, lambda url, clock: SnapshotSource(url, clock, read_s=0.6), clock, 0.5)
        for _ in range(FAULTS_RUNNING):
            if stream.step():
                break
            clock.seconds += 1
        assert stream.health().state == "stream_down"
        assert words in str(stream.health().reason)


def drip(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"x")
    request.wfile.flush()
    threading.Event().wait(0.1)
