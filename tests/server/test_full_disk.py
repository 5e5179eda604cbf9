# SPDX-License-Identifier: AGPL-3.0-or-later
"""A disk with no room left: what was accepted stays, what comes is not acknowledged, and it goes on by itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from sqlalchemy import event, select, text

from server.engine.broker import BrokerLink
from server.models import Sighting
from server.settings import Broker
from tests.server.test_intake import Desk, message
from tests.support.world import World


class _Acks:
    """Stands where paho's client is asked to acknowledge; the rest of the link is real."""

    def __init__(self) -> None:
        self.count = 0

    def ack(self, *_: Any) -> None:
        self.count += 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_full_disk_loses_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite says "database or disk is full": the message waits unacknowledged and is taken once there is room."""
    desk = Desk(world)
    desk.receive("edge/edge-1/sighting", message(world))
    full = [True]

    @event.listens_for(world.database.engine, "begin")
    def _limit(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages if full[0] else 1_000_000}")

    waiting = _fill(world)
    stop = threading.Event()
    link = BrokerLink(Broker("127.0.0.1", 1, "engine", "x"), "test", stop)
    tried = threading.Event()

    def handle(topic: str, payload: bytes) -> None:
        try:
            desk.intake.handle(topic, payload)
        finally:
            tried.set()

    link._handle = handle  # what start() sets, without a broker
    acks = _Acks()
    arrived = mqtt.MQTTMessage(1, b"straw1530/v1/edge/edge-1/sighting")
    arrived.payload = waiting
    thread = threading.Thread(target=link._message, args=(acks, None, arrived), daemon=True)
    thread.start()
    assert tried.wait(20)
    assert acks.count == 0
    full[0] = False
    thread.join(20)
    assert acks.count == 1
    assert any("full" in record.message for record in caplog.records)
    with world.database.read() as session:
        assert len(session.scalars(select(Sighting.id)).all()) == 2


def _fill(world: World) -> bytes:
    """Use up the free space inside the file, and return a message too large for what is left."""
    import json

    with world.database.write() as session:
        session.execute(text("UPDATE edge_boxes SET name = name || :x WHERE id = 'edge-2'"), {"x": "x" * 3000})
    return json.dumps(message(world, track=[{"at": world.now.isoformat(), "note": "x" * 50}] * 400)).encode()


def test_an_evidence_folder_that_cannot_be_written_is_not_acknowledged(world: World, tmp_path: Path) -> None:
    """The picture is asked for again, and the sighting stands."""
    import hashlib

    from tests.support.world import jpeg

    desk = Desk(world)
    photo = jpeg()
    sighting = message(world, picture={"sha256": hashlib.sha256(photo).hexdigest(), "bytes": len(photo)})
    desk.receive("edge/edge-1/sighting", sighting)
    world.evidence.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="evidence"):
        desk.receive(f"edge/edge-1/picture/{sighting['id']}", photo)
    world.evidence.unlink()
    answer = desk.receive(f"edge/edge-1/picture/{sighting['id']}", photo)
    assert answer is not None
    assert answer["result"] == "stored"
