# SPDX-License-Identifier: AGPL-3.0-or-later
"""The masks in use: those of the settings, until some are drawn on the box or sent by the server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import yaml

from detector.errors import ConfigError
from detector.judgement.masks import MaskBook, ViewMasks
from detector.upkeep.versions import Versions
from detector.yamlfile import parse_checked, read_checked

log = logging.getLogger(__name__)

FILE = "masks.yaml"


class MaskDesk:
    """Reads, saves and takes back; each save is a version of the whole book. Safe to use from several threads."""

    def __init__(self, installed: MaskBook, versions: Versions) -> None:
        self._installed = installed
        self._versions = versions
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.RLock()
        self._book = self._read()

    def on_change(self, changed: Callable[[], None]) -> None:
        """What to call when the masks are others than they were."""
        self._changed = changed

    def of(self, camera: str, preset: str | None) -> ViewMasks:
        """The masks of one view."""
        return self._book.cameras.get(camera, {}).get(preset or "", ViewMasks())

    @property
    def undoable(self) -> bool:
        """Whether a save can be taken back."""
        return self._versions.undoable("masks")

    def draw(self, camera: str, preset: str | None, masks: ViewMasks) -> None:
        """Save one view's masks. Raises OSError when the disk refuses."""
        with self._lock:  # who draws at the same time goes on from this book, not from the one before
            views = self._book.cameras.get(camera, {}) | {preset or "": masks}
            self._save(MaskBook(cameras=self._book.cameras | {camera: views}))

    def undo(self) -> bool:
        """Take back the last save, whoever made it; False when there is none."""
        with self._lock:
            done = self._versions.back("masks")
            self._book = self._read()
            self._changed()
            return done

    def take(self, text: str, pushed: int) -> None:
        """A whole book from the server, its update `pushed`. Raises ConfigError, a line for each fault, and OSError."""
        book = parse_checked(text, MaskBook, FILE, Path())
        for camera, views in book.cameras.items():
            known = self._installed.cameras.get(camera)
            strange = set(views) - set(known or ())
            if known is None or strange:
                what = f"preset {min(strange)!r} of camera {camera}" if known else f"camera {camera}"
                raise ConfigError(f"{FILE}: {what} is not in this box's settings: use the names in edge.yaml")
        self._save(book, pushed)

    def _save(self, book: MaskBook, pushed: int | None = None) -> None:
        text = yaml.safe_dump(book.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
        with self._lock:
            self._versions.add("masks", {FILE: text.encode()}, pushed)
            self._book = book
            self._changed()

    def _read(self) -> MaskBook:
        folder = self._versions.current("masks")
        if folder is None:
            return self._installed
        try:
            return read_checked(folder / FILE, MaskBook)
        except ConfigError as error:
            log.error("%s; the masks of the settings are used", error)
            return self._installed
