# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was seen at one place, and what that is worth as evidence of smoke."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from detector.judgement.hits import Box, Hit, alike, area, cut_off, foot_moved, nearness, size
from detector.judgement.params import ConfirmParams


@dataclass(slots=True)
class Track:
    """The finds at one place. A *run* of them ends with a gap longer than the window; `since`, `first`, `large` and
    `worth` are of the present run."""

    clean_at: datetime | None
    """The last frame before `since` that saw nothing here."""
    since: datetime
    last: Hit
    first: Box
    large: bool
    """When first seen already."""
    worth: float
    """Of all its detections."""
    hits: list[Hit] = field(default_factory=list)
    """Within the window."""
    misses: list[datetime] = field(default_factory=list)
    """Frames within the window, after the first hit, that saw nothing here."""
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A run that came to nothing: weather, a roof, a lamp."""

    at: datetime
    box: Box
    worth: float


def closeness(there: Box, here: Box, params: ConfirmParams) -> float:
    """Positive when two boxes can be one thing, and the more so the nearer they are."""
    near = nearness(there, here, params.reach, params.slack)
    return near if alike(there, here, params.alike, params.slack) else 0.0


def holds_still(hit: Hit, params: ConfirmParams) -> bool:
    """Whether nothing moved in the picture where it is; False when that cannot be told."""
    return hit.stir is not None and hit.stir < params.still


def worth(hit: Hit, params: ConfirmParams) -> float:
    """What one detection is worth."""
    value = min(1.0, hit.confidence / params.full_confidence)
    if holds_still(hit, params):
        value *= params.still_weight
    if cut_off(hit.box):
        value *= params.cut_weight
    return value


def growth(track: Track, params: ConfirmParams) -> float:
    """The weight of a track by how many times its last two boxes, in the mean, have doubled since its first; of a box
    that is cut off nothing is known."""
    first = max(area(track.first), 1e-9)
    latest = [0.0 if cut_off(hit.box) else math.log2(max(area(hit.box), 1e-9) / first) for hit in track.hits[-2:]]
    grown = max(0.0, sum(latest) / max(1, len(latest)))
    return min(params.growth_weight, params.steady_weight + params.growth_gain * grown)


def doubt(track: Track, doubts: Iterable[Doubt], params: ConfirmParams) -> float:
    """What the evidence is divided by: 1 where nothing has come to nothing lately."""
    worths = [(each.worth, closeness(each.box, track.first, params) > 0) for each in doubts]
    here, anywhere = sum(value for value, near in worths if near), sum(value for value, _ in worths)
    return 1 + params.place_doubt * here + params.scene_doubt * anywhere


def evidence(track: Track, doubts: Iterable[Doubt], params: ConfirmParams) -> float:
    """Of smoke, by what was seen in the window."""
    total = sum(worth(hit, params) for hit in track.hits)
    weight = params.large_weight if track.large else growth(track, params)
    return total * weight / doubt(track, doubts, params) - params.miss_cost * len(track.misses)


def drifts(track: Track, params: ConfirmParams) -> bool:
    """Whether its foot has moved too far since the first detection in the window, as clouds' do.

    What holds still is a wall or a hill beside it: it says nothing of a foot.
    """
    moving = [hit for hit in track.hits if not holds_still(hit, params)] or track.hits
    first, last = moving[0].box, moving[-1].box
    return foot_moved(first, last) > params.max_travel * max(size(first), size(last)) + params.slack
