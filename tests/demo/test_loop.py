# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole loop with its real processes: one scripted fire while every process is killed in the middle of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select

from demo.prepare import prepare
from demo.script import ScriptedFire
from demo.site import Demo, DemoError, Ports, default_sites, load_secrets
from demo.stack import specs
from demo.supervisor import Log, Supervisor
from server.db import Database
from server.models import Incident, JournalEntry, Notice
from server.services.journal import first_broken_line
from tests.support.brokers import free_port


def make_demo(folder: Path) -> Demo:
    """A demo of its own, on free ports."""
    sites = default_sites()[:1]
    secrets = load_secrets(folder / "secrets.json", sites)
    return Demo(folder, _free_ports(), sites, secrets=secrets)


def _free_ports() -> Ports:
    """Five free ports in a row."""
    while True:
        ports = Ports(free_port())
        try:
            ports.check_free()
        except DemoError:
            continue
        return ports


class Killer:
    """Kills one process after another, each as soon as its moment has come and the one before is up again."""

    def __init__(self, supervisor: Supervisor, fire: Callable[[], ScriptedFire]) -> None:
        self._supervisor = supervisor
        self._fire = fire
        self.killed: list[str] = []
        # The simulator forgets its fire when it dies, so it dies once the smoke has been seen.
        self._plan = {
            "stream": ["broker", "sms-peer"],
            "discover": ["engine", "edge-shiliang", "dispatch", "web"],
            "dispatch": ["camera-sim"],
        }
        self._next_at = 0.0

    def tick(self) -> None:
        """Called while the script waits."""
        self._supervisor.step()
        done = {str(hop["hop"]) for hop in self._fire().report["hops"]}
        running = next((hop for hop in ("pages", "stream", "discover", "dispatch") if hop not in done), "after")
        waiting = self._plan.get(running, [])
        if not waiting or time.monotonic() < self._next_at:
            return
        pid = self._supervisor.pids().get(waiting[0])
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.killed.append(waiting.pop(0))
            self._next_at = time.monotonic() + 1.0


def test_every_process_is_killed_and_the_fire_still_closes_once(tmp_path: Path) -> None:
    """kill -9 of each process in the middle of a fire: nothing is lost, nothing happens twice, all stamps are there."""
    demo = make_demo(tmp_path)
    prepare(demo, lambda _: None)
    log = Log(tmp_path / "demo.log", echo=False)
    with closing(log), Supervisor(specs(demo), log) as supervisor:
        killer = Killer(supervisor, lambda: fire)
        fire = ScriptedFire(demo, demo.sites[0], killer.tick, lambda _: None)
        report = fire.run()
    assert report["ok"], (
        f"{report.get('failed_hop')}: {report.get('reason')}\n{(tmp_path / 'demo.log').read_text()[-6000:]}"
    )
    assert set(killer.killed) == {spec.name for spec in specs(demo)}
    database = Database(f"sqlite:///{demo.server_data / 'straw1530.sqlite'}")
    with database.read() as session:
        incident = session.scalars(select(Incident).where(Incident.code == report["incident"])).one()
        assert first_broken_line(session, incident.id) is None
        for event in ("open", "accept", "arrive", "report_done", "verify", "close"):
            mine = (JournalEntry.incident_id == incident.id, JournalEntry.event == event)
            assert session.scalar(select(func.count()).where(*mine)) == 1, event
        sent = session.scalars(select(Notice.person_id).where(Notice.incident_id == incident.id)).all()
        assert sent
    database.dispose()
