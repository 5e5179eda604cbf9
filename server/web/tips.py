# SPDX-License-Identifier: AGPL-3.0-or-later
"""A report of a fire as a program sends it (docs/api.md, Reports)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from server.domain.errors import Invalid
from server.services.reports import SOURCES, Tip
from server.web.answers import degrees, instant

_MAX_ERROR_M = 5_000.0


def parse(fields: Any) -> Tip:
    """Read a report from JSON. Raises Invalid naming the field."""
    if not isinstance(fields, Mapping):
        raise Invalid("a report is a JSON object")
    number, source, note = str(fields.get("id") or ""), fields.get("source"), str(fields.get("note") or "").strip()
    if not 8 <= len(number) <= 64:
        raise Invalid("id: 8 to 64 characters, minted once for this report")
    if source not in SOURCES:
        raise Invalid(f"source: one of {', '.join(SOURCES)}")
    lat, lon = degrees("lat", fields.get("lat"), 90), degrees("lon", fields.get("lon"), 180)
    error_m = degrees("error_m", fields.get("error_m"), _MAX_ERROR_M)
    seen_at = instant("seen_at", fields.get("seen_at"))
    if lat is None or lon is None or seen_at is None or error_m is None or error_m <= 0:
        raise Invalid("lat, lon, error_m (metres, one standard deviation) and seen_at are needed")
    if len(note) > 500:
        raise Invalid("note: at most 500 characters")
    return Tip(number, str(source), lat, lon, error_m, datetime.fromisoformat(seen_at), note or None)
