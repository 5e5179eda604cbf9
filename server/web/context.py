# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the views share: the process's settings, database, clock and bell, and who is looking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import BoundedSemaphore
from typing import Any, cast

from flask import current_app, g, request
from sqlalchemy.orm import Session

from server.db import Clock, Database
from server.domain.errors import Invalid
from server.queries.viewer import Viewer
from server.settings import Settings
from server.web.bell import Bell

_KEY = "straw1530"


@dataclass(frozen=True)
class Web:
    """The parts of one web process. ``streams`` bounds the live connections, each of which holds a thread;
    ``alive`` turns false when the process is asked to stop."""

    settings: Settings
    database: Database
    clock: Clock
    bell: Bell
    streams: BoundedSemaphore
    alive: Callable[[], bool]

    def now(self, session: Session) -> datetime:
        """The instant that decides."""
        return self.clock.now(session)


def install(extensions: dict[str, object], parts: Web) -> None:
    """Give an application its parts."""
    extensions[_KEY] = parts


def web() -> Web:
    """The parts of the application that handles this request."""
    return cast(Web, current_app.extensions[_KEY])


def viewer() -> Viewer:
    """Who is logged in. Only for views behind ``login.require_login``."""
    return cast(Viewer, g.viewer)


def json_object() -> dict[str, Any]:
    """The request's body, which must be a JSON object. Raises Invalid."""
    found = request.get_json()
    if not isinstance(found, dict):
        raise Invalid("a JSON object is needed")
    return found
