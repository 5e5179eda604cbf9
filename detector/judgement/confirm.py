# SPDX-License-Identifier: AGPL-3.0-or-later
"""From boxes in single frames to sightings: what stays at one place over time is smoke.

Pure: it is given capture times and boxes and holds only its tracks. Everything is measured in seconds of
capture time, never in frames, so that bursts, slow cameras and lost frames need no cases of their own.

A detection joins the track at its place or starts one. A track's evidence is the sum of what its detections
are worth over the last `window_s`, weak ones included, less a little for each frame that looked there and saw
nothing. It is confirmed when the evidence suffices, spans `persist_s`, and its foot has held still. What separates
smoke from its look-alikes:

- smoke keeps its foot where the fire is while its head drifts; cloud and fog move it too (`max_travel`);
- smoke grows, upwards and with the wind, and starts small; roofs and lamps keep their size (`steady_weight`,
  `growth_gain`), and what is large when first seen is mostly fog or glare (`large_area`, `large_weight`);
- smoke stirs: within seconds the picture changes where it is; drops and walls hold still (`still`, `still_weight`);
- smoke is there in most frames; glare and drops come and go (`miss_cost`);
- smoke is news: what was seen here before and came to nothing, or all over the scene today, is weather
  (`place_doubt`, `scene_doubt`).

What one detection and a track are worth is in detector.judgement.track, what is tuned in detector.judgement.params.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from detector.judgement.hits import Box, Hit, area, nearness, size
from detector.judgement.params import ConfirmParams
from detector.judgement.track import Doubt, Track, closeness, drifts, evidence, worth


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A sighting: first seen between `earliest` (last clean frame; None when there was none) and `latest`
    (first positive frame), confirmed by the frame at `at`. `hits` are oldest first; the last is that frame's.
    """

    earliest: datetime | None
    latest: datetime
    at: datetime
    hits: tuple[Hit, ...]


class Confirmer:
    """The confirmation of one camera at one preset. Frames come in order; a clock set back begins anew."""

    def __init__(self, params: ConfirmParams) -> None:
        self._params = params
        self._tracks: list[Track] = []
        self._doubts: list[Doubt] = []
        self._seen_at: datetime | None = None

    @property
    def suspicious(self) -> bool:
        """Something unconfirmed was seen lately, and more frames, sooner, would settle it."""
        return any(self._undecided(track) for track in self._tracks)

    def step(self, at: datetime, hits: Sequence[Hit]) -> list[Confirmed]:
        """Take in one frame's detections; returns the sightings it confirms, usually none."""
        params = self._params
        if self._seen_at is not None and at < self._seen_at:
            self._tracks, self._doubts, self._seen_at = [], [], None
        self._forget(at)
        for hit in sorted(hits, key=lambda each: -worth(each, params)):
            self._place(hit)
        start = at - timedelta(seconds=params.window_s)
        for track in self._tracks:
            if track.last.at != at:
                track.misses.append(at)
            track.hits = [hit for hit in track.hits if hit.at >= start]
            track.misses = [miss for miss in track.misses if track.hits and miss >= track.hits[0].at]
            if not track.hits:
                self._end(track)
        self._seen_at = at
        return [self._report(track, at) for track in self._tracks if self._due(track, at)]

    def _forget(self, at: datetime) -> None:
        params = self._params
        seen, remembered = (at - timedelta(seconds=age) for age in (params.forget_s, params.remember_s))
        self._tracks = [track for track in self._tracks if track.last.at >= seen]
        self._doubts = [doubt for doubt in self._doubts if doubt.at >= remembered]

    def _end(self, track: Track) -> None:
        """A run is over; what it was worth without being confirmed is held against its place."""
        if track.reported_at is None and track.worth > 0:
            self._doubts.append(Doubt(track.last.at, track.last.box, min(1.0, track.worth)))
        track.worth = 0.0

    def _place(self, hit: Hit) -> None:
        """Give a detection to the nearest track, or start one; a frame counts once, by the box that is worth most."""
        large = area(hit.box) > self._params.large_area
        near = [track for track in self._tracks if self._closeness(track, hit.box) > 0]
        # A small plume in front of a fog bank is not part of it.
        near = [track for track in near if large or track.reported_at or not track.large]
        nearest = max(near, key=lambda track: self._closeness(track, hit.box), default=None)
        if nearest is None:
            value = worth(hit, self._params)
            self._tracks.append(Track(self._seen_at, hit.at, hit, hit.box, large, value, [hit]))
        elif nearest.last.at < hit.at:
            if (hit.at - nearest.last.at).total_seconds() > self._params.window_s:
                self._end(nearest)
                nearest.since, nearest.large, nearest.first = hit.at, large, hit.box
                nearest.clean_at = self._seen_at if self._seen_at != nearest.last.at else None
            nearest.last = hit
            nearest.worth += worth(hit, self._params)
            nearest.hits.append(hit)

    def _closeness(self, track: Track, here: Box) -> float:
        """Of a track to a box. What burns is reported: a larger box around it is no second fire."""
        there = track.last.box
        if track.reported_at is not None and size(here) > size(there):
            return nearness(there, here, self._params.reach, self._params.slack)
        return closeness(there, here, self._params)

    def _undecided(self, track: Track) -> bool:
        return (
            track.reported_at is None
            and not track.large
            and (track.last.at - track.since).total_seconds() <= self._params.burst_s
            and evidence(track, self._doubts, self._params) >= self._params.suspect
        )

    def _due(self, track: Track, at: datetime) -> bool:
        params = self._params
        if track.last.at != at:
            return False
        if track.reported_at is not None:
            again = params.repeat_after_s
            return again is not None and (at - track.reported_at).total_seconds() >= again
        return (
            len(track.hits) >= params.least_hits
            and (at - track.hits[0].at).total_seconds() >= params.persist_s
            and max(worth(hit, params) for hit in track.hits) >= params.best
            and evidence(track, self._doubts, params) >= params.evidence
            and not drifts(track, params)
        )

    def _report(self, track: Track, at: datetime) -> Confirmed:
        track.reported_at = at
        return Confirmed(track.clean_at, track.since, at, tuple(track.hits))
