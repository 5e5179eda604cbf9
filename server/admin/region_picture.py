# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is wrong with a region, drawn: an SVG with gaps in red, overlaps in orange, what lies outside in violet and
broken outlines dashed, each with a number that the list beside the map explains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import shapely
from shapely.geometry.base import BaseGeometry

from server.admin.region_files import Fault, Region, Row
from server.admin.tables import Problem, Refused

_MAP, _LIST, _LINE, _MARGIN = 1000.0, 620.0, 36.0, 24.0
_LISTED = 200
_LOOKS = {
    "broken": ("破损", "#c2185b"),
    "gap": ("空白", "#d32f2f"),
    "overlap": ("重叠", "#f57c00"),
    "outside": ("越界", "#7b1fa2"),
}
_WIDTHS = {"city": 4.0, "county": 3.0, "township": 1.6, "village": 0.6, "grid": 0.4, "zone": 1.2}
_STYLE = """
text { font: 15px "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; fill: #1b1b1b }
.name { fill: #5b6b63; text-anchor: middle; paint-order: stroke; stroke: #fff; stroke-width: 3px }
.mark { fill: #fff; font-weight: bold; font-size: 13px; text-anchor: middle }
.fine { font-size: 12px; fill: #666 }
"""


class _Frame:
    """Degrees to points on the paper: north up, one scale both ways."""

    def __init__(self, west: float, south: float, east: float, north: float) -> None:
        self._squeeze = math.cos(math.radians((south + north) / 2))
        wide, high = max((east - west) * self._squeeze, 1e-6), max(north - south, 1e-6)
        self._scale = _MAP / max(wide, high)
        self._west, self._north = west, north
        self.width, self.height = wide * self._scale, high * self._scale

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a position is drawn."""
        return (
            _MARGIN + (x - self._west) * self._squeeze * self._scale,
            _MARGIN + (self._north - y) * self._scale,
        )

    def path(self, geometry: BaseGeometry) -> str:
        """The outlines of a geometry's polygons as a path."""
        rings = [ring for part in _polygons(geometry) for ring in (part.exterior, *part.interiors)]
        steps = []
        for ring in rings:
            points = [self.at(x, y) for x, y in shapely.get_coordinates(ring)]
            steps.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
        return "".join(steps)


def _polygons(geometry: BaseGeometry) -> Iterator[shapely.Polygon]:
    for part in shapely.get_parts(geometry, return_index=False):
        if isinstance(part, shapely.Polygon):
            yield part
        elif hasattr(part, "geoms"):
            yield from _polygons(part)


def draw(region: Region, path: Path) -> None:
    """Write the picture. Raises Refused when it cannot be written, or there is no outline to draw."""
    faults = region.faults
    outlines = [row for row in region.rows.values() if row.geometry is not None]
    shown = [fault.geometry for fault in faults] + [
        geometry for fault in faults if (geometry := region.rows[fault.about].geometry) is not None
    ]
    shown = shown or [row.geometry for row in outlines if row.geometry is not None]
    if not shown:
        raise Refused([Problem(str(path), "", "there is no outline that could be drawn")])
    west, south, east, north = (float(value) for value in shapely.total_bounds(shown))
    frame = _Frame(west, south, east, north)
    height = max(frame.height + 2 * _MARGIN, 150 + _LINE * min(len(faults), _LISTED))
    width = frame.width + 2 * _MARGIN + _LIST
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}">',
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        f'<svg width="{frame.width + 2 * _MARGIN:.0f}" height="{height:.0f}">',
        *_borders(frame, outlines),
        *_areas(frame, faults),
        *_names(frame, outlines, shapely.box(west, south, east, north)),
        *_marks(frame, faults),
        "</svg>",
        *_list(frame.width + 2 * _MARGIN, region, faults),
        "</svg>",
    ]
    try:
        path.write_text("\n".join(lines), encoding="utf-8")
    except OSError as error:
        raise Refused([Problem(str(path), "", f"cannot be written ({error.strerror})")]) from None


def _borders(frame: _Frame, rows: Sequence[Row]) -> Iterator[str]:
    for level in ("grid", "village", "zone", "township", "county", "city"):
        look = 'stroke="#b8860b" stroke-dasharray="8 5"' if level == "zone" else 'stroke="#7d8f86"'
        found = "".join(frame.path(row.geometry) for row in rows if row.level == level and row.geometry is not None)
        if found:
            yield f'<path d="{found}" fill="none" {look} stroke-width="{_WIDTHS[level]}"/>'


def _areas(frame: _Frame, faults: Sequence[Fault]) -> Iterator[str]:
    for fault in faults:
        color = _LOOKS[fault.kind][1]
        dashes = ' stroke-dasharray="6 4"' if fault.kind == "broken" else ""
        yield (
            f'<path d="{frame.path(fault.geometry)}" fill="{color}" fill-opacity=".3" fill-rule="evenodd"'
            f' stroke="{color}" stroke-width="1.5"{dashes}/>'
        )


def _names(frame: _Frame, rows: Sequence[Row], window: BaseGeometry) -> Iterator[str]:
    """The names of the divisions that are large enough on the paper to carry them."""
    for row in rows:
        if row.geometry is None or not row.geometry.intersects(window):
            continue
        west, south, east, north = row.geometry.bounds
        left, top = frame.at(west, north)
        right, bottom = frame.at(east, south)
        if right - left < 15 * len(row.name) or bottom - top < 30 or right - left > 0.6 * _MAP:
            continue
        point = row.geometry.representative_point()
        x, y = frame.at(point.x, point.y)
        yield f'<text class="name" x="{x:.1f}" y="{y:.1f}">{escape(row.name)}</text>'


def _marks(frame: _Frame, faults: Sequence[Fault]) -> Iterator[str]:
    for number, fault in enumerate(faults, start=1):
        point = _largest(fault.geometry).representative_point()
        x, y = frame.at(point.x, point.y)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="12" fill="{_LOOKS[fault.kind][1]}"/>'
        yield f'<text class="mark" x="{x:.1f}" y="{y + 5:.1f}">{number}</text>'


def _largest(geometry: BaseGeometry) -> BaseGeometry:
    valid = shapely.make_valid(geometry)
    parts: list[BaseGeometry] = sorted(shapely.get_parts(valid), key=lambda part: float(part.area))
    return parts[-1]


def _list(left: float, region: Region, faults: Sequence[Fault]) -> Iterator[str]:
    x = left
    for word, color in _LOOKS.values():
        yield f'<rect x="{x:.0f}" y="24" width="18" height="18" fill="{color}"/>'
        yield f'<text x="{x + 26:.0f}" y="39">{word}</text>'
        x += 100
    title = f"{len(faults)} 处问题" if faults else "没有发现空白、重叠和破损"
    yield f'<text x="{left:.0f}" y="76" font-weight="bold">{title}</text>'
    y = 110.0
    for number, fault in enumerate(faults[:_LISTED], start=1):
        row = region.rows[fault.about]
        word, color = _LOOKS[fault.kind]
        words = escape(f"{number}. {word} {row.code} {row.name}")
        yield f'<text x="{left:.0f}" y="{y:.0f}" fill="{color}">{words}</text>'
        yield f'<text class="fine" x="{left + 24:.0f}" y="{y + 15:.0f}">{escape(fault.text)}</text>'
        y += _LINE
    if len(faults) > _LISTED:
        yield f'<text x="{left:.0f}" y="{y:.0f}">… {len(faults) - _LISTED}</text>'
