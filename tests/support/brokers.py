# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real brokers on free ports of this machine, with the access rules on."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from server.admin.brokerusers import acl_file_text, write_users
from server.settings import Broker

PASSWORDS = {name: f"password-of-{name}" for name in ("engine", "dispatch", "edge-1", "edge-2", "worker-1", "worker-2")}


@dataclass
class RunningBroker:
    """A broker's address, its users, and the means to pull its plug."""

    host: str
    port: int
    command: Sequence[str]
    process: subprocess.Popen[bytes]

    def user(self, name: str) -> Broker:
        """The settings of one of its users."""
        return Broker(self.host, self.port, name, PASSWORDS[name])

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def start(self) -> None:
        """Start it (again) on the same port."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.host, self.port, self.process)


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(host: str, port: int, process: subprocess.Popen[bytes], timeout_s: float = 20) -> None:
    """Return once something listens there; fail when the process ended or the time is up."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(f"the process ended with status {process.returncode}")
        try:
            socket.create_connection((host, port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nothing listens on {host}:{port} after {timeout_s} s")


@contextmanager
def _running(command: Sequence[str], port: int) -> Iterator[RunningBroker]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    broker = RunningBroker("127.0.0.1", port, command, process)
    try:
        wait_for_port(broker.host, port, process)
        yield broker
    finally:
        broker.process.terminate()
        try:
            broker.process.wait(5)
        except subprocess.TimeoutExpired:
            broker.kill()


@contextmanager
def mosquitto(folder: Path, passwords: Mapping[str, str] = PASSWORDS) -> Iterator[RunningBroker]:
    """mosquitto, as in production."""
    write_users(folder / "users", passwords)
    with mosquitto_with(folder, (folder / "users").read_text(), acl_file_text()) as broker:
        yield broker


@contextmanager
def mosquitto_with(folder: Path, users: str, rules: str) -> Iterator[RunningBroker]:
    """mosquitto with this password file and these access rules."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("needs mosquitto (apt-get install mosquitto)")
    port = free_port()
    folder.mkdir(exist_ok=True)
    (folder / "users").write_text(users)
    (folder / "users").chmod(0o644)  # mosquitto started as root gives up its rights
    (folder / "acl").write_text(rules)
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\nuser root\n"
        f"password_file {folder / 'users'}\nacl_file {folder / 'acl'}\n"
    )
    with _running([program, "-c", str(folder / "mosquitto.conf")], port) as broker:
        yield broker


def may_connect(broker: RunningBroker, name: str, password: str) -> bool:
    """Whether the broker lets this name in with this password."""
    answered: Queue[bool] = Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set(name, password)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answered.put(not reason.is_failure)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        return answered.get(timeout=10)
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def embedded(folder: Path, passwords: Mapping[str, str] = PASSWORDS) -> Iterator[RunningBroker]:
    """Our embedded broker, in a process of its own."""
    port = free_port()
    write_users(folder / "users", passwords)
    command = [
        *(sys.executable, "-m", "straw1530.cli", "broker"),
        *("--port", str(port), "--users", str(folder / "users")),
    ]
    with _running(command, port) as broker:
        yield broker
