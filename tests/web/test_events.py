# SPDX-License-Identifier: AGPL-3.0-or-later
"""The live connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import update

from server.models import Person
from tests.web.conftest import Site, Visitor


def _open(visitor: Visitor) -> Iterator[tuple[str, dict[str, Any]]]:
    """(event, data) of each message, as they come."""
    response = visitor.client.get("/api/v1/events")
    assert response.status_code == 200
    assert response.mimetype == "text/event-stream"
    try:
        for chunk in response.response:
            text = chunk.decode() if isinstance(chunk, bytes) else chunk
            if text.startswith("event:"):
                head, data = text.strip().split("\n", 1)
                yield head.removeprefix("event: "), json.loads(data.removeprefix("data: "))
    finally:
        response.close()


def test_the_first_message_is_the_present_state(site: Site) -> None:
    """Server time, and each incident with its state and last line."""
    code = site.world.dispatched()
    kind, state = next(_open(site.login("county")))
    assert kind == "state"
    assert state["now"] == site.world.now.isoformat()
    assert state["incidents"] == [[code, "dispatched", 2]]
    assert state["cameras"] == [["tower-1", "unknown"]]


def test_a_change_is_told_when_it_is_committed(site: Site) -> None:
    """The commit wakes the connection: nobody polls."""
    code = site.world.dispatched()
    live = _open(site.login("county"))
    next(live)
    site.login("worker-1").answer(code, "accept")
    kind, state = next(live)
    assert (kind, state["incidents"]) == ("state", [[code, "accepted", 3]])
    live.close()  # type: ignore[attr-defined]


def test_others_incidents_are_not_told(site: Site) -> None:
    """The stream is limited to the person's area like everything else."""
    site.world.dispatched()
    _, state = next(_open(site.login("other-county")))
    assert state["incidents"] == []


def test_who_is_signed_out_hears_goodbye(site: Site) -> None:
    """A connection does not outlive its session."""
    live = _open(site.login("county"))
    next(live)
    with site.world.database.write() as session:
        session.execute(update(Person).where(Person.login == "county").values(session_epoch=7))
    site.world.sighting()
    assert next(live)[0] == "bye"


def test_connections_beyond_the_limit_are_refused_and_places_come_free(site: Site) -> None:
    """Each holds a thread, so they are counted; the page polls instead and finds the same state."""
    county = site.login("county")
    held = [_open(county) for _ in range(4)]
    for one in held:
        next(one)
    refused = county.client.get("/api/v1/events")
    assert (refused.status_code, refused.get_json()["code"]) == (503, "busy")
    assert county.json("/api/v1/state")["incidents"] == []
    held[0].close()  # type: ignore[attr-defined]
    assert next(_open(county))[0] == "state"
    for one in held:
        one.close()  # type: ignore[attr-defined]


def test_a_stopping_process_ends_its_connections(site: Site) -> None:
    """A restart is not held up by open screens."""
    live = _open(site.login("county"))
    next(live)
    site.running[0] = False
    assert list(live) == []
