# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing a region: the whole folder or nothing, again as often as one likes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from server import wake
from server.admin.region_checks import gaps_and_overlaps, wrong_systems
from server.admin.region_files import Region, Row, read_region
from server.admin.tables import Problem, Refused
from server.models import Division


@dataclass(frozen=True, slots=True)
class Imported:
    """How many divisions an import added, changed, and found as they were."""

    added: int
    changed: int
    unchanged: int


def survey(
    folder: Path,
    known: Mapping[str, BaseGeometry],
    *,
    crs: str = "wgs84",
    layer_crs: Mapping[str, str] | None = None,
    mend: bool = False,
) -> Region:
    """Read and check a region folder, whatever is wrong with it; ``known`` holds the database's outlines by code.
    Raises Refused only when there is no table to read."""
    region = read_region(folder, crs=crs, layer_crs=layer_crs, mend=mend)
    region.problems += wrong_systems(region, known)
    region.warnings += gaps_and_overlaps(region)
    return region


def check_region(folder: Path, known: Mapping[str, BaseGeometry], **how: Any) -> Region:
    """As ``survey``, of a folder that can be imported. Raises Refused with every problem."""
    region = survey(folder, known, **how)
    if region.problems:
        raise Refused(region.problems)
    return region


def known_outlines(session: Session) -> dict[str, BaseGeometry]:
    """The outlines the database has, by code."""
    rows = session.execute(select(Division.code, Division.geometry))
    return {code: shape(geometry) for code, geometry in rows if geometry}


def import_region(session: Session, region: Region) -> Imported:
    """Write a checked region; the caller commits. Divisions that the folder does not name stay as they are."""
    existing = {row.code: row for row in session.scalars(select(Division).options(undefer(Division.geometry)))}
    revision = (session.scalar(select(func.max(Division.revision))) or 0) + 1
    added = changed = 0
    for row in region.rows.values():
        values = _values(row)
        division = existing.get(row.code)
        if division is None:
            session.add(Division(code=row.code, revision=revision, **values))
            added += 1
        elif any(getattr(division, name) != value for name, value in values.items()):
            for name, value in values.items():
                setattr(division, name, value)
            division.revision = revision
            changed += 1
    session.flush()
    wake.request(session)
    return Imported(added, changed, len(region.rows) - added - changed)


def _values(row: Row) -> dict[str, Any]:
    return {
        "prefix": row.prefix,
        "name": row.name,
        "level": row.level,
        "parent_code": row.parent_code,
        "geometry": json.loads(shapely.to_geojson(row.geometry)) if row.geometry is not None else None,
        "synthetic": row.synthetic,
    }


def strangers(session: Session, region: Region) -> list[Problem]:
    """A warning when the database has divisions that the folder does not name."""
    codes = set(session.scalars(select(Division.code))) - region.rows.keys()
    if not codes:
        return []
    text = f"the database also has {len(codes)} divisions that the folder does not name, left as they are"
    return [Problem("divisions.csv", "", text)]
