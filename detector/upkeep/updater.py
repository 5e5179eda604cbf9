# SPDX-License-Identifier: AGPL-3.0-or-later
"""Takes updates from the server: verified, fetched, checked, tried, and kept or rolled back.

Masks count at once. Settings and models need a new start of the box and are on trial in it: they are kept when, after
`trial_s`, every camera that was well before has been looked at, and with new settings the broker has been reached.
What became of an update stands in the status, until the next one.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from detector.clock import Clock
from detector.config import EdgeSettings
from detector.errors import ConfigError, DetectorError
from detector.upkeep.download import Download, Say
from detector.upkeep.effective import INSTALLED_DIGEST, SETTINGS_FILE, digest_of
from detector.upkeep.maskdesk import MaskDesk
from detector.upkeep.updates import Update, UpdateError, UpdateFile, model_in, read_update
from detector.upkeep.versions import Trial, Versions
from detector.vision.card import read_card
from detector.yamlfile import parse_checked

log = logging.getLogger(__name__)

ON_SITE = ("edge", "data_dir", "updates")
"""What can be changed on the box alone: who it is, where it keeps its things, and whom it obeys."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How the box does since it started: looks by camera, which cameras are well, whether the broker was reached."""

    looks: Mapping[str, int]
    well: frozenset[str]
    connected: bool


class Updater:
    """For use from the sending thread. `restart` asks for a new start of the box; `refusals` is why a plan cannot keep
    the minute, one phrase each."""

    def __init__(
        self,
        settings: EdgeSettings,
        file: Path,
        key: Ed25519PublicKey,
        versions: Versions,
        desk: MaskDesk,
        clock: Clock,
        progress: Callable[[], Progress],
        refusals: Callable[[EdgeSettings], list[str]],
        restart: Callable[[], None],
        say: Say,
    ) -> None:
        self._settings = settings
        self._file = file
        self._key = key
        self._versions = versions
        self._desk = desk
        self._clock = clock
        self._progress = progress
        self._refusals = refusals
        self._restart = restart
        self._say = say
        self._started = clock.monotonic()
        self._connected = False
        self._update: Update | None = None
        self._downloads: dict[str, Download] = {}
        self._incoming = settings.versions_path() / "incoming"
        self.trouble: str | None = None

    def offer(self, _name: str, payload: bytes) -> None:
        """Something came that says it is an update."""
        try:
            update = read_update(payload, self._key, self._settings.edge)
        except UpdateError as error:
            if str(error) != self.trouble:
                log.error("%s", error)
            self.trouble = str(error)
            return
        self.trouble = None
        if update.version <= self._versions.pushed(update.kind) or update == self._update:
            return
        if self._versions.on_trial():
            return  # one thing at a time: it is offered again with the next status
        log.info("%s %d is offered by the server", update.kind, update.version)
        # A disk that refuses here lets the update be offered again: it is not under way yet.
        self._downloads = {file.name: Download(file, self._incoming, self._say) for file in update.files}
        self._update = update

    def piece(self, name: str, payload: bytes) -> None:
        """A piece of a file came; `name` is its digest and its offset, with a slash between."""
        sha256, _, offset = name.partition("/")
        if not offset.isdecimal():
            return
        for download in list(self._downloads.values()):
            self._attempt(partial(download.piece, sha256, int(offset), payload))

    def step(self) -> None:
        """To be called often: ask for what is missing, use what is complete, judge what is on trial."""
        now = self._clock.monotonic()
        self._judge_trials(now)
        if self._update is None:
            return
        missing = [each for each in self._downloads.values() if not each.content_is_here()]
        if missing:
            missing[0].step(now)
        else:
            self._attempt(self._use)

    def _attempt(self, action: Callable[[], None]) -> None:
        """An update that cannot be taken is refused with its reason; a full disk is one."""
        update = self._update
        if update is None:
            return
        try:
            action()
        except (DetectorError, OSError) as error:
            self._versions.refuse(update.kind, update.version, str(error))
            self._done()

    def _done(self) -> None:
        self._update = None
        self._downloads = {}
        shutil.rmtree(self._incoming, ignore_errors=True)

    def _use(self) -> None:
        update = self._update
        assert update is not None
        files = {name: download.content() for name, download in self._downloads.items()}
        if update.kind == "masks":
            self._desk.take(_text(files), update.version)
            self._done()
            return
        if update.kind == "settings":
            self._check_settings(_text(files))
            files = {SETTINGS_FILE: next(iter(files.values())), INSTALLED_DIGEST: digest_of(self._file).encode()}
        else:
            self._check_model(update.files)
        trial = Trial(cameras=tuple(sorted(self._progress().well)))
        self._versions.add(update.kind, files, update.version, trial)
        self._done()
        log.info("%s %d is tried: the box starts again", update.kind, update.version)
        self._restart()

    def _check_settings(self, text: str) -> None:
        new = parse_checked(text, EdgeSettings, SETTINGS_FILE, self._file.parent)
        for name in ON_SITE:
            if getattr(new, name) != getattr(self._settings, name):
                raise ConfigError(f"{SETTINGS_FILE}: {name} can be changed on the box alone")
        new.broker_access()
        new.preview_token()
        known = set(self._refusals(self._settings))
        worse = [refusal for refusal in self._refusals(new) if refusal not in known]
        if worse:
            raise ConfigError("the plan is refused: " + "; ".join(worse))

    def _check_model(self, files: tuple[UpdateFile, ...]) -> None:
        """The card and the digest on it; whether it sees what it should is tried after the start."""
        folder = self._incoming / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in files:
            (folder / file.name).hardlink_to(self._incoming / file.sha256)
        path = model_in(folder)
        if path is None:
            raise UpdateError("the update holds no model, or more than one")
        read_card(path)

    def _judge_trials(self, now: float) -> None:
        trials = self._versions.on_trial()
        if not trials or self._settings.updates is None:
            return
        progress = self._progress()
        self._connected = self._connected or progress.connected
        if now - self._started < self._settings.updates.trial_s:
            return
        for kind, trial in trials.items():
            unseen = [each for each in trial.cameras if progress.looks.get(each) == 0]
            if unseen:
                self._versions.roll_back(kind, f"not looked at since the start: {', '.join(unseen)}")
            elif kind == "settings" and not self._connected:
                self._versions.roll_back(kind, "the broker was not reached")
            else:
                self._versions.keep(kind)
                continue
            self._restart()


def _text(files: Mapping[str, bytes]) -> str:
    if len(files) != 1:
        raise UpdateError(f"one file is asked for, {len(files)} came")
    try:
        return next(iter(files.values())).decode()
    except UnicodeDecodeError as error:
        raise UpdateError(f"{next(iter(files))} is not text: {error}") from error
