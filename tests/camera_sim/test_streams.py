# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras' streams, watched by real clients."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from camera_sim.auth import Credentials
from camera_sim.rtp import Packetizer, timestamp
from camera_sim.server import CameraServer, open_camera
from tests.camera_sim.make import folder, open_stream, spec, watch

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[CameraServer]:
    """A rendered scene and a looping folder on one server."""
    recording = folder(tmp_path / "recording", COLOURS)
    with CameraServer([open_camera(spec("tower-a")), open_camera(recording, fps=10)]) as server:
        yield server


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pyav_sees_every_camera(cameras: CameraServer, transport: str) -> None:
    """Both cameras of one server play in PyAV, over either transport, at their own sizes."""
    assert watch(cameras.url("tower-a"), 5, transport)[-1].shape == (180, 320, 3)
    assert watch(cameras.url("recording"), 5, transport)[-1].shape == (96, 128, 3)


def test_opencv_sees_a_camera(cameras: CameraServer) -> None:
    """OpenCV opens a camera and its pictures flow."""
    capture = cv2.VideoCapture(cameras.url("tower-a"), cv2.CAP_FFMPEG)
    try:
        good = [capture.read()[0] for _ in range(5)]
    finally:
        capture.release()
    assert good == [True] * 5


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe (apt install ffmpeg)")
def test_ffprobe_names_the_codec(cameras: CameraServer) -> None:
    """ffprobe opens a camera and finds H.264."""
    told = subprocess.run(
        [
            "ffprobe",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-show_entries",
            "stream=codec_name,width",
            "-of",
            "csv=p=0",
            cameras.url("tower-a"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert told.stdout.strip() == "h264,320"


def test_a_folder_loops(cameras: CameraServer) -> None:
    """The pictures of a folder come in order and start again after the last."""
    seen = [int(np.argmax(picture.mean(axis=(0, 1)))) for picture in watch(cameras.url("recording"), 12)]
    changes = [b for a, b in zip(seen, seen[1:], strict=False) if a != b]
    assert all(b == (a + 1) % 3 for a, b in zip(changes, changes[1:], strict=False))
    assert set(changes) == {0, 1, 2}


def test_a_video_file_loops(tmp_path: Path) -> None:
    """A video plays at its own rate and starts again after its end."""
    path = tmp_path / "Field Test.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (128, 96))
    for colour in COLOURS:
        for _ in range(2):
            writer.write(np.full((96, 128, 3), colour, np.uint8))
    writer.release()
    camera = open_camera(path)
    assert (camera.id, camera.source.fps) == ("field-test", 10)
    with CameraServer([camera]) as server:
        seen = [int(np.argmax(picture.mean(axis=(0, 1)))) for picture in watch(server.url(camera.id), 16)]
    assert [a for a, b in zip(seen, seen[1:], strict=False) if a > b], "it never began again"
    assert set(seen) == {0, 1, 2}


def test_keyframes_come_each_second(cameras: CameraServer) -> None:
    """A keyframe at least each second, so that decoding keyframes alone follows the scene."""
    with open_stream(cameras.url("tower-a")) as container:
        packets = [p for p, _ in zip(container.demux(video=0), range(25), strict=False)]
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
    assert keys[0] == 0
    assert max(b - a for a, b in zip(keys, keys[1:], strict=False)) <= 10


def test_watchers_share_one_encoder_and_it_rests_without_them(cameras: CameraServer) -> None:
    """Two clients of a camera are counted, and none are left once they close."""
    with open_stream(cameras.url("tower-a")) as one:
        next(one.decode(video=0))
        with open_stream(cameras.url("tower-a")) as two:
            next(two.decode(video=0))
            assert cameras.state()[0]["clients"] == 2
    assert cameras.wait_for_clients("tower-a", 0)


def test_an_unknown_camera_is_refused(cameras: CameraServer) -> None:
    """A path without a camera answers 404."""
    with pytest.raises(av.error.HTTPNotFoundError):
        watch(cameras.url("tower-a") + "-not", 1)


@pytest.mark.parametrize(("password", "allowed"), [("right", True), ("wrong", False)])
def test_a_password_is_asked_for(tmp_path: Path, password: str, allowed: bool) -> None:
    """With credentials set, the right password plays and a wrong one does not."""
    camera = open_camera(folder(tmp_path / "recording", COLOURS))
    with CameraServer([camera], credentials=Credentials("viewer", "right")) as server:
        url = server.url(camera.id).replace("rtsp://", f"rtsp://viewer:{password}@")
        if allowed:
            assert len(watch(url, 2)) == 2
        else:
            with pytest.raises(av.error.HTTPUnauthorizedError):
                watch(url, 1)


def test_a_client_that_never_reads_holds_up_nobody(tmp_path: Path) -> None:
    """While one client plays and never reads, another still gets its pictures at their pace."""
    noise = tmp_path / "noise"
    noise.mkdir()
    for n in range(3):
        picture = np.random.default_rng(n).integers(0, 255, (480, 640, 3), np.uint8)
        cv2.imwrite(str(noise / f"{n}.png"), picture)
    with CameraServer([open_camera(noise, fps=20)]) as server:
        url = server.url("noise")
        with socket.create_connection((server.host, server.port)) as stuck:
            ask(stuck, f"SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;interleaved=0-1")
            ask(stuck, f"PLAY {url} RTSP/1.0\r\nCSeq: 2")
            assert server.wait_for_clients("noise", 1)
            assert len(watch(url, 40)) == 40


def ask(client: socket.socket, request: str) -> None:
    """Send a request and read the head of its answer, which must be good."""
    client.sendall(f"{request}\r\n\r\n".encode())
    assert client.recv(15) == b"RTSP/1.0 200 OK"
    while b"\r\n\r\n" not in client.recv(4096):
        pass


def test_reports_tie_stream_time_to_wall_time() -> None:
    """A sender report holds one instant as NTP time and as RTP time, so that clients can date each picture."""
    report = Packetizer(ssrc=7).sender_report(1_800_000_000.25)
    seconds, fraction, rtp = struct.unpack("!III", report[8:20])
    assert seconds + fraction / 2**32 == pytest.approx(1_800_000_000.25 + 2_208_988_800)
    assert rtp == timestamp(1_800_000_000.25)
