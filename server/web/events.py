# SPDX-License-Identifier: AGPL-3.0-or-later
"""What changed, told live: server-sent events, and the same state for who polls.

The state is sent whole and again whenever it changed, so that a lost or repeated message does no harm.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from flask import Response

from server.queries import incidents, region
from server.queries import viewer as viewers
from server.queries.viewer import Viewer
from server.web.context import Web
from server.web.errors import Busy

BEAT_S = 15.0
_CHECK_S = 1.0


def state(parts: Web, viewer: Viewer) -> dict[str, Any]:
    """Server time, and for each listed incident its code, state and last journal line; camera states."""
    with parts.database.read() as session:
        now = parts.now(session)
        return {
            "now": now.isoformat(),
            "incidents": incidents.versions(session, viewer, now),
            "cameras": [(camera.id, camera.state) for camera in region.cameras(session, viewer)],
        }


def stream(parts: Web, viewer: Viewer) -> Response:
    """A response that goes on until the client leaves, the person is signed out or the process stops.
    Raises Busy when all places are taken."""
    if not parts.streams.acquire(blocking=False):
        raise Busy
    parts.bell.start()
    response = Response(_messages(parts, viewer), mimetype="text/event-stream")
    response.call_on_close(parts.streams.release)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx passes it on at once
    return response


def _messages(parts: Web, viewer: Viewer) -> Iterator[str]:
    yield "retry: 3000\n\n"
    told: object = None
    rings = -1
    last_s = time.monotonic()
    while parts.alive():
        rung = parts.bell.wait(rings, _CHECK_S) if told is not None else True
        beat = time.monotonic() - last_s >= BEAT_S
        if not rung and not beat:
            continue
        rings = parts.bell.rings
        if not _still_here(parts, viewer):
            yield _message("bye", {})
            return
        current = state(parts, viewer)
        news = (current["incidents"], current["cameras"])
        if news != told or beat:
            yield _message("state", current)
            told, last_s = news, time.monotonic()


def _still_here(parts: Web, viewer: Viewer) -> bool:
    with parts.database.read() as session:
        found = viewers.load(session, viewer.id)
    return found is not None and found.session_epoch == viewer.session_epoch


def _message(event: str, data: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"
