# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the control interface and the command do to running cameras."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from camera_sim.control import ControlServer
from camera_sim.server import CameraServer, open_camera
from camera_sim.spec import builtin_scenes
from tests.camera_sim.make import folder, get, open_stream, packets_left, post, spec, watch

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[tuple[CameraServer, int]]:
    """A scene that burns on request and a recording, with their control port."""
    sources = [open_camera(spec("tower-a", start="on_request")), open_camera(folder(tmp_path / "recording", COLOURS))]
    with CameraServer(sources, truth_dir=tmp_path / "truth") as server, ControlServer(server) as control:
        yield server, control.port


def test_a_fire_is_lit_and_put_out(cameras: tuple[CameraServer, int], tmp_path: Path) -> None:
    """Ignite answers the fire's truth, which also stands in the truth file; extinguish dates its end."""
    _, port = cameras
    status, fire = post(port, "/cameras/tower-a/ignite", bearing_deg=278, range_m=1400)
    assert status == 200
    assert (fire["bearing_deg"], fire["range_m"], fire["in_view"]) == (278, 1400, True)
    assert fire["first_visible_at"] > fire["ignited_at"]
    status, ended = post(port, "/cameras/tower-a/extinguish")
    assert status == 200
    assert ended["extinguished"][0]["extinguished_at"] is not None
    written = json.loads((tmp_path / "truth" / "tower-a.json").read_text(encoding="utf-8"))
    assert written["fires"] == ended["extinguished"]


def test_the_state_is_told(cameras: tuple[CameraServer, int]) -> None:
    """GET /cameras tells each camera's address, size, clients and scene time."""
    server, port = cameras
    status, answer = get(port, "/cameras")
    assert status == 200
    assert [c["id"] for c in answer["cameras"]] == ["tower-a", "recording"]
    first = answer["cameras"][0]
    assert (first["url"], first["width"], first["height"], first["clients"]) == (server.url("tower-a"), 320, 180, 0)


def test_a_frozen_camera_repeats_its_picture(cameras: tuple[CameraServer, int]) -> None:
    """While frozen the stream goes on with one picture; unfrozen it moves again."""
    server, port = cameras
    assert post(port, "/cameras/recording/freeze")[0] == 200
    still = [int(np.argmax(p.mean(axis=(0, 1)))) for p in watch(server.url("recording"), 6)]
    assert len(set(still)) == 1
    assert post(port, "/cameras/recording/unfreeze")[0] == 200
    moving = [int(np.argmax(p.mean(axis=(0, 1)))) for p in watch(server.url("recording"), 6)]
    assert len(set(moving)) > 1


def test_a_stalled_camera_sends_nothing(cameras: tuple[CameraServer, int]) -> None:
    """While stalled the connection stands and the client runs into its own time limit."""
    server, port = cameras
    options = {"rtsp_transport": "tcp", "analyzeduration": "100000"}
    with av.open(server.url("tower-a"), options=options, timeout=(10, 1)) as container:
        next(container.demux(video=0))
        post(port, "/cameras/tower-a/stall")
        with pytest.raises(av.error.FFmpegError):
            packets_left(container)


def test_dropped_clients_come_back_when_they_may(cameras: tuple[CameraServer, int]) -> None:
    """Drop cuts who watches; with a time to refuse, the camera is not found until it is over."""
    server, port = cameras
    with open_stream(server.url("tower-a")) as container:
        next(container.demux(video=0))
        assert post(port, "/cameras/tower-a/drop", refuse_s=60) == (200, {"dropped": 1})
        assert packets_left(container) < 20
    with pytest.raises(av.error.HTTPNotFoundError):
        watch(server.url("tower-a"), 1)
    assert post(port, "/cameras/tower-a/drop")[0] == 200
    assert len(watch(server.url("tower-a"), 2)) == 2


def test_a_camera_changes_its_size_under_way(cameras: tuple[CameraServer, int]) -> None:
    """After a resize the same connection carries pictures of the new size."""
    server, port = cameras
    with open_stream(server.url("tower-a")) as container:
        frames = container.decode(video=0)
        assert next(frames).width == 320
        assert post(port, "/cameras/tower-a/resize", width=256, height=144)[0] == 200
        assert any(frame.width == 256 for frame, _ in zip(frames, range(60), strict=False))


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/cameras/nobody/ignite", {}, 404, "there is no camera 'nobody'"),
        ("/cameras/tower-a/explode", {}, 404, "there is nothing at"),
        ("/cameras/tower-a/ignite", {"range_m": -5}, 400, "range_m"),
        ("/cameras/tower-a/ignite", {"lat": 28.98}, 400, "placed by lat and lon"),
        ("/cameras/tower-a/ignite", {"size": 3}, 400, "size"),
        ("/cameras/tower-a/disturb", {"kind": "locusts"}, 400, "kind"),
        ("/cameras/tower-a/resize", {"width": 3, "height": 3}, 400, "sizes are even"),
        ("/cameras/recording/ignite", {}, 400, "plays a recording"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    cameras: tuple[CameraServer, int], path: str, body: dict[str, object], status: int, words: str
) -> None:
    """A wrong order is answered with what is wrong, and changes nothing."""
    got, answer = post(cameras[1], path, **body)
    assert got == status
    assert words in answer["error"]
    assert cameras[0].state()[0]["fires"] == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "straw1530.cli", "camera-sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    """A missing file, a file that is no video and a taken port each give one sentence and status 2."""
    (tmp_path / "note.mp4").write_text("not a video", encoding="utf-8")
    recording = folder(tmp_path / "recording", COLOURS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, words in (
            (["--scene", "nowhere.mp4"], "no such file"),
            (["--scene", str(tmp_path / "note.mp4")], "cannot be read"),
            (["--scene", str(recording), "--port", port], f"port {port}"),
            (["--scene", str(recording), str(recording), "--port", "0"], "two cameras"),
        ):
            done = run(*arguments)
            assert done.returncode == 2
            assert words in done.stderr
            assert done.stderr.count("\n") == 1


def test_the_command_lists_its_scenes() -> None:
    """--list-scenes names every built-in scene with its note."""
    done = run("--list-scenes")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == sorted(builtin_scenes())


def test_the_command_serves_until_told_to_stop(tmp_path: Path) -> None:
    """The command prints its addresses, serves, and ends with status 0 on SIGTERM."""
    recording = folder(tmp_path / "recording", COLOURS)
    command = [sys.executable, "-m", "straw1530.cli", "camera-sim", "--scene", str(recording)]
    with subprocess.Popen(
        [*command, "--port", "0", "--control-port", "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert process.stdout.readline().startswith("control: http://127.0.0.1:")
        assert len(watch(url, 2)) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
