# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fetching a file from the server piece by piece: each piece is asked for, so that a bad link costs one piece."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from detector.upkeep.updates import UpdateError, UpdateFile

FIRST_WAIT_S, LONGEST_WAIT_S = 10.0, 160.0
"""How long a piece may take before it is asked for again: doubled each time."""

Say = Callable[[str, bytes], None]


class Download:
    """One file, into `folder` under its digest; what is there already from before is gone on with."""

    def __init__(self, file: UpdateFile, folder: Path, say: Say) -> None:
        self._file = file
        self._path = folder / file.sha256
        self._say = say
        self._asked_at: float | None = None
        self._wait = FIRST_WAIT_S
        folder.mkdir(parents=True, exist_ok=True)
        self._begun_before = self._path.exists()
        self._path.touch()
        if self.content_is_here():
            self._check()

    def step(self, now: float) -> None:
        """Ask for the next piece when none is under way."""
        if self.content_is_here() or (self._asked_at is not None and now - self._asked_at < self._wait):
            return
        if self._asked_at is not None:
            self._wait = min(2 * self._wait, LONGEST_WAIT_S)
        self._asked_at = now
        want = {"v": 1, "sha256": self._file.sha256, "offset": self._path.stat().st_size}
        self._say("want", json.dumps(want).encode())

    def piece(self, sha256: str, offset: int, content: bytes) -> None:
        """Take in a piece; one that is not the next is left out. Raises UpdateError when the whole is not what was
        signed, and OSError."""
        size = self._path.stat().st_size
        if sha256 != self._file.sha256 or offset != size or not content:
            return
        if size + len(content) > self._file.bytes:
            self._path.unlink()
            raise UpdateError(f"{self._file.name} is larger than the {self._file.bytes:,} bytes that were signed")
        with self._path.open("ab") as file:
            file.write(content)
        self._asked_at, self._wait = None, FIRST_WAIT_S
        if self.content_is_here():
            self._check()

    def _check(self) -> None:
        """A power cut may have torn what came before it: that is fetched anew, once. Raises UpdateError."""
        try:
            self.content()
        except UpdateError:
            if not self._begun_before:
                raise
            self._begun_before = False
            self._path.touch()

    def content_is_here(self) -> bool:
        """Whether all of it has come."""
        return self._path.stat().st_size >= self._file.bytes

    def content(self) -> bytes:
        """The whole, verified. Raises UpdateError."""
        content = self._path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._file.sha256:
            self._path.unlink()
            raise UpdateError(f"{self._file.name} arrived damaged: its digest is not the one that was signed")
        return content
