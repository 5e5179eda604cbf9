# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lines of sight that an incident's journal holds, and its place made better where several cameras' cross."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from server.domain.lifecycle import BURNING_STATES
from server.domain.place import Place, View
from server.locate.ground import Array, Tangent
from server.locate.region import region
from server.locate.sight import Sight
from server.locate.terrain import Terrain
from server.locate.zoom import ZoomTable
from server.models import Camera, Incident
from server.services import journal

# Where a line's data keeps a line of sight, and the place that came of crossing it with others.
SIGHT, PLACE = "sight", "place"


def stated(
    camera: Camera, view: tuple[float, float, float | None] | None, zoom: float | None, *, moving: bool
) -> tuple[float, float, float | None] | None:
    """Where a camera says it looked: pan, tilt and field of view (by its zoom table where it states none; None when
    that does not say). The registered direction for one that stands still and says nothing; None when nobody knows."""
    if view is None:
        return None if moving or camera.ptz else (camera.pan, camera.tilt, camera.hfov)
    pan, tilt, hfov = view
    if hfov is None and zoom is not None and camera.zoom_table:
        hfov = ZoomTable(camera.id, [(row[0], row[1]) for row in camera.zoom_table]).hfov(zoom)
    return pan, tilt, hfov


def view(camera: Camera, stated: tuple[float, float, float]) -> View:
    """How a camera looks: its stated pan, tilt and field of view, set right by its calibration."""
    pan, tilt, hfov = stated
    return View(
        lat=camera.lat,
        lon=camera.lon,
        height_m=camera.height_m,
        pan=pan + camera.pan_offset,
        tilt=min(90.0, max(-90.0, tilt + camera.tilt_offset)),
        hfov=min(179.9, hfov * camera.hfov_factor),
        pan_error=camera.pan_error,
        tilt_error=camera.tilt_error,
        roll=camera.roll,
        height_error=camera.height_error,
        hfov_error=camera.hfov_error,
        altitude_m=camera.altitude_m,
    )


def sights(session: Session, incident: Incident) -> list[Sight]:
    """The first line of sight of each camera that saw the incident: the mount's errors are the same each time, and the
    first smoke stands nearest to the fire."""
    found: dict[str, Sight] = {}
    for line in journal.lines(session, incident.id):
        if SIGHT in line.data:
            one = Sight.from_data(line.data[SIGHT])
            found.setdefault(one.camera, one)
    return list(found.values())


def agree(session: Session, incident: Incident, seen: Sight, terrain: Terrain | None) -> bool:
    """Whether the sight crosses those of the incident's other cameras within their errors."""
    others = [one for one in sights(session, incident) if one.camera != seen.camera]
    return bool(others) and region([*others, seen], terrain).place.lat is not None


def refine(session: Session, incident: Incident, seen: Sight, terrain: Terrain | None) -> dict[str, Any]:
    """A sight joins an incident whose lock the caller holds: what of it belongs in the journal. Where a camera that had
    not seen the fire yet, or not while it stood still, makes its place better, the incident's place moves."""
    known = sights(session, incident)
    if any(one.camera == seen.camera for one in known):
        return {}
    data: dict[str, Any] = {SIGHT: seen.to_data()}
    if (known or incident.lat is None) and incident.state in BURNING_STATES:
        place = region([*known, seen], terrain).place
        if place.lat is not None:
            put(incident, place)
            data[PLACE] = {name: value for name, value in asdict(place).items() if name != "cloud"}
    return data


def put(incident: Incident, place: Place) -> None:
    """Write a place into the incident's projection."""
    incident.bearing, incident.lat, incident.lon = place.bearing, place.lat, place.lon
    incident.range_m, incident.along_m, incident.across_m = place.range_m, place.along_m, place.across_m
    incident.cloud = " ".join(f"{east},{north}" for east, north in place.cloud) or None


def points(incident: Incident) -> Array | None:
    """The incident's cloud: n × 2 (longitude, latitude), equally probable; None where it has none."""
    if incident.cloud is None or incident.lat is None or incident.lon is None:
        return None
    metres = np.array([pair.split(",") for pair in incident.cloud.split(" ")], np.float64)
    lats, lons = Tangent.at(incident.lat, incident.lon).to_degrees(metres[:, 0], metres[:, 1])
    return np.column_stack([lons, lats])
