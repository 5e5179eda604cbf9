# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whose fire an incident is by its place: the candidates, and which of them are told."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.region import Region
from dispatch.responsible import Candidate, RegionIndex
from server.models import Incident
from server.services import places

# From this probability on, another grid's owner is told beside the first's.
NEIGHBOUR = 0.25
# Below this probability a grid is not known well enough: its village's owner, who knows all its grids, is told, too.
_SURE = 0.5


def rank(place: Region, incident: Incident) -> list[Candidate]:
    """The candidates for an incident's place. A grid that somebody named (a hand-over) is not second-guessed."""
    if incident.grid_code is not None:
        return [Candidate(incident.grid_code, 1.0)]
    return spread(place.index, incident)


def zones(place: Region, incident: Incident) -> list[str]:
    """The management zones in which the fire may well be, whatever grid it is in."""
    return [one.code for one in spread(place.zones, incident) if one.probability >= NEIGHBOUR]


def spread(index: RegionIndex, incident: Incident) -> list[Candidate]:
    """The probability of each outline by the incident's place; none while that is not known."""
    if incident.lat is None or incident.lon is None:
        return []
    points = places.points(incident)
    if points is not None and (ranked := index.rank_points(points)):
        return ranked
    return index.rank(
        incident.lat,
        incident.lon,
        bearing=incident.bearing or 0.0,
        along_m=incident.along_m or 0.0,
        across_m=incident.across_m or 0.0,
    )


def grids(ranked: Sequence[Candidate]) -> list[str]:
    """The grids whose owners are told: the first, and of the others the most probable when that is likely enough."""
    others = [one for one in ranked[1:] if one.probability >= NEIGHBOUR]
    second = sorted(others, key=lambda one: -one.probability)[:1]
    return [one.code for one in (*ranked[:1], *second)]


def village(place: Region, ranked: Sequence[Candidate]) -> list[str]:
    """The village of the leading grid, where it is the village that is known rather than the grid."""
    above = place.above(ranked[0].code, "village") if ranked and ranked[0].probability < _SURE else None
    return [above] if above and above != ranked[0].code else []
