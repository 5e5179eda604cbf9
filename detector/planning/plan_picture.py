# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plan drawn: for each camera the worst case as a line of time, from the smoke to the alert; its presets, which are
visited alike, share one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np

from detector.planning.plan import LIMIT_S, Outcome

WIDTH, ROW, TOP, LEFT, RIGHT = 1000, 54, 76, 210, 130
INK, PALE, MISS, SEEN, LATE, REST = "#1d2733", "#dfe4ea", "#8b97a5", "#1f6fb2", "#b3261e", "#e6b450"
HERE, TURNING, ELSEWHERE = "#cfe3f5", "#f6dcb0", "#eceff3"
LEGEND = (
    (SEEN, "看见 sees it"),
    (MISS, "没看见 misses it"),
    (HERE, "在此 here"),
    (TURNING, "转动 turning"),
    (ELSEWHERE, "在别处 elsewhere"),
    (REST, "余量 allowances"),
)


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
    rows = [list(row) for _, row in itertools.groupby(outcomes, key=lambda each: each.camera)]
    shapes = _shapes(rows)
    height = TOP + ROW * len(rows) + 44
    if path.suffix == ".svg":
        path.write_text(_svg(shapes, height), encoding="utf-8")
    elif path.suffix == ".png":
        done, data = cv2.imencode(".png", _raster(shapes, height))
        assert done
        path.write_bytes(data.tobytes())
    else:
        raise ValueError(f"{path} must end in .svg or .png")


def _shapes(rows: Sequence[Sequence[Outcome]]) -> list[_Shape]:
    end = max(LIMIT_S * 1.15, *(min(row[0].worst_s, 4 * LIMIT_S) for row in rows))
    scale = (WIDTH - LEFT - RIGHT) / end
    bottom = TOP + ROW * len(rows)
    title = "从可见烟到报警：最坏情形（秒） From the first visible smoke to the alert, worst case (s)"
    shapes = [_Shape(16, 24, 0, 0, INK, title)]
    for number, (colour, text) in enumerate(LEGEND):
        left = 16 + number * 160
        shapes += [_Shape(left, 38, 12, 12, colour), _Shape(left + 18, 49, 0, 0, INK, text)]
    step = 10 if end <= 150 else 30
    for second in range(0, int(end) + 1, step):
        x = LEFT + second * scale
        shapes += [_Shape(x, TOP, 1, bottom - TOP, PALE), _Shape(x - 6, bottom + 18, 0, 0, MISS, str(second))]
    for number, row in enumerate(rows):
        shapes += _row(row, TOP + number * ROW, scale, end)
    limit = LEFT + LIMIT_S * scale
    shapes.append(_Shape(limit, TOP - 6, 2, bottom - TOP + 6, LATE))
    return [*shapes, _Shape(limit + 8, bottom + 34, 0, 0, LATE, "一分钟 one minute")]


def _row(row: Sequence[Outcome], y: float, scale: float, end: float) -> list[_Shape]:
    outcome = row[0]
    colour = INK if outcome.kept else LATE
    middle = y + ROW / 2
    verdict = "可行 kept" if outcome.kept else "不可行 REFUSED"
    shapes = [
        _Shape(16, middle - 6, 0, 0, colour, outcome.camera),
        _Shape(16, middle + 12, 0, 0, MISS, " ".join(each.preset for each in row if each.preset)),
        *(
            _Shape(LEFT + start * scale, middle - 14, (min(stop, end) - start) * scale, 28, shade)
            for start, stop, shade in _whereabouts(outcome)
            if start < end
        ),
    ]
    confirmed, alert = min(outcome.worst.confirmed_s, end), min(outcome.worst_s, end)
    shapes += [
        _Shape(LEFT, middle - 1, confirmed * scale, 2, INK),
        _Shape(LEFT + confirmed * scale, middle - 6, max(1.0, (alert - confirmed) * scale), 12, REST),
        _Shape(WIDTH - RIGHT + 14, middle - 10, 0, 0, colour, verdict),
        _Shape(WIDTH - RIGHT + 14, middle + 6, 0, 0, colour, f"max {_seconds(outcome.worst_s)}"),
        _Shape(WIDTH - RIGHT + 14, middle + 21, 0, 0, MISS, f"p95 {_seconds(outcome.p95_s)}"),
    ]
    for at, seen in outcome.worst.looks:
        if at <= end:
            shapes.append(_Shape(LEFT + at * scale - 2, middle - 10, 4, 20, SEEN if seen else MISS))
    return shapes


def _whereabouts(outcome: Outcome) -> list[tuple[float, float, str]]:
    """Where a camera that goes round is, from the onset to the confirmation: (from, to, colour), seconds."""
    patrol, rhythm = outcome.plan.patrol, outcome.plan.rhythm()
    if patrol is None or rhythm.away_s == 0:
        return []
    shades: list[tuple[float, float, str]] = []
    looks = [0.0, *(at for at, _ in outcome.worst.looks)]
    for before, after in itertools.pairwise(looks):
        at = max(before, after - rhythm.away_s if after - before >= rhythm.away_s else after)
        shades.append((before, at, HERE))
        while at < after - 1e-6:
            there = at + patrol.slew_s + patrol.settle_s
            shades.append((at, there, TURNING))
            at = min(after, there + patrol.dwell_s)
            shades.append((there, at, ELSEWHERE))
    return [each for each in shades if each[0] < each[1]]


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if math.isfinite(seconds) else "never"


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
