# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read models as the plain JSON of the API. docs/api.md describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from server.queries.detail import Detail, Frame, Line
from server.queries.incidents import Seen, Summary
from server.queries.region import CameraView
from server.queries.viewer import Viewer
from server.web import sentences, words


def person(viewer: Viewer) -> dict[str, Any]:
    """Who is logged in."""
    return {
        "id": viewer.id,
        "login": viewer.login,
        "name": viewer.name,
        "role": viewer.role,
        "language": viewer.language,
        "area": {"code": viewer.area_code, "name": viewer.area_name},
    }


def summary(one: Summary) -> dict[str, Any]:
    """An incident as the list shows it."""
    return {
        "code": one.code,
        "state": one.state.value,
        "seq": one.seq,
        "open": one.is_open,
        "overdue": one.overdue,
        "opened_at": one.opened_at.isoformat(),
        "ended_at": _iso(one.ended_at),
        "place": {
            "text": one.place.full,
            "county": one.place.county,
            "township": one.place.township,
            "village": one.place.village,
            "grid_name": one.place.grid,
            "grid": one.grid_code,
            "county_code": one.county_code,
        },
        "camera": one.camera_id,
        "confidence": one.confidence,
        "bearing": one.bearing,
        "lat": one.lat,
        "lon": one.lon,
        "range_m": one.range_m,
        "along_m": one.along_m,
        "across_m": one.across_m,
        "stamps": one.stamps.to_json(),
        "intervals": [clock.to_json() for clock in one.clocks],
        "picture": picture(one.picture),
    }


def picture(seen: Seen | None) -> dict[str, Any] | None:
    """A camera picture with its box."""
    if seen is None:
        return None
    return {
        "sha256": seen.sha256,
        "url": f"/media/{seen.sha256}.jpg",
        "box": seen.box,
        "width": seen.width,
        "height": seen.height,
    }


def detail(found: Detail) -> dict[str, Any]:
    """An incident in full."""
    return {
        **summary(found.summary),
        "policy": {"version": found.summary.policy_version, **found.summary.policy.to_json()},
        "accepted_by": found.accepted_by,
        "undo_until": _iso(found.undo_until),
        "journal": [_line(line) for line in found.journal],
        "notices": [
            {
                "person": told.person,
                "phone": told.phone,
                "rung": told.rung,
                "kind": told.kind,
                "channel": told.channel,
                "state": told.state,
                "created_at": told.created_at.isoformat(),
                "sent_at": _iso(told.sent_at),
                "delivered_at": _iso(told.delivered_at),
                "failed_at": _iso(told.failed_at),
                "error": told.error,
            }
            for told in found.told
        ],
        "sightings": [
            {
                "id": glimpse.id,
                "camera": glimpse.camera,
                "received_at": glimpse.received_at.isoformat(),
                "late": glimpse.late,
                "confidence": glimpse.confidence,
                "picture": picture(glimpse.picture),
            }
            for glimpse in found.sightings
        ],
        "onsets": [
            {
                "camera": onset.camera,
                "opening": onset.opening,
                "clean": _frame(onset.clean),
                "first": _frame(onset.first),
                "error_ms": onset.error_ms,
                "frames": onset.frames,
            }
            for onset in found.onsets
        ],
        "photos": [
            {"sha256": photo.sha256, "url": f"/media/{photo.sha256}.jpg", "stored_at": photo.stored_at.isoformat()}
            for photo in found.photos
        ],
    }


def _frame(frame: Frame | None) -> dict[str, Any] | None:
    return {"at": frame.at.isoformat(), "picture": picture(frame.seen)} if frame else None


def _line(line: Line) -> dict[str, Any]:
    return {
        "seq": line.seq,
        "at": line.at.isoformat(),
        "event": line.event.value,
        "from_state": line.from_state.value if line.from_state else None,
        "to_state": line.to_state.value,
        "who": sentences.who(line),
        "text": sentences.describe(line),
        "due_at": _iso(line.due_at),
        "undone": line.undone,
    }


def camera(view: CameraView) -> dict[str, Any]:
    """A camera for the map."""
    return {
        "id": view.id,
        "name": view.name,
        "lat": view.lat,
        "lon": view.lon,
        "pan": view.pan,
        "hfov": view.hfov,
        "edge": view.edge,
        "state": view.state,
        "state_text": str(words.CAMERA_STATES.get(view.state, view.state)),
        "reason": view.reason,
        "last_frame_at": view.last_frame_at,
        "status_at": _iso(view.status_at),
    }


def _iso(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
