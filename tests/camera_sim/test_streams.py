# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras' streams, watched by real clients."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from camera_sim.auth import Credentials
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
