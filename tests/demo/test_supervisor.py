# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's supervisor, its script's honesty, and its complaints."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from demo.script import ScriptedFire
from demo.supervisor import Log, Spec, Supervisor
from tests.demo.test_loop import make_demo
from tests.support.brokers import free_port

TALKER = "import os,signal,sys,time; print('here', os.getpid(), flush=True); time.sleep(600)"
STUBBORN = (
    "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"
)


def until(supervisor: Supervisor, true: Callable[[], bool]) -> None:
    """Step until something is true; fail after twenty seconds."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came true"
        supervisor.step()
        time.sleep(0.02)


def test_what_is_killed_is_started_again_and_all_is_stopped_at_the_end(tmp_path: Path) -> None:
    """The log names the process and how it ended; after the end none is left, not even one that ignores SIGTERM."""
    specs = [Spec(name, [sys.executable, "-c", code]) for name, code in (("talker", TALKER), ("stubborn", STUBBORN))]
    path = tmp_path / "log"
    with closing(Log(path, echo=False)) as log:
        with Supervisor(specs, log) as supervisor:
            until(supervisor, lambda: path.read_text().count("here") == 2)
            first = supervisor.pids()["talker"]
            os.kill(first, signal.SIGKILL)
            until(supervisor, lambda: supervisor.pids().get("talker") not in (None, first))
            until(supervisor, lambda: path.read_text().count("talker       here") == 2)
            left = supervisor.pids()
        assert "talker ended (killed by SIGKILL)" in path.read_text()
        assert "stubborn did not stop in time" in path.read_text()
    for pid in left.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_loop_that_does_not_close_names_the_hop(tmp_path: Path) -> None:
    """With nothing running, the script fails at its first hop and says why, and claims nothing."""
    demo = make_demo(tmp_path)
    report = ScriptedFire(demo, demo.sites[0], lambda: None, lambda _: None, patience=0.01).run()
    assert report["ok"] is False
    assert report["failed_hop"] == "pages"
    assert "do not answer" in report["reason"]
    assert "stamps" not in report


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--video", "/no/such/video.mp4"], "/no/such/video.mp4"),
        (["--video", "rtsp://127.0.0.1:9/x", "--once"], "--video"),
    ],
)
def test_the_demo_complains_in_one_sentence(tmp_path: Path, args: list[str], named: str) -> None:
    """It names the thing, and the exit status is 2."""
    ended = run_demo(tmp_path, *args)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_port_in_use_is_named_with_the_mend(tmp_path: Path) -> None:
    """The second of the demo's five ports is taken."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        ended = run_demo(tmp_path, "--once", "--port", str(port))
    assert ended.returncode == 2
    assert f"port {port + 1}" in ended.stderr
    assert "PORT=" in ended.stderr


def run_demo(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """``straw1530 demo`` in a process of its own."""
    command = [sys.executable, "-m", "straw1530.cli", "demo", "--data", str(folder), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)
