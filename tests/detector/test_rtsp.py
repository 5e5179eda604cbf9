# SPDX-License-Identifier: AGPL-3.0-or-later
"""The reader against lookout cameras over real RTSP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import pytest

from camera_sim.server import CameraServer, open_camera
from detector.camera.rtsp import RtspSource
from detector.camera.stream import Stream
from detector.clock import SystemClock
from detector.errors import StreamError
from tests.detector.live import noise
from tests.detector.make import StillClock

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


def frames_until(stream: Stream, wanted: Callable[[], bool]) -> None:
    """Step, looking at each new picture."""
    seen = stream.index
    end = time.monotonic() + 20
    while time.monotonic() < end:
        stream.step()
        if stream.index != seen:
            seen = stream.index
            stream.newest()
        if wanted():
            return
    raise AssertionError(f"the camera is {stream.health()} after {stream.index} pictures")


def test_broken_video_is_named_survived_and_over(cameras: CameraServer, stream: Stream) -> None:
    """Damaged H.264 over RTSP: said while it lasts, and pictures come again when it is whole."""
    step_until(stream, "ok")
    cameras.spoil(CAMERA, damaged=True)
    frames_until(stream, lambda: "damaged video" in str(stream.health().reason))
    cameras.spoil(CAMERA)
    before = stream.index
    frames_until(stream, lambda: stream.index > before + 2)
    assert stream.health().state == "ok"


def test_time_stamps_that_jump_back_over_rtsp_are_named(cameras: CameraServer, stream: Stream) -> None:
    """The camera's clock set back by an hour: said, and capture times go on by the box's."""
    step_until(stream, "ok")
    first = stream.newest()
    cameras.spoil(CAMERA, back_s=3600)
    frames_until(stream, lambda: "jumped back" in str(stream.health().reason))
    before = stream.index
    frames_until(stream, lambda: stream.index > before)
    second = stream.newest()
    assert first is not None
    assert second is not None
    assert 0 < (second.captured_at - first.captured_at).total_seconds() < 3000


def test_an_uneven_frame_rate_is_survived(cameras: CameraServer, stream: Stream) -> None:
    """Keyframes alone for two seconds, all pictures for the next two: pictures go on coming, and nothing is wrong."""
    step_until(stream, "ok")
    cameras.spoil(CAMERA, uneven=True)
    stream.want(0.2)
    before = stream.index
    frames_until(stream, lambda: stream.index > before + 25)
    assert stream.health().state == "ok"
    assert stream.health().reason is None


def test_a_camera_whose_picture_stops_while_its_sound_goes_on_is_down(tmp_path: Path) -> None:
    """As when its encoder hangs: it is given up like one that says nothing, and connected to anew."""
    path, clock = tmp_path / "camera.ts", StillClock()
    record(path, pictures=50, seconds=12)
    source = RtspSource(str(path), clock)
    with pytest.raises(StreamError, match="no whole picture for 30 s"):
        read_for(60, source, clock)
    source.close()
    assert 40 < clock.seconds < 50  # pictures came for the first ten


def read_for(seconds: float, source: RtspSource, clock: StillClock) -> None:
    """Ten packets a second."""
    while clock.seconds < seconds:
        source.read(0.1)
        clock.seconds += 0.1


def record(path: Path, pictures: int, seconds: int) -> None:
    """A recording of so many pictures, 25 a second, and so many seconds of silence."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg2video", rate=25, options={"g": "12"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = container.add_stream("mp2", rate=48_000)
        for number in range(pictures):
            container.mux(video.encode(av.VideoFrame.from_ndarray(noise(number), format="bgr24")))
        container.mux(video.encode(None))
        for at in range(0, seconds * 48_000, 1152):
            silence = av.AudioFrame(format="s16", layout="stereo", samples=1152)
            silence.sample_rate, silence.pts = 48_000, at
            container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
