# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the model found in one frame, as fractions of it, and where two finds lie to each other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as fractions of the frame's width and height, y downwards."""
CUT = 0.015
"""Of the width: a box that comes so near to a side of the frame is cut off by it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One detection: when, where, how sure, and of what."""

    at: datetime
    box: Box
    confidence: float
    label: str = "smoke"
    stir: float | None = None
    """How much the picture changed at this place within seconds, in shares of how it changes in general and usually
    here; None when that cannot be told."""


def centre(box: Box) -> tuple[float, float]:
    """Of a box."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def area(box: Box) -> float:
    """As a share of the frame."""
    return (box[2] - box[0]) * (box[3] - box[1])


def size(box: Box) -> float:
    """The longer side."""
    return max(box[2] - box[0], box[3] - box[1])


def cut_off(box: Box) -> bool:
    """Whether a side of the frame cuts the box off, so that neither its foot nor its size is known."""
    return box[0] < CUT or box[2] > 1 - CUT


def nearness(there: Box, here: Box, reach: float, slack: float) -> float:
    """Positive when `here` is at the place of `there`: 1 at its centre, 0 `reach` sizes of the larger (and `slack` of
    the frame) away."""
    one, other = centre(there), centre(here)
    most = reach * max(size(there), size(here)) + slack
    return 1 - max(abs(one[0] - other[0]), abs(one[1] - other[1])) / most


def alike(one: Box, other: Box, share: float, slack: float) -> bool:
    """Whether the smaller of two boxes is at least this share as long as the larger, both a little longer."""
    small, large = sorted((size(one) + slack, size(other) + slack))
    return small >= share * large


def foot_moved(first: Box, last: Box) -> float:
    """How far the foot of a plume has moved, as a fraction of the frame.

    Wind lays a plume over, so its foot may be anywhere on the box's lower edge: the point that moved least is taken.
    """
    middle = abs(centre(first)[0] - centre(last)[0])
    sideways = min(abs(first[0] - last[0]), abs(first[2] - last[2]), middle)
    return max(sideways, abs(first[3] - last[3]))
