# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps a set of processes running: starts them in order, starts again what dies, stops all at the end.

Everything they print goes to one log, each line with the time and the process's name.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_STEADY_AFTER_S = 30.0
_STOP_WITHIN_S = 4.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """A process to keep: its name in the log, its command and what is added to its environment."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Log:
    """One log for all: to a file, and to the terminal when asked."""

    def __init__(self, path: Path, *, echo: bool) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._echo = echo
        self._lock = threading.Lock()

    def write(self, name: str, line: str) -> None:
        """Add one line."""
        text = f"{datetime.now().astimezone():%H:%M:%S} {name:<12} {line}"
        with self._lock:
            print(text, file=self._file)
            if self._echo:
                print(text, flush=True)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


class _Kept:
    """One process and its starts."""

    def __init__(self, spec: Spec, log: Log) -> None:
        self.spec = spec
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0
        self._pause = _FIRST_PAUSE_S
        self._again_at = 0.0

    def start(self, now: float) -> None:
        """Start it. Only from the main thread: the kernel ends a child whose parent *thread* is gone."""
        self._process = subprocess.Popen(  # noqa: S603
            self.spec.command,
            env={**os.environ, **self.spec.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops them in order
            preexec_fn=_die_with_parent,
        )
        self._started = now
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._log.write(self.spec.name, line.rstrip())

    def check(self, now: float) -> None:
        """Start it again when it has ended, with growing pauses while it keeps ending."""
        if self._process is not None and (status := self._process.poll()) is not None:
            if now - self._started > _STEADY_AFTER_S:
                self._pause = _FIRST_PAUSE_S
            self._log.write("demo", f"{self.spec.name} ended ({_ending(status)}); starting it again")
            self._process, self._again_at = None, now + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)
        if self._process is None and now >= self._again_at:
            self.start(now)

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it runs."""
        if self.pid is not None and self._process is not None:
            self._process.send_signal(number)

    def wait(self, until: float) -> None:
        """Wait for its end; kill it when ``until`` has come."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._log.write("demo", f"{self.spec.name} did not stop in time and was killed")
            self._process.kill()
            self._process.wait()
        if self._reader is not None:
            self._reader.join(1)


class Supervisor:
    """Use as a context manager: starts the processes in order, stops them in reverse. Call ``step`` often."""

    def __init__(self, specs: Sequence[Spec], log: Log) -> None:
        self._kept = [_Kept(spec, log) for spec in specs]

    def __enter__(self) -> Supervisor:
        for kept in self._kept:
            kept.start(time.monotonic())
        return self

    def __exit__(self, *_: object) -> None:
        # One after another, so that none sees the one it talks to go first and complains.
        for kept in reversed(self._kept):
            kept.signal(signal.SIGTERM)
            kept.wait(time.monotonic() + _STOP_WITHIN_S)

    def step(self) -> None:
        """Start again what has ended."""
        for kept in self._kept:
            kept.check(time.monotonic())

    def pids(self) -> dict[str, int]:
        """The numbers of those that run, by name."""
        return {kept.spec.name: kept.pid for kept in self._kept if kept.pid is not None}


def _ending(status: int) -> str:
    return f"status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _die_with_parent() -> None:
    # Linux only: when the supervisor itself is killed, nothing is left behind to hold the ports. All that it keeps
    # survives a kill, so none is asked politely.
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
