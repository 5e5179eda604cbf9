# SPDX-License-Identifier: AGPL-3.0-or-later
"""Engine clocks as real processes, killed -9 at random moments. `straw1530 bench crash` does this a thousand times."""

from __future__ import annotations

from benchmarks import crash
from server.db import Database


def test_every_step_fires_once_however_often_the_engines_are_killed(database: Database) -> None:
    """Four replicas on PostgreSQL, two on SQLite: nothing lost, doubled or early, and every chain whole."""
    sqlite = database.url.get_backend_name() == "sqlite"
    found = crash.run(
        database, kills=12 if sqlite else 30, replicas=2 if sqlite else 4, deadlines=300, every_s=0.15, seed=1530
    )
    wrong = ("lost", "fired_without_line", "fired_twice", "callouts_missing_or_double", "early", "broken_chains")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0)
