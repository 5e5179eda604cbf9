# SPDX-License-Identifier: AGPL-3.0-or-later
"""The same due moments given to kept job queues, with their own settings; their jobs only note the time. The extra
``bench`` installs them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import figures
from server.db import Database

_LATE: list[float] = []
_PATIENCE_S = 30.0


def _moments(due: int, within_s: float) -> list[datetime]:
    chance = random.Random(1530)
    start = datetime.now(UTC) + timedelta(seconds=5 + due / 300)
    return [start + timedelta(seconds=chance.uniform(0, within_s)) for _ in range(due)]


def _result(due: int, moments: list[datetime], spare_s: float) -> dict[str, Any]:
    figure = figures.spread(_LATE) if _LATE else None
    return {
        "due": due,
        "ran": len(_LATE),
        "early": sum(seconds < 0 for seconds in _LATE),
        "spare_s": spare_s,
        "lateness_s": figure,
    }


def _spare(moments: list[datetime]) -> float:
    return (min(moments) - datetime.now(UTC)).total_seconds()


def note(due: str) -> None:
    """The job: how late is it?"""
    _LATE.append((datetime.now(UTC) - datetime.fromisoformat(due)).total_seconds())


def _dsn(opened: Database) -> str:
    return opened.url.set(drivername="postgresql").render_as_string(hide_password=False)


async def _until_done(due: int, last: datetime) -> None:
    end = time.monotonic() + (last - datetime.now(UTC)).total_seconds() + _PATIENCE_S
    while len(_LATE) < due and time.monotonic() < end:
        await asyncio.sleep(0.2)


def pgqueuer(opened: Database, *, due: int, within_s: float) -> dict[str, Any]:
    """pgqueuer on psycopg, with its defaults."""
    _LATE.clear()
    return asyncio.run(_pgqueuer(_dsn(opened), due, within_s))


async def _pgqueuer(dsn: str, due: int, within_s: float) -> dict[str, Any]:
    import psycopg
    from pgqueuer import PgQueuer
    from pgqueuer.db import PsycopgDriver
    from pgqueuer.queries import Queries

    async with (
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as writing,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as working,
    ):
        queries = Queries(PsycopgDriver(writing))
        await queries.install()
        moments = _moments(due, within_s)
        for start in range(0, due, 500):
            part = moments[start : start + 500]
            now = datetime.now(UTC)
            await queries.enqueue(
                ["note"] * len(part), [None] * len(part), [0] * len(part), [moment - now for moment in part]
            )
        spare = _spare(moments)
        worker = PgQueuer.from_psycopg_connection(working)

        @worker.entrypoint("note")
        async def job(one: Any) -> None:
            _LATE.append((datetime.now(UTC) - one.execute_after).total_seconds())

        running = asyncio.create_task(worker.run())
        await _until_done(due, max(moments))
        worker.shutdown.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running, 40)
        return _result(due, moments, spare)


def procrastinate(opened: Database, *, due: int, within_s: float) -> dict[str, Any]:
    """procrastinate, with its defaults."""
    _LATE.clear()
    return asyncio.run(_procrastinate(_dsn(opened), due, within_s))


async def _procrastinate(dsn: str, due: int, within_s: float) -> dict[str, Any]:
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=dsn))

    @app.task(name="note", queue="bench")
    async def job(due_at: str) -> None:
        note(due_at)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        moments = _moments(due, within_s)
        for moment in moments:
            await job.configure(schedule_at=moment).defer_async(due_at=moment.isoformat())
        spare = _spare(moments)
        running = asyncio.create_task(app.run_worker_async(queues=["bench"], install_signal_handlers=False))
        await _until_done(due, max(moments))
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return _result(due, moments, spare)


def apscheduler(opened: Database, *, due: int, within_s: float) -> dict[str, Any]:
    """APScheduler 3 with its SQLAlchemy store, with its defaults but for misfires, which it would drop."""
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.background import BackgroundScheduler

    _LATE.clear()
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=opened.url.render_as_string(hide_password=False))}, timezone=UTC
    )
    scheduler.start(paused=True)
    moments = _moments(due, within_s)
    for moment in moments:
        scheduler.add_job(
            "benchmarks.peers:note", "date", run_date=moment, args=[moment.isoformat()], misfire_grace_time=None
        )
    spare = _spare(moments)
    scheduler.resume()
    asyncio.run(_until_done(due, max(moments)))
    scheduler.shutdown(wait=False)
    return _result(due, moments, spare)


PEERS: dict[str, Callable[..., dict[str, Any]]] = {
    "pgqueuer": pgqueuer,
    "procrastinate": procrastinate,
    "apscheduler": apscheduler,
}
