# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading one layer of outlines: GeoJSON, or a Shapefile (also zipped) with the coordinate system of its ``.prj``."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyproj
import shapefile

from server.admin.tables import Problem, Refused, read_text

SUFFIXES = (".geojson", ".json", ".shp", ".zip")
# Datums whose degrees are WGS-84's to well under a metre, as EPSG and ESRI write them, letters and digits alone.
_DATUMS = ("wgs84", "wgs1984", "worldgeodeticsystem1984", "china2000", "cgcs2000", "chinageodeticcoordinatesystem2000")
_Point = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Layer:
    """A file's features, as GeoJSON in degrees. ``declared``: what it says of its own coordinate system, a word or
    nothing; ``synthetic``: that its borders are invented."""

    features: list[Any]
    declared: str = ""
    synthetic: bool = False


def layers_of(folder: Path) -> list[Path]:
    """The layer files of a folder, by name; a Shapefile is its ``.shp``."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)


def read_layer(path: Path) -> Layer:
    """Read a layer. Raises Refused when it is none."""
    if path.suffix.lower() in (".shp", ".zip"):
        return _shapefile(path)
    try:
        data = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"is not JSON ({error})") from None
    features = data.get("features") if isinstance(data, dict) else None
    if not isinstance(features, list):
        raise _refused(path, "is not a GeoJSON FeatureCollection")
    metadata = mapping(data.get("metadata"))
    declared = str(metadata.get("crs") or mapping(mapping(data.get("crs")).get("properties")).get("name") or "")
    return Layer(features, declared, metadata.get("synthetic") is True)


def mapping(value: Any) -> dict[str, Any]:
    """The value, when it is a JSON object; else an empty one."""
    return value if isinstance(value, dict) else {}


def code_of(fields: Mapping[str, Any]) -> str:
    """A feature's ``code`` (or ``adcode``) as text; empty when it has none."""
    code = next((fields[name] for name in ("code", "adcode") if fields.get(name) not in (None, "")), "")
    if isinstance(code, float) and code.is_integer():  # a number column of a spreadsheet
        code = int(code)
    return str(code).strip()


def _refused(path: Path, text: str) -> Refused:
    return Refused([Problem(path.name, "", text)])


def _shapefile(path: Path) -> Layer:
    parts = _zipped(path) if path.suffix.lower() == ".zip" else _beside(path)
    if missing := [suffix for suffix in (".shp", ".dbf") if suffix not in parts]:
        raise _refused(path, f"holds no {' and no '.join(missing)}: a Shapefile is .shp, .shx, .dbf and .prj together")
    move = _to_degrees(path, parts[".prj"]) if ".prj" in parts else None
    try:
        # The codes are digits: names in another encoding than the .dbf declares do no harm.
        reader = shapefile.Reader(shp=BytesIO(parts[".shp"]), dbf=BytesIO(parts[".dbf"]), encodingErrors="replace")
        features = [_feature(one, move) for one in reader.iterShapeRecords()]
    except (shapefile.ShapefileException, struct.error, ValueError, IndexError, KeyError, OSError) as error:
        raise _refused(path, f"is no Shapefile that can be read ({error})") from None
    return Layer(features)


def _zipped(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name) for name in archive.namelist() if not name.startswith("__MACOSX")]
            stems = {name.with_suffix("") for name in names if name.suffix.lower() == ".shp"}
            if len(stems) != 1:
                raise _refused(path, f"holds {len(stems)} Shapefiles: put each into an archive of its own")
            stem = stems.pop()
            return {name.suffix.lower(): archive.read(str(name)) for name in names if name.with_suffix("") == stem}
    except (zipfile.BadZipFile, OSError) as error:
        raise _refused(path, f"cannot be read ({error})") from None


def _beside(path: Path) -> dict[str, bytes]:
    try:
        return {other.suffix.lower(): other.read_bytes() for other in path.parent.iterdir() if other.stem == path.stem}
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from None


def _to_degrees(path: Path, prj: bytes) -> _Point | None:
    """What turns the points of a layer with this ``.prj`` into longitude and latitude; None when they are.

    A layer in GCJ-02 or BD-09 says WGS-84 here, for want of a code of their own, so this declares nothing.
    """
    try:
        system = pyproj.CRS.from_wkt(prj.decode("utf-8", "replace"))
    except pyproj.exceptions.CRSError as error:
        raise _refused(path, f"its .prj cannot be read ({str(error)[:80]})") from None
    datum = system.geodetic_crs.datum if system.geodetic_crs else None
    name = datum.name if datum else "none"
    if "".join(filter(str.isalnum, name)).lower().removeprefix("d") not in _DATUMS:
        raise _refused(path, f"is on the datum {name!r}: convert it to CGCS2000 or WGS-84")
    if system.is_geographic:
        return None
    convert = pyproj.Transformer.from_crs(system, system.geodetic_crs, always_xy=True).transform
    return lambda x, y: convert(x, y)


def _feature(one: Any, move: _Point | None) -> dict[str, Any]:
    fields = {str(name).lower(): value for name, value in one.record.as_dict().items()}
    geometry: Mapping[str, Any] | None = None
    if one.shape.shapeType in (shapefile.POLYGON, shapefile.POLYGONZ, shapefile.POLYGONM):
        geometry = one.shape.__geo_interface__
        if move is not None:
            geometry = dict(geometry, coordinates=_moved(geometry["coordinates"], move))
    elif one.shape.shapeType != shapefile.NULL:
        geometry = {"type": one.shape.shapeTypeName}
    return {"properties": {"code": code_of(fields)}, "geometry": geometry}


def _moved(nested: Any, move: _Point) -> Any:
    if nested and isinstance(nested[0], int | float):
        return move(nested[0], nested[1])
    return [_moved(part, move) for part in nested]
