# SPDX-License-Identifier: AGPL-3.0-or-later
"""From boxes in single frames to sightings: what stays at one place over time is smoke.

Pure: it is given capture times and boxes and holds only its tracks. Everything is measured in seconds of
capture time, never in frames, so that bursts, slow cameras and lost frames need no cases of their own.

A detection joins the track at its place or starts one. A track's evidence is the sum of what its detections
are worth over the last `window_s`, less a little for each frame that looked there and saw nothing. It is
confirmed when the evidence suffices, spans `persist_s`, and its foot has held still. What separates smoke
from its look-alikes:

- smoke keeps its foot where the fire is while its head drifts; cloud and fog move it too (`max_travel`);
- smoke starts small; what is large when first seen is mostly fog or glare (`large_area`, `large_weight`);
- smoke is there in most frames; glare and drops come and go (`miss_cost`).

The figures were set by replaying real sequences with the starting model (docs/detector.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 as fractions of the frame's width and height, y downwards."""


@dataclass(frozen=True, slots=True)
class ConfirmParams:
    """All that is tuned. Times in seconds, lengths as fractions of the frame or of a box where said."""

    evidence: float = 1.75
    """Sum of worths that confirms."""
    least_hits: int = 2
    """Least number of counted detections."""
    persist_s: float = 3.0
    """Least time between the first and the last counted detection."""
    window_s: float = 30.0
    """Detections older than this no longer count as evidence."""
    full_confidence: float = 0.5
    """A detection is worth its confidence divided by this, at most 1."""
    miss_cost: float = 0.15
    """Taken off for each frame in the window that saw nothing where a counted detection had been."""
    large_area: float = 0.15
    """Of the frame. On lookout towers 19 of 20 labelled plumes are below 0.11; false boxes in fog average 0.45."""
    large_weight: float = 0.35
    """What detections are multiplied by on a track that was large when it was first seen."""
    max_travel: float = 1.0
    """How far the foot may have moved within the window, in sizes of the box, before it is a cloud."""
    reach: float = 0.75
    """How far from a track a detection may be and still belong to it, in sizes of the larger box."""
    slack: float = 0.02
    """Added to both distances, as a fraction of the frame: wind, shake, and the detector's own jitter."""
    burst_s: float = 60.0
    """How long one suspicion may ask for more frames: fog must not keep the box busy all day."""
    forget_s: float = 900.0
    """A track unseen for so long is gone; smoke seen there later is new."""
    repeat_after_s: float | None = None
    """Report a plume again when it still burns after so long; None reports it once."""

    def for_interval(self, interval_s: float) -> ConfirmParams:
        """The same rule for a camera sampled every `interval_s`: windows hold at least four intervals."""
        return replace(
            self,
            window_s=max(self.window_s, 4 * interval_s),
            forget_s=max(self.forget_s, 6 * interval_s),
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """One detection: when, where, how sure, and of what."""

    at: datetime
    box: Box
    confidence: float
    label: str = "smoke"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A sighting: first seen between `earliest` (last clean frame; None when there was none) and `latest`
    (first positive frame), confirmed by the frame at `at`. `hits` are oldest first; the last is that frame's.
    """

    earliest: datetime | None
    latest: datetime
    at: datetime
    hits: tuple[Hit, ...]


@dataclass(slots=True)
class _Track:
    clean_at: datetime | None
    """The last frame before `since` that saw nothing here."""
    since: datetime
    """The first detection of the present run; a gap longer than the window ends a run."""
    last: Hit
    hits: list[Hit] = field(default_factory=list)
    misses: list[datetime] = field(default_factory=list)
    reported_at: datetime | None = None
    large: bool = False
    """Large at `since` already."""


class Confirmer:
    """The confirmation of one camera at one preset. Frames come in order; a clock set back begins anew."""

    def __init__(self, params: ConfirmParams) -> None:
        self._params = params
        self._tracks: list[_Track] = []
        self._seen_at: datetime | None = None

    @property
    def suspicious(self) -> bool:
        """Something unconfirmed was seen lately, and more frames, sooner, would settle it."""
        return any(self._undecided(track) for track in self._tracks)

    def step(self, at: datetime, hits: Sequence[Hit]) -> list[Confirmed]:
        """Take in one frame's detections; returns the sightings it confirms, usually none."""
        params = self._params
        if self._seen_at is not None and at < self._seen_at:
            self._tracks, self._seen_at = [], None
        oldest = at - timedelta(seconds=params.forget_s)
        self._tracks = [track for track in self._tracks if track.last.at >= oldest]
        for hit in sorted(hits, key=lambda each: -each.confidence):
            self._place(hit)
        start = at - timedelta(seconds=params.window_s)
        for track in self._tracks:
            if track.last.at != at:
                track.misses.append(at)
            track.hits = [hit for hit in track.hits if hit.at >= start]
            track.misses = [miss for miss in track.misses if track.hits and miss >= track.hits[0].at]
        self._seen_at = at
        return [self._report(track, at) for track in self._tracks if self._due(track, at)]

    def _place(self, hit: Hit) -> None:
        """Give a detection to the nearest track, or start one; a frame counts once, by its surest box."""
        large = self._large(hit.box)
        near = [track for track in self._tracks if self._nearness(track, hit.box) > 0]
        # A small plume in front of a fog bank is not part of it.
        near = [track for track in near if large or track.reported_at or not track.large]
        nearest = max(near, key=lambda track: self._nearness(track, hit.box), default=None)
        if nearest is None:
            self._tracks.append(_Track(self._seen_at, hit.at, hit, [hit], large=large))
        elif nearest.last.at < hit.at:
            if (hit.at - nearest.last.at).total_seconds() > self._params.window_s:
                nearest.since, nearest.large = hit.at, large
                nearest.clean_at = self._seen_at if self._seen_at != nearest.last.at else None
            nearest.last = hit
            nearest.hits.append(hit)

    def _nearness(self, track: _Track, box: Box) -> float:
        """Positive when `box` is at the track's place: 1 at its centre, 0 at the edge of its reach."""
        params = self._params
        here, there = _centre(track.last.box), _centre(box)
        reach = params.reach * max(_size(track.last.box), _size(box)) + params.slack
        return 1 - max(abs(here[0] - there[0]), abs(here[1] - there[1])) / reach

    def _undecided(self, track: _Track) -> bool:
        return (
            track.reported_at is None
            and not track.large
            and (track.last.at - track.since).total_seconds() <= self._params.burst_s
            and self._evidence(track) > 0
        )

    def _due(self, track: _Track, at: datetime) -> bool:
        params = self._params
        if track.last.at != at:
            return False
        if track.reported_at is not None:
            again = params.repeat_after_s
            return again is not None and (at - track.reported_at).total_seconds() >= again
        return (
            len(track.hits) >= params.least_hits
            and (at - track.hits[0].at).total_seconds() >= params.persist_s
            and self._evidence(track) >= params.evidence
            and self._travel(track) <= 0
        )

    def _evidence(self, track: _Track) -> float:
        params = self._params
        worth = sum(min(1.0, hit.confidence / params.full_confidence) for hit in track.hits)
        return worth * (params.large_weight if track.large else 1) - params.miss_cost * len(track.misses)

    def _large(self, box: Box) -> bool:
        return (box[2] - box[0]) * (box[3] - box[1]) > self._params.large_area

    def _travel(self, track: _Track) -> float:
        """How far beyond what is allowed the foot has moved since the first counted detection.

        Wind lays a plume over, so its foot may be anywhere on the box's lower edge: the point that moved
        least is taken.
        """
        first, last = track.hits[0].box, track.last.box
        sideways = min(abs(first[0] - last[0]), abs(first[2] - last[2]), abs(_centre(first)[0] - _centre(last)[0]))
        moved = max(sideways, abs(first[3] - last[3]))
        return moved - self._params.max_travel * max(_size(first), _size(last)) - self._params.slack

    def _report(self, track: _Track, at: datetime) -> Confirmed:
        track.reported_at = at
        return Confirmed(track.clean_at, track.since, at, tuple(track.hits))


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _size(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])
