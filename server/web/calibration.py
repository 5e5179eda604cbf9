# SPDX-License-Identifier: AGPL-3.0-or-later
"""Landmark calibration on a page: known points clicked in a camera's picture and on the map, residuals shown, the
result accepted and taken back."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from flask import Blueprint, Response, jsonify, redirect, render_template, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.crs import TO_WGS84
from server.domain.errors import Invalid, Missing, NotPermitted
from server.locate.calibrate import Landmark
from server.locate.terrain import Terrain, open_terrain
from server.models import Camera, Person, Picture, Sighting
from server.services import mounts
from server.web import login
from server.web.context import viewer, web
from server.web.vendor import TARGET

blueprint = Blueprint("calibration", __name__)
_PICTURES = 8


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Point(_Form):
    name: Annotated[str, Field(max_length=40)] = ""
    x: float
    y: float
    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    height_m: float | None = None


class _Request(_Form):
    """What the page sends. Pixels from the upper left; degrees; metres above what the camera's height counts from,
    empty for the ground there."""

    width: Annotated[int, Field(gt=0, le=20_000)]
    height: Annotated[int, Field(gt=0, le=20_000)]
    pan: Annotated[float, Field(ge=-360, le=720)]
    tilt: Annotated[float, Field(ge=-90, le=90)]
    hfov: Annotated[float, Field(gt=0, lt=180)]
    crs: Literal["wgs84", "cgcs2000", "gcj02", "bd09"] = "wgs84"
    points: Annotated[list[_Point], Field(max_length=40)]
    save: bool = False


@blueprint.before_request
def _guard() -> Response | None:
    refused = login.require_login()
    if refused is None and viewer().role not in ("supervisor", "admin"):
        raise NotPermitted("cameras are calibrated by supervisors")
    return refused


@blueprint.get("/console/cameras/<name>/calibrate")
def page(name: str) -> str:
    """The picture, the map and the points."""
    with web().database.read() as session:
        camera = _camera(session, name)
        return render_template(
            "console/calibrate.html",
            camera=camera,
            pictures=_pictures(session, camera),
            last=mounts.last(session, camera),
            terrain=camera.altitude_m is not None and web().settings.terrain_dir is not None,
            has_map=(TARGET / "leaflet.js").is_file(),
        )


@blueprint.post("/console/cameras/<name>/calibrate")
def solve(name: str) -> Response:
    """Solve, and keep it when ``save`` says so: residuals in pixels, offsets with their errors in degrees."""
    try:
        given = _Request.model_validate(request.get_json())
    except ValidationError as error:
        first = error.errors()[0]
        raise Invalid(f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    with web().database.write() as session:
        camera = _camera(session, name)
        landmarks = _landmarks(camera, given)
        found = mounts.solve(camera, (given.pan, given.tilt, given.hfov), (given.width, given.height), landmarks)
        if given.save:
            person = session.get_one(Person, viewer().id)
            mounts.keep(session, camera, found, landmarks, person=person, now=web().now(session))
    names = ("pan_offset", "tilt_offset", "roll", "hfov_factor", "pan_error", "tilt_error", "roll_error", "hfov_error")
    return jsonify(
        saved=given.save,
        rms_px=found.rms_px,
        values={name: getattr(found, name) for name in names},
        residuals=[{"name": one.name, "dx": one.dx, "dy": one.dy, "range_m": one.range_m} for one in found.residuals],
    )


@blueprint.post("/console/cameras/<name>/calibrate/undo")
def undo(name: str) -> Response:
    """Take the last calibration back."""
    with web().database.write() as session:
        mounts.undo(session, _camera(session, name), web().now(session))
    return redirect(f"/console/cameras/{name}/calibrate", code=303)  # type: ignore[return-value]


def _camera(session: Session, name: str) -> Camera:
    camera = session.get(Camera, name)
    if camera is None or not camera.county_code.startswith(viewer().area_prefix):
        raise Missing(f"there is no camera {name!r}")
    return camera


def _pictures(session: Session, camera: Camera) -> list[dict[str, Any]]:
    """The camera's last pictures, each with how it looked then."""
    rows = session.execute(
        select(Picture.sha256, Sighting.message, Sighting.received_at)
        .join(Sighting, Sighting.id == Picture.sighting_id)
        .where(Sighting.camera_id == camera.id, Picture.kind == "sighting")
        .order_by(Sighting.received_at.desc())
        .limit(_PICTURES)
    )
    found = []
    for sha256, message, at in rows:
        view = message.get("view") or {}
        said = {name: view.get(name) for name in ("pan", "tilt", "hfov")}  # 0° is a direction, too
        stated = {name: getattr(camera, name) if value is None else value for name, value in said.items()}
        found.append({"sha256": sha256, "at": at, **stated})
    return found


def _landmarks(camera: Camera, given: _Request) -> list[Landmark]:
    terrain = _terrain(web().settings.terrain_dir) if camera.altitude_m is not None else None
    found = []
    for number, point in enumerate(given.points, start=1):
        name = f"{number} {point.name}".rstrip()
        lon, lat = TO_WGS84[given.crs](np.array([[point.lon, point.lat]]))[0]
        height_m = point.height_m
        if height_m is None and camera.altitude_m is None:
            height_m = 0.0
        if height_m is None and terrain is not None:
            height_m = terrain.at(lat, lon)
        if height_m is None:
            raise Invalid(f"point {name}: give its height above the sea, no elevation tile has it")
        found.append(Landmark(name, point.x, point.y, float(lat), float(lon), height_m))
    return found


@lru_cache(maxsize=1)
def _terrain(folder: Path | None) -> Terrain | None:
    return open_terrain(folder) if folder is not None else None
