# SPDX-License-Identifier: AGPL-3.0-or-later
"""The peer of ``bench dispatch``: pgqueuer with its defaults, whose job publishes one message; it finds nobody, keeps
no record of the sending and knows no receipts. The extra ``bench`` installs it.

``python -m benchmarks.pgqueuer_push DSN HOST PORT`` is its worker: prints "ready", ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import figures
from benchmarks.city import city
from benchmarks.subscriber import subscriber


def measure(folder: Path, rate: float, seconds: float) -> dict[str, Any]:
    """Jobs at ``rate`` a second for so long; milliseconds from their commit to a subscriber's hand."""
    import psycopg
    from pgqueuer.db import SyncPsycopgDriver
    from pgqueuer.queries import SyncQueries

    with city("postgresql", folder) as place, subscriber(place.broker) as arrived:
        dsn = place.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        asyncio.run(_install(dsn))
        command = [sys.executable, "-m", "benchmarks.pgqueuer_push", dsn, place.broker[0], str(place.broker[1])]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        worker.stdout.readline()
        committed: dict[str, float] = {}
        warm_up, number = int(rate), int(rate * seconds)
        with psycopg.connect(dsn, autocommit=True) as connection:
            queries = SyncQueries(SyncPsycopgDriver(connection))
            start = time.monotonic()
            for turn in range(warm_up + number):
                time.sleep(max(0.0, start + turn / rate - time.monotonic()))
                queries.enqueue("push", f"J{turn}".encode())
                committed[f"J{turn}"] = time.monotonic()
            took = time.monotonic() - start
        end = time.monotonic() + 30
        while len(arrived) < len(committed) and time.monotonic() < end:
            time.sleep(0.05)
        worker.terminate()
        worker.wait(20)
    first = dict(reversed(arrived))
    delays = [1000 * (first[code] - at) for code, at in list(committed.items())[warm_up:] if code in first]
    return {
        "peer": "pgqueuer",
        "rate": round((warm_up + number) / took, 1),
        "arrived": len(delays),
        "commit_to_hand_ms": {name: round(value, 2) for name, value in figures.spread(delays).items()},
    }


async def _install(dsn: str) -> None:
    import psycopg
    from pgqueuer.db import PsycopgDriver
    from pgqueuer.queries import Queries

    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await Queries(PsycopgDriver(connection)).install()


async def _work(dsn: str, host: str, port: int) -> None:
    import psycopg
    from pgqueuer import PgQueuer

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("dispatch", "password-of-dispatch")
    client.connect(host, port)
    client.loop_start()
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        worker = PgQueuer.from_psycopg_connection(connection)

        @worker.entrypoint("push")
        async def job(one: Any) -> None:
            client.publish("straw1530/v1/person/bench/notice", b'{"incident": "%s"}' % one.payload, qos=1)

        print("ready", flush=True)
        await worker.run()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
