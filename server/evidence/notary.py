# SPDX-License-Identifier: AGPL-3.0-or-later
"""Takes new journal lines into the log at intervals and publishes the signed root, so that copies lie where the
operator cannot reach them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from server.audit.beat import write_durably
from server.db import Clock, Database
from server.evidence import log
from server.evidence.keys import SigningKey

TOPIC = "straw1530/v1/server/checkpoint"
EVERY_S = 60.0
LATEST, ALL = "checkpoint.txt", "checkpoints.log"


class Notary:
    """``folder`` gets the newest checkpoint and the list of all; ``publish`` sends a retained message."""

    def __init__(
        self, database: Database, clock: Clock, key: SigningKey, folder: Path, publish: Callable[[str, bytes], None]
    ) -> None:
        self._database = database
        self._clock = clock
        self._key = key
        self._folder = folder
        self._publish = publish
        self._told = 0  # size of the checkpoint that was handed out last

    def step(self) -> int:
        """Take in all there is; returns how many checkpoints were signed and published. After a start the newest is
        published again: a broker may have forgotten it. What could not be handed out is, at the next step."""
        signed = 0
        while True:
            with self._database.write() as session:
                checkpoint = log.take_in(session, self._key, self._clock.now(session))
                newest = checkpoint or log.latest(session)
            if newest is not None and newest.size != self._told:
                self._hand_out(newest.note)
                self._told = newest.size
            if checkpoint is None:
                return signed
            signed += 1

    def _hand_out(self, note: str) -> None:
        """After the commit only: what was published must be what the database holds."""
        write_durably(self._folder / LATEST, note.encode())
        line = f"{note}\n".encode()
        with (self._folder / ALL).open("a+b") as file:
            file.seek(max(0, file.tell() - len(line)))
            if file.read() != line:  # else it is there from before the start
                file.write(line)
        self._publish(TOPIC, note.encode())
