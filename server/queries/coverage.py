# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of a time each camera was truly looked at, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Camera, CoverageRun

KEPT, SLOW = "ok", "slow"
"""Looked at and judged by a plan that keeps one minute; and by one that cannot."""
LOOKED = frozenset({KEPT, SLOW})
MINUTE = timedelta(seconds=60)
# Stretches so close to each other are one: between two reports of a box nothing was missed.
_JOIN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in one state (docs/wire.md's)."""

    state: str
    from_at: datetime
    to_at: datetime

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.to_at - self.from_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Coverage:
    """One camera at one preset in a period, in seconds. ``blind_s`` is by cause (docs/wire.md's states);
    ``unreported_s`` is what no box has told of yet: a box without link tells of it later. ``minute_s``: smoke that
    began then could be found within a minute, because it was looked at by a plan that keeps it, then and for the minute
    after."""

    camera: str
    name: str
    preset: str | None
    looked_s: float
    looks: int
    blind_s: Mapping[str, float]
    unreported_s: float
    minute_s: float
    stretches: Sequence[Stretch]

    @property
    def whole_s(self) -> float:
        """The period."""
        return self.looked_s + sum(self.blind_s.values()) + self.unreported_s

    @property
    def share(self) -> float:
        """Of the period, truly looked at: 0 to 1."""
        return self.looked_s / self.whole_s if self.whole_s else 0.0

    @property
    def minute_share(self) -> float:
        """Of the period, one minute was possible: 0 to 1."""
        return self.minute_s / self.whole_s if self.whole_s else 0.0


def coverage(session: Session, since: datetime, until: datetime, area: str = "") -> list[Coverage]:
    """Every registered camera of the area (the beginning of a division's code) at each preset that was reported, by
    name. ``looks`` of a run that reaches beyond the period count in proportion."""
    cameras = session.execute(
        select(Camera.id, Camera.name)
        .where(Camera.county_code.startswith(area, autoescape=True))
        .order_by(Camera.name, Camera.id)
    ).all()
    runs = session.scalars(
        select(CoverageRun)
        .where(
            CoverageRun.to_at > since,
            CoverageRun.from_at < until,
            CoverageRun.camera_id.in_([key for key, _ in cameras]),
        )
        .order_by(CoverageRun.from_at)
    )
    by_view: dict[tuple[str, str | None], list[CoverageRun]] = {}
    for run in runs:
        by_view.setdefault((run.camera_id, run.preset), []).append(run)
    found = []
    for camera, name in cameras:
        presets = sorted((preset for of, preset in by_view if of == camera), key=lambda preset: preset or "")
        found += [
            _sum(camera, name, preset, by_view.get((camera, preset), []), since, until) for preset in presets or [None]
        ]
    return found


def _sum(
    camera: str, name: str, preset: str | None, runs: Sequence[CoverageRun], since: datetime, until: datetime
) -> Coverage:
    stretches, looks = _stretches(runs, since, until)
    seconds: dict[str, float] = {}
    for each in stretches:
        seconds[each.state] = seconds.get(each.state, 0.0) + each.seconds
    unreported = (until - since).total_seconds() - sum(seconds.values())
    minute = sum(
        max(0.0, each.seconds - (0.0 if each.to_at >= until - _JOIN else MINUTE.total_seconds()))
        for each in stretches
        if each.state == KEPT
    )
    looked = sum(seconds.pop(state, 0.0) for state in LOOKED)
    blind = dict(sorted(seconds.items()))
    return Coverage(camera, name, preset, looked, round(looks), blind, max(0.0, unreported), minute, stretches)


def _stretches(runs: Sequence[CoverageRun], since: datetime, until: datetime) -> tuple[list[Stretch], float]:
    """Without overlap, neighbours of one state joined, and the number of looks. Time told of twice (a restart by a
    clock that is a little off) counts once, for the earlier run."""
    found: list[Stretch] = []
    looks, told_until = 0.0, since
    for run in runs:
        begin, end = max(run.from_at, told_until), min(run.to_at, until)
        whole = (run.to_at - run.from_at).total_seconds()
        looks += run.looks * (max(0.0, (end - begin).total_seconds()) / whole if whole else 1.0)
        if end <= begin:
            continue
        last = found[-1] if found else None
        if last is not None and last.state == run.state and begin - last.to_at <= _JOIN:
            found[-1] = Stretch(last.state, last.from_at, end)
        else:
            found.append(Stretch(run.state, begin, end))
        told_until = end
    return found, looks
