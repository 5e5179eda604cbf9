# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plan drawn: for each camera and preset the worst case as a line of time, from the smoke to the alert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np

from detector.plan import LIMIT_S, Outcome

WIDTH, ROW, TOP, LEFT, RIGHT = 1000, 46, 64, 210, 120
INK, PALE, MISS, SEEN, LATE, REST = "#1d2733", "#d8dee6", "#8b97a5", "#1f6fb2", "#b3261e", "#e6b450"


@dataclass(frozen=True, slots=True)
class _Shape:
    """A rectangle (`text` None), or a line of text that begins at x, y. Pixels."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    text: str | None = None


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the picture, SVG or PNG by the file's name. Raises OSError; ValueError for another kind of file."""
    shapes = _shapes(outcomes)
    height = TOP + ROW * len(outcomes) + 40
    if path.suffix == ".svg":
        path.write_text(_svg(shapes, height), encoding="utf-8")
    elif path.suffix == ".png":
        done, data = cv2.imencode(".png", _raster(shapes, height))
        assert done
        path.write_bytes(data.tobytes())
    else:
        raise ValueError(f"{path} must end in .svg or .png")


def _shapes(outcomes: Sequence[Outcome]) -> list[_Shape]:
    end = max(LIMIT_S * 1.15, *(min(each.worst_s, 4 * LIMIT_S) for each in outcomes))
    scale = (WIDTH - LEFT - RIGHT) / end
    bottom = TOP + ROW * len(outcomes)
    shapes = [
        _Shape(16, 24, 0, 0, INK, "From the first visible smoke to the alert, worst case (seconds)"),
        _Shape(
            16, 44, 0, 0, MISS, "grey: a look that sees nothing   blue: a look that sees the smoke   yellow: allowances"
        ),
    ]
    step = 10 if end <= 150 else 30
    for second in range(0, int(end) + 1, step):
        x = LEFT + second * scale
        shapes += [_Shape(x, TOP, 1, bottom - TOP, PALE), _Shape(x - 6, bottom + 18, 0, 0, MISS, str(second))]
    for row, outcome in enumerate(outcomes):
        shapes += _row(outcome, TOP + row * ROW, scale, end)
    shapes.append(_Shape(LEFT + LIMIT_S * scale, TOP - 6, 2, bottom - TOP + 6, LATE))
    return shapes


def _row(outcome: Outcome, y: float, scale: float, end: float) -> list[_Shape]:
    name = outcome.camera if outcome.preset is None else f"{outcome.camera} / {outcome.preset}"
    colour = INK if outcome.kept else LATE
    middle = y + ROW / 2
    confirmed, alert = min(outcome.worst.confirmed_s, end), min(outcome.worst_s, end)
    shapes = [
        _Shape(16, middle + 5, 0, 0, colour, name),
        _Shape(LEFT, middle - 1, confirmed * scale, 3, INK),
        _Shape(LEFT + confirmed * scale, middle - 6, max(1.0, (alert - confirmed) * scale), 12, REST),
        _Shape(WIDTH - RIGHT + 14, middle - 3, 0, 0, colour, f"worst {outcome.worst_s:.1f} s"),
        _Shape(WIDTH - RIGHT + 14, middle + 13, 0, 0, MISS, f"p95 {outcome.p95_s:.1f} s"),
    ]
    for at, seen in outcome.worst.looks:
        if at <= end:
            shapes.append(_Shape(LEFT + at * scale - 2, middle - 9, 4, 18, SEEN if seen else MISS))
    return shapes


def _svg(shapes: Sequence[_Shape], height: int) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for each in shapes:
        if each.text is None:
            size = f'width="{each.width:.1f}" height="{each.height:.1f}"'
            lines.append(f'<rect x="{each.x:.1f}" y="{each.y:.1f}" {size} fill="{each.colour}"/>')
        else:
            lines.append(f'<text x="{each.x:.1f}" y="{each.y:.1f}" fill="{each.colour}">{escape(each.text)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _raster(shapes: Sequence[_Shape], height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    picture = np.full((height, WIDTH, 3), 255, np.uint8)
    for each in shapes:
        red, green, blue = (int(each.colour[at : at + 2], 16) for at in (1, 3, 5))
        x, y = round(each.x), round(each.y)
        if each.text is None:
            corner = (round(each.x + each.width) - 1, round(each.y + each.height) - 1)
            cv2.rectangle(picture, (x, y), (max(x, corner[0]), max(y, corner[1])), (blue, green, red), -1)
        else:
            where, face = (x, y), cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(picture, each.text, where, face, 0.42, (blue, green, red), 1, cv2.LINE_AA)
    return picture
