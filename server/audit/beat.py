# SPDX-License-Identifier: AGPL-3.0-or-later
"""The heartbeat: a file and a retained message that grow old when the system stops. Whoever watches needs only their
age: silence is the alarm."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from server.audit.checks import Finding, audit
from server.db import Clock, Database

TOPIC = "straw1530/v1/server/heartbeat"
EVERY_S = 10.0
Publish = Callable[[str, bytes], None]


class Heart:
    """Beats only while the clock's loop is alive and the database answers. ``clock_age`` is the seconds since the loop
    last ended a step; ``publish`` sends a retained message."""

    def __init__(
        self, database: Database, clock: Clock, path: Path, clock_age: Callable[[], float], publish: Publish
    ) -> None:
        self._database = database
        self._clock = clock
        self._path = path
        self._clock_age = clock_age
        self._publish = publish

    def step(self) -> list[Finding] | None:
        """One beat, with what the auditor found; None (and no beat) when the clock's loop hangs."""
        if self._clock_age() > EVERY_S:
            return None
        with self._database.read() as session:
            now = self._clock.now(session)
            found = audit(session, now)
        beat = message(now, found)
        write_durably(self._path, beat)
        self._publish(TOPIC, beat)
        return found


def message(now: datetime, found: Sequence[Finding]) -> bytes:
    """What a beat says."""
    findings = [one.sentence for one in found]
    content = {"v": 1, "at": now.isoformat(), "every_s": EVERY_S, "well": not found, "findings": findings}
    return json.dumps(content, ensure_ascii=False).encode()


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that a reader sees the old or the new one and a power cut leaves either."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + f".{os.getpid()}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def age_s(path: Path, now: datetime) -> tuple[float, list[str]]:
    """How old the last beat is, and what it found. Raises OSError or ValueError when there is none to be read."""
    try:
        content = json.loads(path.read_bytes())
        return (now - datetime.fromisoformat(content["at"])).total_seconds(), list(content["findings"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a heartbeat: {error}") from None
