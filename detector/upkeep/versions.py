# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands in for the installed settings, masks and model: numbered versions on the box's disk, with a way back.

    data/versions/state.json
    data/versions/masks/3/masks.yaml
    data/versions/settings/1/edge.yaml
    data/versions/model/2/smoke.onnx, smoke.yaml

Version 0 is what is installed. A version is written whole before the state names it, and the state changes in one
step, so that a power cut leaves the old one or the new one. A version may be on trial: then it must prove itself, or
the one before it comes back.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from detector.files import sync_folder, write_whole
from detector.wire import Outcome, UpdateKind, VersionReport

log = logging.getLogger(__name__)

KINDS: tuple[UpdateKind, ...] = get_args(UpdateKind)
MOST_STARTS = 2
"""Starts in which a version on trial may prove itself: one may be ended by a power cut, which is not its fault."""
KEPT: Mapping[UpdateKind, int] = {"settings": 20, "masks": 50, "model": 2}
"""Versions to go back to. A model takes tens of megabytes."""


class Trial(BaseModel):
    """What a version on trial must show: pictures of these cameras, which were well before."""

    model_config = ConfigDict(frozen=True)

    cameras: tuple[str, ...]
    starts: int = 0


class _Line(BaseModel):
    """One kind's present and past. `pushed` is the newest update from the server that was
    dealt with, and `result` what became of it."""

    model_config = ConfigDict(frozen=True)

    current: int = 0
    earlier: tuple[int, ...] = ()
    newest: int = 0
    trial: Trial | None = None
    pushed: int = 0
    result: Outcome | None = None
    reason: str | None = None


class _State(BaseModel):
    v: Literal[1] = 1
    kinds: dict[UpdateKind, _Line] = {}


class Versions:
    """Safe to use from several threads. What is added, dropped or taken back raises OSError when the disk refuses; how
    a trial goes is then held in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._state = self._read()

    def current(self, kind: UpdateKind) -> Path | None:
        """The folder of the version in use; None for what is installed."""
        number = self._line(kind).current
        return self._folder / kind / str(number) if number else None

    def number(self, kind: UpdateKind) -> int:
        """The version in use; 0 is what is installed."""
        return self._line(kind).current

    def undoable(self, kind: UpdateKind) -> bool:
        """Whether there is one to go back to."""
        return bool(self._line(kind).earlier)

    def pushed(self, kind: UpdateKind) -> int:
        """The newest update from the server that was dealt with; older ones are not taken again."""
        return self._line(kind).pushed

    def on_trial(self) -> dict[UpdateKind, Trial]:
        """The kinds whose version has yet to prove itself."""
        return {kind: trial for kind in KINDS if (trial := self._line(kind).trial) is not None}

    def add(
        self, kind: UpdateKind, files: Mapping[str, bytes], pushed: int | None = None, trial: Trial | None = None
    ) -> None:
        """Write a version and use it; it is kept at once unless it is on trial. `pushed` is the number of the server's
        update that it is, None when it was made on the box."""
        with self._lock:
            line = self._line(kind)
            number = line.newest + 1
            folder = self._folder / kind / str(number)
            shutil.rmtree(folder, ignore_errors=True)
            for name, content in files.items():
                write_whole(folder / name, content)
            sync_folder(folder.parent)
            earlier = (*line.earlier, line.current)[-KEPT[kind] :]
            changes: dict[str, object] = {"current": number, "earlier": earlier, "newest": number, "trial": trial}
            if pushed is not None:
                changes |= {"pushed": pushed, "result": "trial" if trial else "kept", "reason": None}
            self._write(kind, **changes)
            self._prune(kind)

    def drop(self, kind: UpdateKind) -> None:
        """Use what is installed again, and go back no further."""
        self._write(kind, current=0, earlier=(), trial=None)

    def back(self, kind: UpdateKind) -> bool:
        """Use the version before; False when there is none."""
        with self._lock:
            line = self._line(kind)
            if not line.earlier:
                return False
            self._write(kind, current=line.earlier[-1], earlier=line.earlier[:-1], trial=None)
            return True

    def refuse(self, kind: UpdateKind, pushed: int, reason: str) -> None:
        """An update from the server was not taken."""
        log.error("%s %d from the server is refused: %s", kind, pushed, reason)
        self._write(kind, pushed=pushed, result="refused", reason=reason)

    def keep(self, kind: UpdateKind) -> None:
        """The trial is over, and well."""
        log.info("%s %d from the server is kept", kind, self.pushed(kind))
        self._hold(kind, result="kept", reason=None, trial=None)

    def roll_back(self, kind: UpdateKind, reason: str) -> None:
        """The trial is over, and not well: the version before is used again."""
        log.error("%s %d from the server is rolled back: %s", kind, self.pushed(kind), reason)
        with self._lock:
            line = self._line(kind)
            before = {"current": line.earlier[-1], "earlier": line.earlier[:-1]} if line.earlier else {}
            self._hold(kind, **before, trial=None, result="rolled_back", reason=reason)

    def starting(self) -> None:
        """To be called once at each start: a version whose trial was ended by too many of them goes back."""
        for kind, trial in self.on_trial().items():
            if trial.starts >= MOST_STARTS:
                why = f"the box ended {trial.starts} times before the trial was over"
                self.roll_back(kind, why)
            else:
                self._hold(kind, trial=trial.model_copy(update={"starts": trial.starts + 1}))

    def report(self) -> dict[str, VersionReport]:
        """What the status tells the server."""
        lines = {kind: self._line(kind) for kind in KINDS}
        return {
            kind: VersionReport(using=line.current, pushed=line.pushed, result=line.result, reason=line.reason)
            for kind, line in lines.items()
        }

    def _line(self, kind: UpdateKind) -> _Line:
        return self._state.kinds.get(kind, _Line())

    def _write(self, kind: UpdateKind, **changes: object) -> None:
        with self._lock:
            state = self._changed(kind, changes)
            write_whole(self._folder / "state.json", state.model_dump_json(indent=1).encode())
            self._state = state

    def _hold(self, kind: UpdateKind, **changes: object) -> None:
        """Write, and go by it even if the disk refuses: no full disk keeps a box from starting."""
        with self._lock:
            try:
                self._write(kind, **changes)
            except OSError as error:
                log.error("%s; held in memory", error)
                self._state = self._changed(kind, changes)

    def _changed(self, kind: UpdateKind, changes: Mapping[str, object]) -> _State:
        return _State(kinds=self._state.kinds | {kind: self._line(kind).model_copy(update=changes)})

    def _prune(self, kind: UpdateKind) -> None:
        line = self._line(kind)
        wanted = {str(number) for number in (line.current, *line.earlier)}
        for folder in (self._folder / kind).iterdir():
            if folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _read(self) -> _State:
        path = self._folder / "state.json"
        try:
            return _State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return _State()
        except (OSError, ValidationError) as error:
            log.error("%s cannot be read; what is installed is used: %s", path, error)
            return _State()
