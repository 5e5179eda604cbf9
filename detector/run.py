# SPDX-License-Identifier: AGPL-3.0-or-later
"""One edge box put together from its settings, and run until it is told to stop or has to start again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detector.box import EdgeBox
from detector.camera.source import open_source
from detector.config import EdgeSettings
from detector.judgement.eye import Knowledge
from detector.judgement.places import Places
from detector.link.outbox import Outbox
from detector.link.publisher import Publisher
from detector.link.timekeeper import Timekeeper
from detector.planning.plan_cli import judge_plan, slow_cameras
from detector.preview.app import PreviewApp
from detector.preview.doorkeeper import Doorkeeper
from detector.preview.gallery import Gallery
from detector.preview.server import PreviewServer
from detector.preview.view import LOOKED, Glance
from detector.upkeep.effective import model_in_use
from detector.upkeep.maskdesk import MaskDesk
from detector.upkeep.updater import Progress, Updater
from detector.upkeep.updates import public_key
from detector.upkeep.versions import Versions
from detector.watchdog import Watchdog

log = logging.getLogger(__name__)


class Service:
    """All parts of one box; `notify` is systemd's socket. Raises DetectorError when it cannot start."""

    def __init__(
        self, settings: EdgeSettings, file: Path, clock: Timekeeper, versions: Versions, notify: str | None = None
    ) -> None:
        self._settings = settings
        self._versions = versions
        self._clock = clock
        self._stop = threading.Event()
        self._again = False
        broker, token = settings.broker_access(), settings.preview_token()
        self._desk = MaskDesk(settings.mask_book(), versions)
        self._places = Places(settings.data_dir / "places.json")
        self._knowledge = Knowledge(self._desk.of, self._places.of)
        self._desk.on_change(self._knowledge.changed)
        self._outbox = Outbox(settings.outbox_path())
        model = model_in_use(settings, versions)
        self._model = f"{model.card.name} {model.card.version}".strip()
        log.info(
            "edge %s: %d cameras, model %s by %s", *(settings.edge, len(settings.cameras)), self._model, model.backend
        )
        self._publisher = Publisher(settings.edge, broker, self._outbox, clock)
        gallery = Gallery() if token else None
        self._box = EdgeBox(
            *(settings, model, self._outbox, self._publisher, clock, open_source, self._knowledge),
            gallery=gallery,
            slow=slow_cameras(settings),
        )
        self._page = self._make_page(gallery, token) if gallery and token else None
        self._updater = self._make_updater(file)
        self._watchdog = Watchdog(notify, lambda: self._box.looker.stepped_at)
        self._listen()

    def run(self, stop: threading.Event) -> bool:
        """Until stopped; True when the box is to be started again."""
        self._stop = stop
        if self._page:
            self._page.start()
        try:
            self._box.run(stop)
        finally:
            if self._page:
                self._page.stop()
        return self._again

    def _make_page(self, gallery: Gallery, token: str) -> PreviewServer:
        assert self._settings.preview is not None
        glance = Glance(
            *(self._settings.edge, self._model, self._box.watches, self._box.looker),
            *(self._outbox, self._publisher, self._clock, self._versions),
        )
        app = PreviewApp(glance, gallery, self._desk, Doorkeeper(token, self._clock))
        return PreviewServer(app, self._settings.preview.host, self._settings.preview.port)

    def _make_updater(self, file: Path) -> Updater | None:
        if self._settings.updates is None:
            return None
        return Updater(
            *(self._settings, file, public_key(self._settings.updates.public_key), self._versions, self._desk),
            clock=self._clock,
            progress=self._progress,
            refusals=lambda settings: judge_plan(settings)[1],
            restart=self._restart,
            say=self._publisher.say,
        )

    def _listen(self) -> None:
        if self._updater:
            self._publisher.listen("update", self._updater.offer)
            self._publisher.listen("piece", self._updater.piece, levels=2)
            self._publisher.attend(self._updater.step)
        self._publisher.attend(lambda: self._watchdog.step(self._clock.monotonic()))
        self._publisher.listen("places", self._take_places)
        self._publisher.report(self._more_status)

    def _take_places(self, _name: str, payload: bytes) -> None:
        self._places.take(payload)
        self._knowledge.changed()

    def _more_status(self) -> Mapping[str, Any]:
        trouble = self._updater.trouble if self._updater else None
        return {"versions": self._versions.report(), "places": self._places.digest, "trouble": trouble}

    def _progress(self) -> Progress:
        now = self._clock.monotonic()
        watches = self._box.watches
        well = frozenset(watch.settings.id for watch in watches if watch.looks and watch.status(now).state in LOOKED)
        return Progress({watch.settings.id: watch.looks for watch in watches}, well, self._publisher.connected)

    def _restart(self) -> None:
        self._again = True
        self._stop.set()
