# SPDX-License-Identifier: AGPL-3.0-or-later
"""One revision of the region in memory: the divisions' names and parents, and the index of their outlines."""

from __future__ import annotations

from dataclasses import dataclass

from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dispatch.responsible import RegionIndex
from server.models import Division
from server.queries.places import village_name


@dataclass(frozen=True, slots=True)
class Named:
    """A division's name as people say it, its level and parent."""

    name: str
    level: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Region:
    """The divisions by code, the outlines of villages and their grids, and those of the zones that overlay them, as of
    ``revision``."""

    revision: int
    divisions: dict[str, Named]
    index: RegionIndex
    zones: RegionIndex

    def above(self, code: str, level: str) -> str | None:
        """The division of this level that holds ``code`` (itself, when it is of that level)."""
        found: str | None = code
        while found is not None and found in self.divisions:
            division = self.divisions[found]
            if division.level == level:
                return found
            found = division.parent
        return None

    def name(self, code: str) -> str:
        """What a division is called, a grid with its village: its own name is often a number."""
        grid = code in self.divisions and self.divisions[code].level == "grid"
        return "".join(self.names(code)[-2 if grid else -1 :])

    def names(self, code: str) -> tuple[str, ...]:
        """The names from the county down to ``code`` (the city's for a city)."""
        names: list[str] = []
        found: str | None = code
        while found is not None and found in self.divisions:
            division = self.divisions[found]
            if division.level != "city" or not names:
                names.insert(0, division.name)
            found = division.parent
        return tuple(names)


def load(session: Session, current: Region | None = None) -> Region:
    """The region in the database; ``current`` again when it has not changed since."""
    revision = session.scalar(select(func.max(Division.revision))) or 0
    if current is not None and current.revision == revision:
        return current
    divisions: dict[str, Named] = {}
    ground: dict[str, BaseGeometry] = {}
    zones: dict[str, BaseGeometry] = {}
    villages: dict[str, str] = {}
    for row in session.execute(
        select(Division.code, Division.name, Division.level, Division.parent_code, Division.geometry)
    ):
        divisions[row.code] = Named(village_name(row.name), row.level, row.parent_code)
        if row.level in ("village", "grid", "zone") and row.geometry:
            (zones if row.level == "zone" else ground)[row.code] = shape(row.geometry)
        if row.level == "grid":
            villages[row.code] = row.parent_code
    index = RegionIndex(list(ground), list(ground.values()), wholes=villages)
    return Region(revision, divisions, index, RegionIndex(list(zones), list(zones.values()), cracks=False))
