# SPDX-License-Identifier: AGPL-3.0-or-later
"""The region as the map shows it: outlines, cameras and their health, grids to hand a fire over to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from server.domain.place import distance_m
from server.models import Camera, Division
from server.queries.places import grid_name, village_name
from server.queries.viewer import Viewer

_NEARBY = 8


@dataclass(frozen=True, slots=True)
class CameraView:
    """A camera, where it looks and how it was when its edge box last spoke. ``state`` is one of the wire's camera
    states, "offline" when the box is, or "unknown" before its first word."""

    id: str
    name: str
    lat: float
    lon: float
    pan: float
    hfov: float
    height_m: float
    edge: str
    online: bool
    state: str
    reason: str | None
    last_frame_at: str | None
    status_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grid:
    """A village or a grid that a fire may be handed over to; ``distance_m`` from the fire, None when unknown."""

    code: str
    name: str
    township: str
    distance_m: float | None


def cameras(session: Session, viewer: Viewer) -> list[CameraView]:
    """The cameras of the counties in the viewer's area, by name."""
    rows = session.scalars(
        select(Camera)
        .where(Camera.county_code.startswith(viewer.area_prefix, autoescape=True))
        .order_by(Camera.name, Camera.id)
    )
    return [_camera(row) for row in rows]


def _camera(row: Camera) -> CameraView:
    status: Mapping[str, Any] = ((row.edge.status or {}).get("cameras") or {}).get(row.id) or {}
    state = status.get("state") or "unknown"
    return CameraView(
        id=row.id,
        name=row.name,
        lat=row.lat,
        lon=row.lon,
        pan=row.pan,
        hfov=row.hfov,
        height_m=row.height_m,
        edge=row.edge.name,
        online=row.edge.online,
        state=state if row.edge.online or row.edge.status_at is None else "offline",
        reason=status.get("reason"),
        last_frame_at=status.get("last_frame_at"),
        status_at=row.edge.status_at,
    )


def outlines(session: Session, viewer: Viewer, level: str, within: str | None = None) -> dict[str, Any]:
    """A GeoJSON FeatureCollection (WGS-84) of the divisions of one level in the viewer's area; ``within`` narrows it
    to codes that begin so. Properties: code, name, synthetic."""
    query = select(Division).where(
        Division.level == level,
        Division.code.startswith(viewer.area_prefix, autoescape=True),
        Division.geometry.is_not(None),
    )
    if within:
        query = query.where(Division.code.startswith(within, autoescape=True))
    features = [
        {
            "type": "Feature",
            "properties": {"code": row.code, "name": village_name(row.name), "synthetic": row.synthetic},
            "geometry": row.geometry,
        }
        for row in session.scalars(query.order_by(Division.code).options(undefer(Division.geometry)))
    ]
    return {"type": "FeatureCollection", "features": features}


def outline_of(session: Session, code: str) -> dict[str, Any] | None:
    """The outline of one division, GeoJSON geometry, WGS-84."""
    return session.scalar(select(Division.geometry).where(Division.code == code))


def grids(session: Session, county_code: str, lat: float | None, lon: float | None) -> tuple[list[Grid], list[Grid]]:
    """The villages of a county and their grids: those nearest to the position, then all by township."""
    county = session.get_one(Division, county_code)
    rows = session.execute(
        select(Division.code, Division.level, Division.name, Division.parent_code, Division.geometry)
        .where(
            Division.level.in_(("township", "village", "grid")),
            Division.code.startswith(county.prefix, autoescape=True),
        )
        .order_by(Division.code)
    ).all()
    known = {row.code: row for row in rows}
    every = []
    for row in rows:
        above = known.get(row.parent_code or "")
        distance = _distance(row.geometry, lat, lon)
        if row.level == "village":
            every.append(Grid(row.code, village_name(row.name), above.name if above else "", distance))
        elif row.level == "grid" and above is not None:
            township = known.get(above.parent_code or "")
            every.append(Grid(row.code, grid_name(row.name, above.name), township.name if township else "", distance))
    measured = [(grid.distance_m, grid) for grid in every if grid.distance_m is not None]
    near = [grid for _, grid in sorted(measured, key=lambda pair: pair[0])[:_NEARBY]]
    return near, every


def _distance(geometry: Mapping[str, Any] | None, lat: float | None, lon: float | None) -> float | None:
    """From a position to the middle of an outline's corners: good enough to sort neighbours."""
    if geometry is None or lat is None or lon is None:
        return None
    points = list(corners(geometry))
    if not points:
        return None
    middle_lon = sum(point[0] for point in points) / len(points)
    middle_lat = sum(point[1] for point in points) / len(points)
    return distance_m(lat, lon, middle_lat, middle_lon)


def corners(geometry: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """The corners (lon, lat) of the outer rings of a GeoJSON Polygon or MultiPolygon."""
    for ring in outer_rings(geometry):
        yield from ring


def outer_rings(geometry: Mapping[str, Any]) -> list[list[tuple[float, float]]]:
    """The outer rings of a GeoJSON Polygon or MultiPolygon, as (lon, lat)."""
    kind, coordinates = geometry.get("type"), geometry.get("coordinates") or []
    polygons = [coordinates] if kind == "Polygon" else coordinates if kind == "MultiPolygon" else []
    return [[(point[0], point[1]) for point in polygon[0]] for polygon in polygons if polygon]
