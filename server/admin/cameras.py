# SPDX-License-Identifier: AGPL-3.0-or-later
"""Registering edge boxes and cameras, one by one or from a YAML or CSV file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from shapely import Point
from shapely.geometry import shape
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.brokerusers import SYSTEM_USERS
from server.admin.crs import TO_WGS84
from server.admin.tables import Problem, Refused, read_csv, read_text
from server.domain.errors import Invalid
from server.locate.zoom import ZoomTable
from server.models import Camera, Division, EdgeBox, Person

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
# A mast sees 5 km; one that stands so far from its county (20 km) was mistyped.
_FAR_DEG = 0.18
_COLUMNS = ("id", "edge", "county", "name", "lat", "lon", "height_m", "pan", "tilt", "hfov")


class CameraForm(BaseModel):
    """A camera as it is registered. Degrees, metres; pan from true north, tilt negative below the horizon. The position
    becomes WGS-84, whatever ``crs`` it is given in.

    ``height_m`` counts from the ground it looks at, ``altitude_m`` from the sea: with it rays are cast on the terrain.
    ``ptz``: it turns, and has no direction but the one it states. ``zoom_table``: its model's field of view by zoom,
    for a camera that states its zoom and no field of view.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    id: str = Field(pattern=_ID.pattern + "$")
    edge: str = Field(pattern=_ID.pattern + "$")
    county: str
    name: str = Field(min_length=1)
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    crs: Literal["wgs84", "cgcs2000", "gcj02", "bd09"] = "wgs84"
    height_m: float = Field(gt=0, le=2000)
    pan: float = Field(ge=-360, le=360)
    tilt: float = Field(ge=-90, le=90)
    hfov: float = Field(gt=0, lt=180)
    pan_error: float = Field(default=0.5, gt=0)
    tilt_error: float = Field(default=0.2, gt=0)
    height_error: float = Field(default=3.0, gt=0)
    hfov_error: float = Field(default=0.02, gt=0, lt=0.5)
    altitude_m: float | None = Field(default=None, ge=-500, le=9000)
    ptz: bool = False
    zoom_table: list[tuple[float, float]] | None = None

    @field_validator("zoom_table", mode="before")
    @classmethod
    def _table(cls, value: Any) -> Any:
        """Rows of zoom and field of view that a lens can have; as text ``0:58 0.25:7.2 1:2.8``."""
        if isinstance(value, str):
            value = [row.split(":") for row in value.split()]
        if value:
            try:
                ZoomTable("this camera", [(float(zoom), float(field)) for zoom, field in value])
            except (TypeError, ValueError):
                raise ValueError("write rows of zoom and field of view like 0:58 0.25:7.2 1:2.8") from None
            except Invalid as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _position(self) -> Self:
        """In WGS-84, to the centimetre."""
        lon, lat = TO_WGS84[self.crs](np.array([[self.lon, self.lat]]))[0]
        self.lat, self.lon = round(float(lat), 7), round(float(lon), 7)
        return self


def parse_camera(values: Mapping[str, Any]) -> CameraForm:
    """Check a camera's values. Raises Invalid naming each that makes no sense."""
    try:
        return CameraForm.model_validate(values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors()]
        raise Invalid("; ".join(faults)) from None


def add_camera(session: Session, form: CameraForm) -> bool:
    """Register a camera, and its edge box when that is new; the caller commits. False when it replaced one.

    Raises Invalid for an unknown county, a position far from it, or a name that the system itself bears on the broker.
    """
    county = session.get(Division, form.county)
    if county is None or county.level != "county":
        raise Invalid(f"the county {form.county!r} is no county of the region: import the region first")
    if county.geometry and shape(county.geometry).distance(Point(form.lon, form.lat)) > _FAR_DEG:
        raise Invalid(
            f"{form.lat}, {form.lon} is more than 20 km outside {county.name}: check the numbers, latitude first"
        )
    if form.edge in SYSTEM_USERS:
        raise Invalid(f"the edge box's name {form.edge!r} belongs to a part of the system: choose another")
    if session.scalar(select(Person.id).where(Person.login == form.edge)) is not None:
        raise Invalid(f"the edge box's name {form.edge!r} is a person's login: choose another")
    if session.get(EdgeBox, form.edge) is None:
        session.add(EdgeBox(id=form.edge, name=form.edge))
        session.flush()
    # What is not named stays as it was: a calibration outlives its camera's second registration.
    named = form.model_dump(exclude={"edge", "county", "crs"}, exclude_unset=True)
    values = named | {"edge_id": form.edge, "county_code": form.county}
    new = session.get(Camera, form.id) is None
    session.merge(Camera(**values))
    session.flush()
    return new


def import_cameras(session: Session, path: Path) -> tuple[int, int]:
    """Register all cameras of a YAML file (a list, or under ``cameras:``) or of a CSV file, or none. ``models:`` of the
    file maps names to zoom tables, which cameras take by ``model:``.

    Returns how many were new and how many replaced; the caller commits. Raises Refused with every fault.
    """
    problems: list[Problem] = []
    seen: set[str] = set()
    new = replaced = 0
    for where, values in _read(path):
        try:
            form = parse_camera(values)
            if form.id in seen:
                raise Invalid(f"the camera {form.id!r} is there twice: remove one")
            seen.add(form.id)
            if add_camera(session, form):
                new += 1
            else:
                replaced += 1
        except Invalid as error:
            problems.append(Problem(path.name, where, str(error)))
    if problems:
        raise Refused(problems)
    return new, replaced


def _read(path: Path) -> list[tuple[str, Mapping[str, Any]]]:
    if path.suffix.lower() == ".csv":
        rows = read_csv(path, _COLUMNS)
        return [(f"line {number}", {name: value for name, value in row.items() if value}) for number, row in rows]
    try:
        data = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise Refused([Problem(path.name, "", f"is not YAML ({error})")]) from None
    entries = data.get("cameras") if isinstance(data, dict) else data
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Refused(
            [Problem(path.name, "", "holds no list of cameras: begin with `cameras:` and one `- id: …` each")]
        )
    found = [(f"camera {number}", dict(entry)) for number, entry in enumerate(entries, start=1)]
    for where, entry in found:
        if "model" in entry:
            name = entry.pop("model")
            if not isinstance(models, dict) or name not in models:
                raise Refused([Problem(path.name, where, f"its model {name!r} is not among the file's models")])
            entry["zoom_table"] = models[name]
    return list(found)
