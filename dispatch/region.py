# SPDX-License-Identifier: AGPL-3.0-or-later
"""One revision of the region in memory: the divisions' names and parents, and the index of their outlines."""

from __future__ import annotations

from dataclasses import dataclass

from shapely.geometry import shape
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dispatch.responsible import RegionIndex
from server.models import Division


@dataclass(frozen=True, slots=True)
class Named:
    """A division's name, level and parent."""

    name: str
    level: str
    parent: str | None


@dataclass(frozen=True, slots=True)
class Region:
    """The divisions by code and the village outlines, as of ``revision``."""

    revision: int
    divisions: dict[str, Named]
    index: RegionIndex

    def above(self, code: str, level: str) -> str | None:
        """The division of this level that holds ``code`` (itself, when it is of that level)."""
        found: str | None = code
        while found is not None and found in self.divisions:
            division = self.divisions[found]
            if division.level == level:
                return found
            found = division.parent
        return None

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
    codes, outlines = [], []
    for row in session.execute(
        select(Division.code, Division.name, Division.level, Division.parent_code, Division.geometry)
    ):
        divisions[row.code] = Named(row.name, row.level, row.parent_code)
        if row.level == "village" and row.geometry:
            codes.append(row.code)
            outlines.append(shape(row.geometry))
    return Region(revision, divisions, RegionIndex(codes, outlines))
