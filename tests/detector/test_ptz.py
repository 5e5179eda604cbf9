# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's mount over real ONVIF: what it says, and every way in which it may fail to."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from camera_sim.auth import Credentials
from camera_sim.onvif import OnvifServer
from camera_sim.server import CameraServer, open_camera
from detector.camera.patrol import Patrol
from detector.camera.ptz import OnvifHead, PtzStatus
from detector.clock import SystemClock
from detector.config import CameraSettings
from detector.errors import PtzError, PtzRefused
from tests.camera_sim.make import spec

USER = Credentials("viewer", "r:g/t")
PRESETS = {
    "west": {"name": "west", "pan_deg": 281, "tilt_deg": -2.5, "hfov_deg": 32},
    "north": {"name": "north", "pan_deg": 291, "tilt_deg": -2.5, "hfov_deg": 32},
}


@pytest.fixture(scope="module")
def device() -> Iterator[OnvifServer]:
    """One camera that turns 60 degrees a second, behind a password."""
    ptz = {"presets": list(PRESETS.values()), "pan_deg_s": 60}
    camera = open_camera(spec("tower", camera={"width": 160, "height": 90}, villages=[], hills=[], ptz=ptz))
    with CameraServer([camera], credentials=USER) as cameras, OnvifServer(cameras, "tower", credentials=USER) as onvif:
        yield onvif


def address(device: OnvifServer, password: str = "r%3Ag%2Ft") -> str:
    return f"http://viewer:{password}@127.0.0.1:{device.port}"


@contextmanager
def connected(device: OnvifServer, answer_s: float = 3.0) -> Iterator[OnvifHead]:
    head = OnvifHead(address(device), answer_s)
    try:
        yield head
    finally:
        device.fault = None
        head.close()


def until(head: OnvifHead, wanted: Callable[[PtzStatus], bool]) -> PtzStatus:
    for _ in range(200):
        status = head.status()
        if wanted(status):
            return status
        time.sleep(0.02)
    raise AssertionError(f"the mount says {status}")


def test_presets_orders_and_status(device: OnvifServer) -> None:
    """By name or token; an order returns at once; it moves, and then it stands where the preset says."""
    with connected(device) as head:
        presets = head.presets()
        assert presets["north"] == presets["2"]
        head.go("north")
        assert until(head, lambda status: status.moving is True)
        status = until(head, lambda status: status.moving is False)
        assert status.position == pytest.approx(presets["north"], abs=1e-4)
        head.go("1")
        until(head, lambda status: status.moving is False)


def test_an_unknown_preset_is_refused_by_name(device: OnvifServer) -> None:
    """With those that there are."""
    with connected(device) as head:
        head.presets()
        with pytest.raises(PtzRefused, match="no preset 'south' .*west, north"):
            head.go("south")


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [("refuses", PtzRefused, "the motor is switched off"), ("silent", PtzError, "does not answer")],
)
def test_a_fault_is_named_and_survived(device: OnvifServer, fault: Any, error: type[Exception], words: str) -> None:
    """An order that is refused, or never answered; the next one is taken."""
    with connected(device, answer_s=0.5) as head:
        head.presets()
        device.fault = fault
        with pytest.raises(error, match=words):
            head.go("west")
        device.fault = None
        head.go("west")


def test_a_status_without_a_position_stays_one(device: OnvifServer) -> None:
    """Nothing is made up."""
    with connected(device) as head:
        device.fault = "no_position"
        assert head.status() == PtzStatus(None, False)


def test_a_wrong_password_is_named(device: OnvifServer) -> None:
    """With the mend, and without the password."""
    with pytest.raises(PtzError, match="refuses the password: check user and password in ptz") as caught:
        OnvifHead(address(device, "wrong"))
    assert "wrong" not in str(caught.value)


def test_nobody_there_is_named() -> None:
    """One phrase."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(PtzError, match="cannot be reached: check host and port of ptz"):
        OnvifHead(f"http://127.0.0.1:{port}")


def test_what_is_no_onvif_device_is_named() -> None:
    """Something that answers any request with a page."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hello</html>")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(PtzError, match="what cannot be read|failed"):
            OnvifHead(f"http://127.0.0.1:{server.getsockname()[1]}")
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_a_box_of_fixed_cameras_never_loads_the_library() -> None:
    """It costs 50 MB."""
    code = "import sys, detector.run, detector.check; sys.exit('zeep' in sys.modules or 'onvif' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def patrol(device: OnvifServer, answer_s: float = 1.0) -> Patrol:
    settings = CameraSettings.model_validate(
        {
            "id": "tower",
            "url": "rtsp://127.0.0.1/x",
            "ptz": address(device),
            "patrol": {
                "dwell_s": 0.2,
                "slew_s": 1,
                "settle_s": 0.1,
                "manual_s": 1,
                "presets": [{"name": "p1", "device": "west"}, {"name": "p2", "device": "north"}],
            },
        }
    )
    assert settings.patrol is not None
    heads = {"p1": "west", "p2": "north"}
    return Patrol("tower", heads, settings.patrol, lambda: OnvifHead(address(device), answer_s), SystemClock())


def step_until(patrol: Patrol, wanted: Callable[[], bool], patience_s: float = 30) -> None:
    """Step in real time, looking once at each stand."""
    seen, end = 0, time.monotonic() + patience_s
    while time.monotonic() < end:
        time.sleep(min(0.2, patrol.step()))
        stance = patrol.stance
        if stance is not None and stance.visit != seen and SystemClock().monotonic() >= stance.ready_at:
            seen = stance.visit
            patrol.looked(seen, SystemClock().monotonic(), suspicious=False)
        if wanted():
            return
    raise AssertionError(f"the patrol is at {patrol.target}, {patrol.stance}, {patrol.blind}, {patrol.note}")


def stands(patrol: Patrol, preset: str) -> Callable[[], bool]:
    return lambda: patrol.stance is not None and (patrol.stance.preset, patrol.stance.known) == (preset, True)


def test_a_round_over_onvif(device: OnvifServer) -> None:
    """To the first preset, the second, and the first again, each read back."""
    going = patrol(device)
    try:
        for preset in ("p1", "p2", "p1"):
            step_until(going, stands(going, preset))
        assert going.blind is None
    finally:
        going._drop()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("silent", "does not answer"),
        ("refuses", "the motor is switched off"),
        ("jammed", "it stands elsewhere"),
        ("no_position", "gives no position"),
        ("never_idle", "for ever that it moves"),
    ],
)
def test_each_fault_of_a_mount_is_on_record_and_ends(device: OnvifServer, fault: Any, words: str) -> None:
    """Over real ONVIF: lost, with the reason; the round goes on when the mount is well again."""
    going = patrol(device)
    try:
        step_until(going, stands(going, "p1"))
        device.fault = fault
        step_until(going, lambda: going.blind is not None and words in going.blind[1])
        assert going.blind is not None
        assert going.blind[0] == "lost"
        device.fault = None
        step_until(going, lambda: going.blind is None)
    finally:
        device.fault = None
        going._drop()


def test_a_hand_on_the_desk_is_noticed_over_onvif(device: OnvifServer) -> None:
    """Turned by another client: the patrol waits."""
    going = patrol(device)
    try:
        step_until(going, stands(going, "p1"))
        going._visit.first_look = SystemClock().monotonic() + 60  # stay: the hand comes while it stands
        device.cameras.turn("tower", 100, -5)
        step_until(going, lambda: going.blind is not None and going.blind[0] == "manual")
    finally:
        going._drop()
