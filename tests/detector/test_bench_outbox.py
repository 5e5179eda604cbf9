# SPDX-License-Identifier: AGPL-3.0-or-later
"""The measurement of the outbox, made small: it loses nothing and does not deceive itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import outbox
from server.db import Database
from tests.support.brokers import RunningBroker


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_boxes_killed_while_sending_lose_and_double_nothing(
    database: Database, broker: RunningBroker, tmp_path: Path
) -> None:
    """Real broker, real intake: each accepted alarm, onset, report and picture is in the record once."""
    outbox.register(database)
    address = (broker.host, broker.port)
    found: dict[str, Any] = {}
    # On a busy machine a box may not get to find anything in so short a life: then they live longer.
    for every_s in (0.4, 1.6, 6.4):
        found = outbox.killed(database, address, tmp_path, kills=6, every_s=every_s, seed=7)
        if found["accepted"]["sighting"]:
            break
    assert found["accepted"]["sighting"] > 0
    assert {name: found[name] for name in ("lost", "doubled", "lines_missing", "left_in_outbox")} == {
        "lost": 0,
        "doubled": 0,
        "lines_missing": 0,
        "left_in_outbox": 0,
    }
    with (tmp_path / "accepted").open("a") as notes:
        notes.write("sighting 00000000-0000-4000-8000-000000000000 none\n")
    assert outbox.count(database, tmp_path)["lost"] == 2  # it and its picture


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_outage_drains_oldest_first(database: Database, broker: RunningBroker, tmp_path: Path) -> None:
    """Every alarm in order and marked late, then the rest."""
    outbox.register(database)
    found = outbox.outage(database, (broker.host, broker.port), tmp_path, alarms=24, hours=2)
    assert (found["left"], found["in_order"], found["late"], found["pictures"]) == (0, True, 24, 24)
