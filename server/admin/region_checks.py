# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a region's layers fit each other: the same coordinate system, no gaps, no overlaps."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import shapely
from shapely.geometry.base import BaseGeometry

from server.admin import crs as systems
from server.admin.region_files import Fault, Region, Row
from server.admin.tables import Problem

_METRES_PER_DEGREE = 111_195.0
_WORTH_A_WORD_M2 = 10_000.0  # one hectare
_SAMPLE = 150  # outlines compared of each layer
# Another system is believed when it leaves less than this share of the disagreement.
_CLEARLY_BETTER = 0.5
_AGREES = 0.01  # disagreement, as a share of the area, that calls for no explanation

Pair = tuple[BaseGeometry, BaseGeometry]


def area_m2(geometry: BaseGeometry) -> float:
    """The area of a geometry in degrees, in square metres, near enough for a county."""
    if geometry.is_empty:
        return 0.0
    latitude: float = geometry.centroid.y
    return float(geometry.area) * _METRES_PER_DEGREE**2 * math.cos(math.radians(latitude))


def wrong_systems(region: Region, known: Mapping[str, BaseGeometry]) -> list[Problem]:
    """A problem for each layer that would agree far better with its neighbours if it were in another coordinate system.

    ``known``: outlines the database has already, by code. A layer is compared with these, and with the layers above and
    below it. With nothing to compare there is nothing to say.
    """
    layers: dict[str, list[Row]] = defaultdict(list)
    for row in region.rows.values():
        if row.geometry is not None:
            layers[row.layer].append(row)
    suspects: list[tuple[float, bool, str, str, str]] = []
    for layer, rows in layers.items():
        references = {"the region in the database": _known_pairs(rows, known)}
        references |= {other: _layer_pairs(rows, others) for other, others in layers.items() if other != layer}
        for name, pairs in references.items():
            if found := _better_system(pairs, region.systems[layer]):
                suspects.append((round(found[1], 3), region.systems[layer] == "wgs84", layer, found[0], name))
    return _blame(suspects)


def _blame(suspects: list[tuple[float, bool, str, str, str]]) -> list[Problem]:
    """Of two layers that disagree, the one whose conversion explains the disagreement best is blamed, and once; of two
    equal explanations the one that takes back a conversion."""
    problems: dict[str, Problem] = {}
    cleared: set[str] = set()
    for _, _, layer, system, reference in sorted(suspects):
        if layer in problems or layer in cleared:
            continue
        text = f"looks like {system} beside {reference}, not as declared: give --layer-crs {layer}={system}"
        problems[layer] = Problem(layer, "", text)
        cleared.add(reference)
    return list(problems.values())


def _known_pairs(rows: Sequence[Row], known: Mapping[str, BaseGeometry]) -> list[Pair]:
    step = max(1, len(rows) // _SAMPLE)
    return [(row.raw, known[row.code]) for row in rows[::step] if row.raw is not None and row.code in known]


def _layer_pairs(rows: Sequence[Row], others: Sequence[Row]) -> list[Pair]:
    """Parents beside the unions of their children, whichever of the two layers holds the parents: ``rows`` as they
    came, ``others`` in WGS-84."""
    rows, others = ([row for row in some if row.level != "zone"] for some in (rows, others))
    below = _unions({row.code: row.parent_code for row in others}, {row.code: row.geometry for row in others})
    pairs = [(row.raw, below[row.code]) for row in rows if row.raw is not None and row.code in below]
    if pairs:
        return pairs
    own = _unions({row.code: row.parent_code for row in rows}, {row.code: row.raw for row in rows})
    return [(own[row.code], row.geometry) for row in others if row.geometry is not None and row.code in own]


def _unions(
    parents: Mapping[str, str | None], outlines: Mapping[str, BaseGeometry | None]
) -> dict[str | None, BaseGeometry]:
    """The union of the outlines of each parent's children."""
    by_parent: dict[str | None, list[BaseGeometry]] = defaultdict(list)
    for code, outline in outlines.items():
        if outline is not None:
            by_parent[parents[code]].append(outline)
    return {parent: shapely.union_all(children) for parent, children in by_parent.items()}


def _better_system(pairs: Sequence[Pair], declared: str) -> tuple[str, float] | None:
    """The system in which the first of each pair (as it came) fits the second (WGS-84) clearly better than in the
    declared one, and what disagreement is left."""
    if not pairs:
        return None
    as_given = _disagreement(pairs, declared)
    if as_given < _AGREES:
        return None
    left = {system: _disagreement(pairs, system) for system in systems.DISTINCT if system != declared}
    best = min(left, key=left.__getitem__)
    return (best, left[best]) if left[best] < _CLEARLY_BETTER * as_given else None


def _disagreement(pairs: Sequence[Pair], system: str) -> float:
    apart = sum(systems.to_wgs84(a, system).symmetric_difference(b).area for a, b in pairs)
    return float(apart) / float(sum(b.area for _, b in pairs))


def gaps_and_overlaps(region: Region) -> list[Problem]:
    """A warning for each parent whose children overlap, leave gaps or reach outside, from one hectare on; what can be
    drawn of it is added to the region's faults. A parent with a broken child is judged once that is mended."""
    children: dict[str, list[Row]] = defaultdict(list)
    for row in region.rows.values():
        if row.parent_code and row.geometry is not None and row.level != "zone":  # zones lie over all that
            children[row.parent_code].append(row)
    broken = {region.rows[fault.about].parent_code for fault in region.faults if fault.kind == "broken"}
    found = []
    for code in children.keys() - broken:
        rows, parent = children[code], region.rows[code]
        outlines = [row.geometry for row in rows if row.geometry is not None]
        union = shapely.union_all(outlines)
        areas = {"overlap": _overlaps(outlines)}
        if parent.geometry is not None:
            areas["gap"] = shapely.difference(parent.geometry, union)
            areas["outside"] = shapely.difference(union, parent.geometry)
        faults = [Fault(kind, code, area, _describe(kind, area)) for kind, area in areas.items() if _matters(area)]
        if faults:
            text = "; ".join(fault.text for fault in faults)
            found.append(Problem(rows[0].layer, f"{rows[0].level}s of {code} {parent.name}", text))
            region.faults += faults
    return sorted(found, key=lambda problem: problem.where)


def _matters(area: BaseGeometry) -> bool:
    return area_m2(area) >= _WORTH_A_WORD_M2


def _overlaps(outlines: Sequence[BaseGeometry]) -> BaseGeometry:
    tree = shapely.STRtree(outlines)
    first, second = tree.query(outlines, predicate="intersects")
    shared = [shapely.intersection(outlines[a], outlines[b]) for a, b in zip(first, second, strict=True) if a < b]
    return shapely.union_all([part for part in shared if part.area > 0])


_WORDS = {"overlap": "overlaps", "gap": "gaps", "outside": "parts outside"}


def _describe(kind: str, area: BaseGeometry) -> str:
    largest = max(shapely.get_parts(area), key=lambda part: part.area)
    point = largest.representative_point()
    return f"{_WORDS[kind]} of {area_m2(area) / 10_000:,.1f} ha, the largest near {point.y:.5f}, {point.x:.5f}"
