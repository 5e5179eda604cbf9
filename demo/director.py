# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's director: lights a fire once the cameras are seen, puts it out when the worker reports it done."""

from __future__ import annotations

import contextlib

from sqlalchemy import select

from demo.simulator import Simulator
from demo.site import CameraSite, Demo, DemoError
from demo.supervisor import Log
from server.db import Database
from server.domain.lifecycle import BURNING_STATES, State
from server.models import EdgeBox, Incident


class Director:
    """Call ``step`` now and then. With the user's own video there is nothing to light."""

    def __init__(self, demo: Demo, log: Log) -> None:
        self._demo = demo
        self._log = log
        self._database = Database(f"sqlite:///{demo.server_data / 'straw1530.sqlite'}")
        self._simulator = Simulator(demo)
        self._lit: set[str] = set()  # cameras whose scene has had its first fire
        self._burning: set[str] = set()

    def step(self, *, asked: bool) -> None:
        """Light what is to be lit, put out what was reported done. ``asked``: the user wants another fire."""
        if self._demo.video is not None:
            return
        for site in self._demo.sites:
            with contextlib.suppress(DemoError):  # the simulator is starting (again): next time
                self._direct(site, asked=asked)

    def _direct(self, site: CameraSite, *, asked: bool) -> None:
        if site.camera in self._burning and self._reported(site):
            self._simulator.extinguish(site)
            self._burning.discard(site.camera)
            self._log.write("demo", f"the fire before {site.camera} was put out")
        first = site.camera not in self._lit and self._seen(site)
        if first or (asked and site.camera not in self._burning):
            truth = self._simulator.ignite(site)
            self._lit.add(site.camera)
            self._burning.add(site.camera)
            self._log.write("demo", f"a fire was lit at {truth['lat']:.5f}, {truth['lon']:.5f}, before {site.camera}")

    def _seen(self, site: CameraSite) -> bool:
        with self._database.read() as session:
            box = session.get(EdgeBox, site.edge)
            status = box.status if box is not None and box.online else None
        return bool(status and status["cameras"].get(site.camera, {}).get("state") == "ok")

    def _reported(self, site: CameraSite) -> bool:
        """Whether the newest incident of this camera is over for the people in the field."""
        with self._database.read() as session:
            state = session.scalars(
                select(Incident.state)
                .where(Incident.camera_id == site.camera)
                .order_by(Incident.opened_at.desc())
                .limit(1)
            ).first()
        return state is not None and State(state) not in BURNING_STATES - {State.REPORTED}
