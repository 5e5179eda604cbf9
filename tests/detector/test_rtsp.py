# SPDX-License-Identifier: AGPL-3.0-or-later
"""The reader against lookout cameras over real RTSP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from camera_sim.server import CameraServer, open_camera
from detector.clock import SystemClock
from detector.errors import StreamError
from detector.rtsp import RtspSource
from detector.stream import Stream
from tests.detector.live import noise

CAMERA = "recording"


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[CameraServer]:
    """One camera that plays thirty pictures in a loop."""
    folder = tmp_path / CAMERA
    folder.mkdir()
    for number in range(30):
        cv2.imwrite(str(folder / f"{number:02d}.png"), noise(number))
    with CameraServer([open_camera(folder, fps=10)]) as server:
        yield server


@pytest.fixture
def stream(cameras: CameraServer) -> Iterator[Stream]:
    opened = Stream("cam-1", cameras.url(CAMERA), RtspSource, SystemClock(), 2.0)
    yield opened
    opened._close()


def step_until(stream: Stream, state: str, more: int = 2000) -> None:
    """Step, looking at each new picture, until the camera is in `state`."""
    seen = 0
    for _ in range(more):
        stream.step()
        if stream.index != seen:
            seen = stream.index
            stream.newest()
        if stream.health().state == state:
            return
    raise AssertionError(f"the camera is {stream.health()}, not {state}")


def test_a_picture_comes_over_rtsp(stream: Stream) -> None:
    """Connect, take pictures, and they are of the camera's size."""
    step_until(stream, "ok")
    frame = stream.newest()
    assert frame is not None
    assert frame.size == (320, 240)


def test_a_camera_that_drops_us_is_back_when_it_is(cameras: CameraServer, stream: Stream) -> None:
    """Cut off and refused for a moment: named, then well again, by stepping on."""
    step_until(stream, "ok")
    cameras.drop(CAMERA)
    step_until(stream, "stream_down")
    step_until(stream, "ok")


def test_a_camera_that_says_nothing_is_noticed(cameras: CameraServer, stream: Stream) -> None:
    """The connection stands but no packet comes: down within seconds."""
    step_until(stream, "ok")
    cameras.stall(CAMERA)
    step_until(stream, "stream_down")


def test_a_camera_that_changes_its_size_is_noticed(cameras: CameraServer, stream: Stream) -> None:
    """Without a word, in flight, as cameras do."""
    step_until(stream, "ok")
    cameras.resize(CAMERA, 640, 480)
    step_until(stream, "resized")


def test_a_wrong_path_is_named(cameras: CameraServer) -> None:
    """The sentence says what to check."""
    with pytest.raises(StreamError, match="knows no such stream: check the path in its URL"):
        RtspSource(cameras.url(CAMERA) + "-2", SystemClock())
