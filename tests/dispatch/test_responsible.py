# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a position with its error to ranked grids."""

from __future__ import annotations

import math

import pytest
from shapely.geometry import box
from sqlalchemy import update

from dispatch import region
from dispatch.responsible import RegionIndex
from server.models import Division
from tests.support.world import FIELD, NEIGHBOUR, VILLAGE, World

# Two squares side by side with their border on the meridian 118.8, and a crack of 200 m before the third.
WEST, EAST, BEYOND = box(118.7, 28.9, 118.8, 29.0), box(118.8, 28.9, 118.9, 29.0), box(118.902, 28.9, 119.0, 29.0)
INDEX = RegionIndex(["west", "east", "beyond"], [WEST, EAST, BEYOND])
METRES_PER_DEGREE_EAST = 111_195 * math.cos(math.radians(28.95))


def shares(lon: float, **error: float) -> dict[str, float]:
    """The probability of each candidate."""
    return {found.code: found.probability for found in INDEX.rank(28.95, lon, **error)}


def test_a_certain_position_has_one_grid() -> None:
    """Far from any border one grid has it all."""
    assert shares(118.75, bearing=90, along_m=300, across_m=20) == {"west": 1.0}


@pytest.mark.parametrize("sigmas", [0.0, 0.5, 1.0, -1.0, 2.0])
def test_the_shares_are_the_normal_distributions(sigmas: float) -> None:
    """With the border so many standard deviations east, the west's share is the normal distribution's there."""
    along_m = 400.0
    found = shares(118.8 - sigmas * along_m / METRES_PER_DEGREE_EAST, bearing=90, along_m=along_m, across_m=20)
    expected = 0.5 * (1 + math.erf(sigmas / math.sqrt(2)))
    assert found.get("west", 0.0) == pytest.approx(expected, abs=0.02)
    assert sum(found.values()) == pytest.approx(1.0)


def test_the_bearing_turns_the_error() -> None:
    """The same error looking north does not reach over a border to the east."""
    lon = 118.8 - 100 / METRES_PER_DEGREE_EAST
    assert shares(lon, bearing=0, along_m=400, across_m=20) == {"west": 1.0}
    assert set(shares(lon, bearing=90, along_m=400, across_m=20)) == {"west", "east"}


def test_the_most_probable_comes_first_and_ties_are_steady() -> None:
    """Ranked by probability, the same each time."""
    first = INDEX.rank(28.95, 118.7999, bearing=90, along_m=400, across_m=20)
    assert [found.probability for found in first] == sorted((found.probability for found in first), reverse=True)
    assert first == INDEX.rank(28.95, 118.7999, bearing=90, along_m=400, across_m=20)


def test_a_crack_between_outlines_belongs_to_the_nearest() -> None:
    """A position between two outlines that do not meet is nobody's no-man's-land."""
    assert shares(118.9015) == {"beyond": 1.0}


def test_far_outside_there_is_no_candidate() -> None:
    """There is no default grid."""
    assert shares(120.0, bearing=0, along_m=100, across_m=20) == {}
    assert RegionIndex([], []).rank(28.95, 118.8) == []


def test_an_error_that_reaches_outside_sums_to_less_than_one() -> None:
    """What lies outside the region is nobody's."""
    assert shares(118.7, bearing=90, along_m=400, across_m=20)["west"] == pytest.approx(0.5, abs=0.02)


def test_the_region_is_read_again_only_when_it_changed(world: World) -> None:
    """The same object until an import changes something; then the new borders count."""
    with world.database.read() as session:
        before = region.load(session)
        assert region.load(session, before) is before
    assert before.index.rank(*FIELD)[0].code == VILLAGE
    with world.database.write() as session:
        session.execute(update(Division).where(Division.code == VILLAGE).values(geometry=None, revision=1))
        whole = {"type": "Polygon", "coordinates": [[[118, 28], [119, 28], [119, 29], [118, 29], [118, 28]]]}
        session.execute(update(Division).where(Division.code == NEIGHBOUR).values(geometry=whole, revision=1))
    with world.database.read() as session:
        after = region.load(session, before)
    assert after.index.rank(*FIELD)[0].code == NEIGHBOUR
