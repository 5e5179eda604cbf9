# SPDX-License-Identifier: AGPL-3.0-or-later
"""A region as a folder: ``divisions.csv`` (code, name, level, parent_code) and any number of layers (GeoJSON or
Shapefile) whose features carry a ``code`` (or ``adcode``). Reading finds every fault it can before it refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry
from shapely.validation import explain_validity

from server.admin import crs as systems
from server.admin.region_layers import code_of, layers_of, mapping, read_layer
from server.admin.tables import Problem, Refused, read_csv
from server.models.region import LEVELS

# What each level's parent may be.
_ABOVE = {
    "county": ("city",),
    "township": ("county",),
    "village": ("township",),
    "grid": ("village",),
    "zone": ("county", "city", "township"),
}


@dataclass(slots=True)
class Row:
    """One division as the folder gives it: ``raw`` as its layer has it, ``geometry`` in WGS-84; None when no layer has
    it."""

    code: str
    name: str
    level: str
    parent_code: str | None
    geometry: BaseGeometry | None = None
    raw: BaseGeometry | None = None
    layer: str = ""
    synthetic: bool = False

    @property
    def prefix(self) -> str:
        """How the codes of all that lies within begin: city and county codes lose their trailing pairs of zeros."""
        prefix = self.code
        while self.level in ("city", "county") and len(prefix) > 2 and prefix.endswith("00"):
            prefix = prefix[:-2]
        return prefix


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to draw: ``kind`` is "broken", "gap", "overlap" or "outside"; ``about`` the code of the division it
    belongs to; ``geometry`` in WGS-84, a broken outline as it is."""

    kind: str
    about: str
    geometry: BaseGeometry
    text: str


@dataclass(slots=True)
class Region:
    """A folder read: its divisions by code, parents before children, each layer's coordinate system, why it cannot be
    taken (``problems``), what was noticed without refusing (``warnings``), and what of it can be drawn."""

    rows: dict[str, Row]
    systems: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def read_region(
    folder: Path, *, crs: str = "wgs84", layer_crs: Mapping[str, str] | None = None, mend: bool = False
) -> Region:
    """Read a region folder. ``crs`` names the system of its layers, ``layer_crs`` that of single ones by file name;
    ``mend`` repairs broken outlines with ``shapely.make_valid`` instead of refusing them. Raises Refused when there is
    no table to read; every other fault is one of the region's problems."""
    problems: list[Problem] = []
    rows = _read_divisions(folder / "divisions.csv", problems)
    region = Region(rows, problems=problems)
    layers = layers_of(folder)
    if not layers:
        text = "holds no layer (.geojson, .shp or .zip): at least the villages' outlines are needed"
        problems.append(Problem(str(folder), "", text))
    for name in set(layer_crs or {}) - {path.name for path in layers}:
        problems.append(Problem(str(folder), "", f"has no layer {name!r} whose coordinate system could be given"))
    for path in layers:
        region.systems[path.name] = (layer_crs or {}).get(path.name, crs).replace("cgcs2000", "wgs84")
        try:
            _read_layer(path, region, mend=mend)
        except Refused as refused:
            problems += refused.problems
    for level in ("township", "village", "grid", "zone"):
        bare = [row.code for row in rows.values() if row.level == level and row.geometry is None]
        if bare:
            text = f"{len(bare)} without an outline, found only through their parent: {', '.join(bare[:5])}"
            region.warnings.append(Problem(folder.name, f"{level}s", text + (" …" if len(bare) > 5 else "")))
    return region


def _read_divisions(path: Path, problems: list[Problem]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for line, values in read_csv(path, ("code", "name", "level", "parent_code")):
        where = f"line {line}"
        row = Row(values["code"], values["name"], values["level"], values["parent_code"] or None)
        if not (row.code.isascii() and row.code.isalnum()) or len(row.code) > 16:
            problems.append(Problem(path.name, where, f"the code {row.code!r} must be 1 to 16 letters and digits"))
        elif row.level not in LEVELS:
            problems.append(Problem(path.name, where, f"the level is one of {', '.join(LEVELS)}, not {row.level!r}"))
        elif row.code in rows:
            problems.append(Problem(path.name, where, f"the code {row.code} is there twice: remove one"))
        elif not row.name:
            problems.append(Problem(path.name, where, f"{row.code} has no name"))
        else:
            rows[row.code] = row
    for row in rows.values():
        _check_parent(path.name, row, rows, problems)
    return {row.code: row for level in LEVELS for row in rows.values() if row.level == level}


def _check_parent(file: str, row: Row, rows: dict[str, Row], problems: list[Problem]) -> None:
    where = f"{row.code} {row.name}"
    if row.level == LEVELS[0]:
        row.parent_code = None  # whatever lies above the city is not ours
        return
    above = _ABOVE[row.level]
    parent = rows.get(row.parent_code or "")
    if parent is None:
        text = f"its parent {row.parent_code or '(none)'} is not in the file: add the {above[0]} or mend parent_code"
        problems.append(Problem(file, where, text))
    elif parent.level not in above:
        wanted = " or ".join(above)
        problems.append(Problem(file, where, f"its parent {parent.code} is a {parent.level}, a {wanted} is needed"))
    elif row.level == "zone" and not row.code.startswith(f"{parent.prefix}Z"):
        text = f"a zone's code must begin with {parent.prefix}Z, its parent's and a Z: no village's does"
        problems.append(Problem(file, where, text))
    elif not row.code.startswith(parent.prefix):
        text = f"its code must begin with {parent.prefix}, its parent's: authority follows the codes"
        problems.append(Problem(file, where, text))


def _read_layer(path: Path, region: Region, *, mend: bool) -> None:
    crs, layer = region.systems[path.name], read_layer(path)
    if (named := _named_system(layer.declared)) and named != crs:
        text = f"says of itself that it is in {layer.declared!r}, not {crs}: give --layer-crs {path.name}={named}"
        raise Refused([Problem(path.name, "", text)])
    for number, feature in enumerate(layer.features, start=1):
        _read_feature(path.name, number, feature, region, mend=mend)
    if layer.synthetic:
        for row in region.rows.values():
            row.synthetic = row.synthetic or row.layer == path.name


def _named_system(declared: str) -> str | None:
    squeezed = "".join(filter(str.isalnum, declared)).lower()
    marks = {"gcj02": "gcj02", "bd09": "bd09", "wgs84": "wgs84", "crs84": "wgs84", "epsg4326": "wgs84"}
    found = {system for mark, system in marks.items() if squeezed.startswith(mark) or squeezed.endswith(mark)}
    return found.pop() if len(found) == 1 else None


def _read_feature(file: str, number: int, feature: Any, region: Region, *, mend: bool) -> None:
    problems = region.problems
    properties = mapping(mapping(feature).get("properties"))
    code = code_of(properties)
    row = region.rows.get(code)
    where = f"feature {number}" if row is None else f"{code} {row.name}"
    if row is None:
        text = f"the code {code!r} is not in divisions.csv" if code else "has no property 'code'"
        problems.append(Problem(file, where, text))
        return
    if row.geometry is not None:
        problems.append(Problem(file, where, f"its outline is there twice (also in {row.layer}): remove one"))
        return
    geometry = feature.get("geometry")
    fault = _form_fault(geometry)
    if fault:
        problems.append(Problem(file, where, fault))
        return
    outline = shape(dict(geometry, coordinates=_flat(geometry["coordinates"])))
    if not outline.is_valid or outline.area == 0:
        mended = shapely.make_valid(outline, method="structure")
        reason = explain_validity(outline)
        if not mend or not mended.area:
            offer = f"--mend would change its area by {_percent(outline, mended)}" if mended.area else "it has no area"
            problems.append(Problem(file, where, f"the outline is broken ({reason}); {offer}"))
            region.faults.append(Fault("broken", code, systems.to_wgs84(outline, region.systems[file]), reason))
            return
        region.warnings.append(Problem(file, where, f"mended: {reason}; area {_percent(outline, mended)}"))
        outline = mended
    row.raw, row.geometry, row.layer = outline, systems.to_wgs84(outline, region.systems[file]), file
    row.synthetic = properties.get("synthetic") is True


def _flat(nested: Any) -> Any:
    """Coordinates as longitude and latitude alone: some points come with heights and measures, others without."""
    return nested[:2] if isinstance(nested[0], int | float) else [_flat(part) for part in nested]


def _percent(before: BaseGeometry, after: BaseGeometry) -> str:
    return f"{100 * (after.area / before.area - 1):+.1f} %" if before.area else "an unknown share"


def _form_fault(geometry: Any) -> str | None:
    """The first fault in a GeoJSON geometry's form and coordinates, as a sentence; None when there is none."""
    if not isinstance(geometry, dict) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        return f"the geometry is {kind or 'empty'}: a Polygon or MultiPolygon is needed"
    try:
        rings = list(_rings(geometry))
        faults = (_ring_fault(ring) for ring in rings)
        return next(filter(None, faults), None) if rings else "the geometry is empty"
    except (TypeError, ValueError, IndexError, KeyError):
        return "the coordinates are not nested lists of [longitude, latitude]"


def _rings(geometry: dict[str, Any]) -> Iterator[Any]:
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    for polygon in polygons:
        if not polygon:
            raise ValueError
        yield from polygon


def _ring_fault(ring: Any) -> str | None:
    points = [(float(point[0]), float(point[1])) for point in ring]
    if any(not isinstance(number, int | float) for point in ring for number in point):
        return "a coordinate is not a number"
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in points):
        return "a coordinate is not a number"
    if any(abs(x) > 180 or abs(y) > 90 for x, y in points):
        x, y = next((x, y) for x, y in points if abs(x) > 180 or abs(y) > 90)
        if all(abs(y) <= 180 and abs(x) <= 90 for x, y in points):
            return f"[{x}, {y}] looks like latitude before longitude: GeoJSON has longitude first"
        return f"[{x}, {y}] is not longitude and latitude in degrees: convert the layer from its projection"
    if len(points) < 4:
        return f"a ring has {len(points)} points: at least 4 are needed, the last repeating the first"
    if points[0] != points[-1]:
        return f"a ring starting at {list(points[0])} is not closed: repeat its first point at its end"
    return None
