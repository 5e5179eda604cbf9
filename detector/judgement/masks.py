# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the operator knows of a view: where nothing can burn, and where smoke is allowed to rise.

Shapes are fractions of the picture, x to the right and y downwards, so that they outlive a change of resolution. Three
rules, each about where a detection stands:

- above the `sky` line nothing can burn: what has its foot there is cloud;
- in an `exclude` area nothing counts that lies in it by half or more (water, a glass roof, the camera's own lettering);
- on a `chimney` nothing counts that has its foot there, however far the plume drifts; smoke that merely passes in
  front of one, or behind it, has its foot elsewhere and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from detector.judgement.hits import Box, Hit

GRID = (320, 180)
"""Columns and rows on which areas are drawn: finer than any detection is exact."""
COVERED = 0.5
"""Share of a detection inside an excluded area from which on it belongs to it."""
FOOT = 0.02
"""Of the picture's height: a foot this far below the sky line still stands on it, as detections are no more exact."""

Point = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _simple(polygon: tuple[Point, ...]) -> tuple[Point, ...]:
    for number, (x, y) in enumerate(polygon, 1):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError(f"point {number} ({x:g}, {y:g}) lies outside the picture: use fractions from 0 to 1")
    sides = [(polygon[at - 1], polygon[at]) for at in range(len(polygon))]
    for first in range(len(sides)):
        for second in range(first + 1, len(sides)):
            neighbours = second - first in {1, len(sides) - 1}
            if not neighbours and _cross(*sides[first], *sides[second]):
                raise ValueError(
                    f"the side to point {first + 1} crosses the side to point {second + 1}: "
                    "give the corners in their order round the area"
                )
    if abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in sides)) < 2e-5:
        raise ValueError("the points enclose no area: give at least three that are not on one line")
    return polygon


Polygon = Annotated[tuple[Point, ...], Field(min_length=3, max_length=64), AfterValidator(_simple)]


class Area(_Part):
    """One area drawn by the operator; `name` is for people."""

    name: str = Field(default="", max_length=60)
    kind: Literal["exclude", "chimney"]
    polygon: Polygon


class ViewMasks(_Part):
    """All that is drawn on one view. `sky`: the share of the picture, from the top, above which nothing can burn."""

    sky: float = Field(default=0.0, ge=0, le=1)
    areas: tuple[Area, ...] = Field(default=(), max_length=64)


class MaskBook(_Part):
    """Masks kept apart from the settings: by camera, then by preset ("" for a camera that has none)."""

    cameras: dict[str, dict[str, ViewMasks]] = {}


class Stencil:
    """A view's masks, drawn once; says of a detection why it does not count."""

    def __init__(self, masks: ViewMasks) -> None:
        self._sky = masks.sky
        self._areas = [(area, _drawn(area.polygon)) for area in masks.areas]

    def why_not(self, hit: Hit) -> str | None:
        """One phrase, or None when the detection counts as far as masks go."""
        if self._sky and hit.box[3] <= self._sky - FOOT:
            return "in the sky"
        for area, drawn in self._areas:
            if _share(drawn, hit.box) >= COVERED if area.kind == "exclude" else _stands_on(drawn, hit.box):
                return f"{area.kind} {area.name}".strip()
        return None


def _drawn(polygon: Sequence[Point]) -> NDArray[np.uint8]:
    grid = np.zeros(GRID[::-1], np.uint8)
    corners = np.array(polygon, np.float64) * GRID
    cv2.fillPoly(grid, [np.rint(corners).astype(np.int32)], 1)
    return grid


def _share(drawn: NDArray[np.uint8], box: Box) -> float:
    left, top, right, bottom = (round(value * GRID[at % 2]) for at, value in enumerate(box))
    part = drawn[min(top, GRID[1] - 1) : max(bottom, top + 1), min(left, GRID[0] - 1) : max(right, left + 1)]
    return float(part.mean()) if part.size else 0.0


def _stands_on(drawn: NDArray[np.uint8], box: Box) -> bool:
    """Wind lays a plume over, so its foot is at the middle or at either end of the box's lower edge."""
    row = min(GRID[1] - 1, int(box[3] * GRID[1]))
    columns = [min(GRID[0] - 1, int(x * GRID[0])) for x in (box[0], (box[0] + box[2]) / 2, box[2])]
    return bool(drawn[row, columns].any())


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether two closed stretches have a point in common."""

    def turn(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def within(p: Point, q: Point, r: Point) -> bool:
        return min(p[0], q[0]) <= r[0] <= max(p[0], q[0]) and min(p[1], q[1]) <= r[1] <= max(p[1], q[1])

    turns = turn(a, b, c), turn(a, b, d), turn(c, d, a), turn(c, d, b)
    if (turns[0] > 0) != (turns[1] > 0) and (turns[2] > 0) != (turns[3] > 0) and 0 not in turns:
        return True
    ends = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(value == 0 and within(*points) for value, points in zip(turns, ends, strict=True))
