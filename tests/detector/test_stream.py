# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading live cameras that stall, freeze, break, change and come back."""

from __future__ import annotations

import io
import socket
from functools import partial

import av
import numpy as np
import pytest

from detector.camera.rtsp import RtspSource, without_password
from detector.camera.stream import Stream
from detector.clock import SystemClock
from detector.errors import StreamError
from tests.detector.live import Camera, Script, live, noise
from tests.detector.make import StillClock

QUICK = partial(RtspSource, open_s=5, read_s=1)


def many(first: int, count: int, size: tuple[int, int] = (320, 240)) -> list[np.ndarray]:
    return [noise(number, size) for number in range(first, first + count)]


def stream_of(url: str, clock: StillClock, every_s: float = 10) -> Stream:
    return Stream("cam-1", url, QUICK, clock, every_s)


def until(stream: Stream, index: int) -> None:
    """Step until the picture with this number is there; the camera must not fail before."""
    for _ in range(5000):
        if stream.index >= index:
            return
        assert stream.step() == 0, stream.health()
    raise AssertionError(f"picture {index} did not come")


def until_down(stream: Stream) -> float:
    """Step until the connection fails; returns the pause it asks for."""
    for _ in range(5000):
        pause = stream.step()
        if pause:
            return pause
    raise AssertionError("the connection did not fail")


def looks_like(image: np.ndarray, number: int) -> bool:
    height, width = image.shape[:2]
    return bool(np.abs(image.astype(int) - noise(number, (width, height))).mean() < 12)


def test_only_keyframes_are_decoded_while_they_suffice() -> None:
    """With a keyframe now and then and a slow interval, the newest keyframe is the newest picture."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 40), group=10)
        camera.hold()

    with live(script) as url:
        stream = stream_of(url, StillClock())
        until(stream, 3)
        frame = stream.newest()
        assert frame is not None
        assert (frame.index, frame.camera, frame.image.shape) == (3, "cam-1", (240, 320, 3))
        assert looks_like(frame.image, 20)
        stream._close()


def test_a_burst_decodes_all_and_starts_at_once() -> None:
    """When pictures are wanted more often than keyframes come, those between are decoded, from the last keyframe."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 60), group=1000)
        camera.hold()

    clock = StillClock()
    with live(script) as url:
        stream = stream_of(url, clock)
        until(stream, 1)
        for _ in range(10):
            stream.step()
        assert stream.index == 1
        stream.want(0.5)
        clock.seconds = 1
        until(stream, 5)
        frame = stream.newest()
        assert frame is not None
        assert not looks_like(frame.image, 0)
        stream._close()


def test_only_the_newest_picture_is_held() -> None:
    """Whoever comes late gets the newest, and the same picture again has the same number."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 30), group=5)
        camera.hold()

    with live(script) as url:
        stream = stream_of(url, StillClock())
        assert stream.newest() is None
        assert stream.health().state == "starting"
        until(stream, 4)
        first, second = stream.newest(), stream.newest()
        assert first is not None
        assert second is not None
        assert first.index == second.index == 4
        assert stream.health().state == "ok"
        stream._close()


def test_a_silent_camera_is_given_up_and_tried_again() -> None:
    """A server that says nothing more is noticed, named, and connected to again with growing pauses."""
    calls = []

    def script(camera: Camera) -> None:
        calls.append(1)
        camera.send(many(len(calls) * 100, 60), group=5)
        camera.hold()

    with live(script) as url:
        stream = stream_of(url, StillClock())
        until(stream, 1)
        assert until_down(stream) == 1
        health = stream.health()
        assert health.state == "stream_down"
        assert health.reason == "the camera does not answer: check that it is on and that the network reaches it"
        assert health.last_frame_at is not None


def test_a_camera_that_hangs_up_is_connected_to_again() -> None:
    """After the connection ends the next one is made, pictures go on counting, and all is well again."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 10), group=5)

    with live(script) as url:
        stream = stream_of(url, StillClock())
        until(stream, 1)
        until_down(stream)
        assert stream.health().state == "stream_down"
        before = stream.index
        until(stream, before + 1)
        assert stream.health().state == "ok"
        stream._close()


def test_pauses_grow_while_a_camera_is_away() -> None:
    """Nothing listening: the sentence says what to check, and attempts become rare."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    stream = stream_of(f"rtsp://127.0.0.1:{port}/x", StillClock())
    assert [stream.step() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert "refuses the connection: check host and port" in str(stream.health().reason)


def test_a_frozen_picture_is_noticed() -> None:
    """The same picture for longer than a live camera ever gives it is named; a new one clears it."""

    def script(camera: Camera) -> None:
        camera.send([noise(0)] * 20 + [noise(1)] * 20, group=5)
        camera.hold()

    clock = StillClock()
    with live(script) as url:
        stream = stream_of(url, clock)
        for index, state in ((1, "ok"), (2, "ok"), (3, "frozen")):
            until(stream, index)
            stream.newest()
            assert stream.health().state == state
            clock.seconds += 20
        while stream.step() == 0:
            frame = stream.newest()
            if frame is not None and looks_like(frame.image, 1):
                break
        assert stream.health().state == "ok"
        stream._close()


def test_a_change_of_size_is_noticed() -> None:
    """Another picture size in flight is decoded, and named until the first is back."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 10), group=5)
        camera.send(many(10, 15, (640, 480)), group=5, start=10)
        camera.hold()

    with live(script) as url:
        stream = stream_of(url, StillClock())
        until(stream, 1)
        stream.newest()
        until(stream, 4)
        frame = stream.newest()
        assert frame is not None
        assert frame.size == (640, 480)
        assert stream.health().state == "resized"
        assert stream.health().reason == "picture was 320x240 and is now 640x480"
        stream._close()


def test_damaged_video_is_survived_and_said() -> None:
    """Broken H.264 gives a reason, not an end, and the next whole picture is taken."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 10), group=5)
        camera.send(many(10, 30), group=5, start=10, damage=True)
        camera.send(many(40, 20), group=5, start=40)
        camera.hold()

    with live(script) as url:
        stream = stream_of(url, StillClock(), every_s=0)
        reasons = set()
        for _ in range(400):
            if stream.step():
                break
            reasons.add(stream.health().reason)
        assert any("damaged video" in str(reason) for reason in reasons)
        frame = stream.newest()
        assert frame is not None
        assert any(looks_like(frame.image, number) for number in range(40, 60))


def test_timestamps_that_jump_back_are_survived_and_said() -> None:
    """The camera's own times may do what they like: capture times are the box's."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 20), group=5, start=1000)
        camera.send(many(20, 20), group=5, start=0)
        camera.hold()

    clock = StillClock()
    with live(script) as url:
        stream = stream_of(url, clock)
        until(stream, 2)
        first = stream.newest()
        clock.seconds = 5
        until(stream, 6)
        second = stream.newest()
        assert first is not None
        assert second is not None
        assert (second.captured_at - first.captured_at).total_seconds() == 5
        assert "timestamps jumped back" in str(stream.health().reason)
        stream._close()


def send_sound(camera: Camera) -> None:
    """A stream with a sound track and nothing else."""
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream("aac", rate=48000)
        silence = np.zeros((1, 2 * 1024), np.float32)
        for number in range(200):
            frame = av.AudioFrame.from_ndarray(silence, format="flt", layout="stereo")
            frame.sample_rate, frame.pts = 48000, 1024 * number
            container.mux(stream.encode(frame))
    camera.send_bytes(target.getvalue())


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (lambda camera: camera.send_bytes(b"no video at all " * 500_000), "not video|was lost"),
        (lambda camera: None, "was lost"),
        (send_sound, "has no video: check the path"),
    ],
    ids=["noise", "nothing", "sound only"],
)
def test_what_is_no_video_is_named(script: Script, sentence: str) -> None:
    """Something that answers but sends no video gets a sentence."""
    with live(script) as url, pytest.raises(StreamError, match=sentence):
        QUICK(url, StillClock())


def test_a_camera_that_takes_the_connection_and_says_nothing_does_not_answer() -> None:
    """It hangs: nobody is sent to look at its encoder."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        url = f"rtsp://127.0.0.1:{hung.getsockname()[1]}/main"
        with pytest.raises(StreamError, match="does not answer"):
            RtspSource(url, SystemClock(), open_s=0.3)


def test_a_stream_without_whole_pictures_is_given_up() -> None:
    """Packets alone are no proof of life: without a whole picture for half a minute the camera is down."""

    def script(camera: Camera) -> None:
        camera.send(many(0, 40), group=1000)
        camera.hold()

    clock = StillClock()
    with live(script) as url:
        stream = stream_of(url, clock, every_s=1e9)
        until(stream, 1)
        clock.seconds = 31
        until_down(stream)
        assert stream.health().state == "stream_down"
        assert "no whole picture for 30 s" in str(stream.health().reason)


def test_passwords_stay_out_of_the_log() -> None:
    """A URL is shown without its password."""
    assert without_password("rtsp://admin:pa:ss@cam/1") == "rtsp://admin:***@cam/1"
    assert without_password("rtsp://admin:Abc@123@cam/1") == "rtsp://admin:***@cam/1"
    assert without_password("rtsp://cam/1") == "rtsp://cam/1"
