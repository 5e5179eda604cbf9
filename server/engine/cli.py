# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 engine``: MQTT intake, the clock, its auditor's heartbeat and the notary, in one process."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial

from server.admin.schema import require_current
from server.audit import beat
from server.db import Clock, Database, DatabaseClock
from server.domain.errors import Invalid
from server.engine.broker import BrokerLink
from server.engine.clock import ClockLoop
from server.engine.duties import every
from server.engine.intake import Intake
from server.evidence import keys, notary, publish
from server.locate.terrain import open_terrain
from server.services import health
from server.services.continuity import EVERY_S, Continuity
from server.settings import SettingsError, read_settings


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="straw1530 engine",
        description="Take in sightings and answers over MQTT, fire the ladder's deadlines, audit and sign the journal.",
        epilog="Settings: STRAW1530_DATA, STRAW1530_DATABASE (optional), STRAW1530_MQTT=user:password@host:port, "
        "STRAW1530_TERRAIN, STRAW1530_PUBLISH and STRAW1530_SMTP (optional).",
    )
    parser.add_argument("--name", default=f"engine-{socket.gethostname()}", help="this replica's name on the broker")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = read_settings()
        broker = settings.require_broker()
        database = Database(settings.database_url)
        require_current(database)
        key = keys.load(settings.data_dir)
        places = publish.read_places()
        terrain = open_terrain(settings.terrain_dir) if settings.terrain_dir else None
    except (SettingsError, Invalid) as error:
        print(f"engine: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = DatabaseClock()
    continuity = Continuity(database, clock)
    continuity.resume()
    link = BrokerLink(broker, args.name, stop)
    link.start(Intake(database, clock, settings.evidence_dir, link.publish, terrain).handle)
    loop = ClockLoop(database, clock)
    heart = beat.Heart(
        database, clock, settings.data_dir / "heartbeat.json", lambda: time.monotonic() - loop.alive_at, link.keep
    )
    sealer = notary.Notary(database, clock, key, settings.data_dir / "checkpoints", link.keep)
    publisher = publish.Publisher(database, clock, places)
    publisher.forget_others()
    duties = [
        every(stop, EVERY_S, "continuity", continuity.step),
        every(stop, beat.EVERY_S, "heartbeat", heart.step),
        every(stop, notary.EVERY_S, "notary", sealer.step),
        every(stop, publish.EVERY_S, "publisher", publisher.step),
        every(stop, health.EVERY_S, "health", partial(_watch_boxes, database, clock)),
    ]
    try:
        loop.run(stop)
    finally:
        for duty in duties:
            duty.join(10)
        link.close()
        database.dispose()
    return 0


def _watch_boxes(database: Database, clock: Clock) -> None:
    with database.write() as session:
        health.watch(session, clock.now(session))
