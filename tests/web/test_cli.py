# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 web``: starts, serves, stops; and says in one sentence why it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

# How it starts and stops does not depend on the database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
KEY = "k" * 40


def _environ(database_url: str, folder: Path, key: str = KEY) -> dict[str, str]:
    return os.environ | {
        "STRAW1530_DATA": str(folder),
        "STRAW1530_DATABASE": database_url,
        "STRAW1530_SECRET_KEY": key,
    }


def _start(environ: dict[str, str], port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "straw1530.cli", "web", "--port", str(port), "--threads", "4"]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _refused(environ: dict[str, str], port: int) -> str:
    with _start(environ, port) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "Traceback" not in errors
        return errors


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
            return bool(json.load(reply)["ok"])
    except OSError:
        return False


def test_it_serves_and_stops_when_asked(database_url: str, tmp_path: Path) -> None:
    """The one command serves the pages; a live connection does not hold up its end."""
    port = _free_port()
    with _start(_environ(database_url, tmp_path), port) as process:
        try:
            end = time.monotonic() + 60
            while not _healthy(port):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.1)
        finally:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_a_port_in_use_is_one_sentence(database_url: str, tmp_path: Path) -> None:
    """It names the port and the mend."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        errors = _refused(_environ(database_url, tmp_path), port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in errors
    assert "--port" in errors


def test_an_empty_database_is_one_sentence(database_url: str, tmp_path: Path) -> None:
    """It says what to run first."""
    errors = _refused(_environ(f"sqlite:///{tmp_path / 'none.sqlite'}", tmp_path), _free_port())
    assert "straw1530 admin init" in errors


@pytest.mark.parametrize("key", ["", "short"])
def test_a_missing_or_short_secret_is_one_sentence(database_url: str, tmp_path: Path, key: str) -> None:
    """There is no default; the sentence shows how to make one."""
    assert "STRAW1530_SECRET_KEY" in _refused(_environ(database_url, tmp_path, key), _free_port())
