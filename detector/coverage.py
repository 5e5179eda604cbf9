# SPDX-License-Identifier: AGPL-3.0-or-later
"""When each camera was truly looked at, and what made it blind: runs of one state, kept on disk, sent when whole.

The state is sampled; `ok` is what lies between two samples that both say so. Nothing is said of time in which the box
itself did not run. A report is told on one scale of time: when a set clock begins another, so does another report.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from detector.errors import OutboxError
from detector.link.outbox import Outbox
from detector.link.timekeeper import Timekeeper
from detector.wire import MOST_RUNS, CameraState, ClockOffset, CoverageReport, CoverageRun

log = logging.getLogger(__name__)

SAVE_S = 60.0
"""A power cut loses no more than this."""
REPORT_S = 600.0
GAP_S = 10.0
"""A longer silence between two samples is time of which nothing is known."""
LATE_INTERVALS = 3
NO_PICTURE: frozenset[CameraState] = frozenset({"starting", "stream_down"})


View = tuple[str, str | None]
"""A camera, and its preset."""


@dataclass(slots=True)
class _Page:
    """What will be one report; `clock` is at its newest sample."""

    clock: ClockOffset
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    runs: list[CoverageRun] = field(default_factory=list)


class Ledger:
    """Of one box. For use from one thread."""

    def __init__(self, outbox: Outbox, clock: Timekeeper) -> None:
        self._outbox = outbox
        self._clock = clock
        self._pages: dict[tuple[View, str | None], _Page] = {}
        self._saved_at = clock.monotonic()
        self._complained = False

    def note(self, camera: str, preset: str | None, state: CameraState, looks: int) -> None:
        """The camera's view is in this state now, and was looked at so many times since the last note."""
        now = self._clock.now()
        clock = self._clock.stamp(now)
        page = self._pages.setdefault(((camera, preset), clock.scale), _Page(clock))
        page.clock = clock
        last = page.runs[-1] if page.runs else None
        if last is None or not 0 <= (now - last.to).total_seconds() <= GAP_S:
            page.runs.append(CoverageRun(state=state, start=now, to=now, looks=looks))
        elif last.state == state:
            page.runs[-1] = last.model_copy(update={"to": now, "looks": last.looks + looks})
        elif state == "ok":
            # What lies between two samples counts as blind when one of them was.
            page.runs[-1] = last.model_copy(update={"to": now})
            page.runs.append(CoverageRun(state=state, start=now, to=now, looks=looks))
        else:
            page.runs.append(CoverageRun(state=state, start=last.to, to=now, looks=looks))

    def save(self, ending: bool = False) -> None:
        """Write to disk what is due: every minute, and all that there is when the box ends."""
        now = self._clock.monotonic()
        if not ending and now - self._saved_at < SAVE_S:
            return
        self._saved_at = now
        present = self._clock.stamp().scale
        for (view, scale), page in list(self._pages.items()):
            over = scale != present
            whole = over or ending or len(page.runs) >= MOST_RUNS // 2 or _age_s(page, self._clock.now()) >= REPORT_S
            if self._write(view, page, whole) and whole:
                del self._pages[view, scale]
                if not over:
                    self._pages[view, scale] = _after(page)
            del page.runs[:-MOST_RUNS]

    def _write(self, view: View, page: _Page, whole: bool) -> bool:
        if not page.runs:
            return False
        runs = tuple(page.runs[-MOST_RUNS:])
        clock = self._clock.stamp(runs[-1].to, page.clock)
        report = CoverageReport(id=page.id, camera=view[0], preset=view[1], clock=clock, runs=runs)
        try:
            self._outbox.put_coverage(report, self._clock.now(), whole)
        except OutboxError as error:
            if not self._complained:
                log.error("%s: the coverage ledger waits in memory", error)
            self._complained = True
            return False
        self._complained = False
        return True


def _after(page: _Page) -> _Page:
    """A new page, which goes on where the old one ended."""
    last = page.runs[-1]
    return _Page(page.clock, runs=[CoverageRun(state=last.state, start=last.to, to=last.to, looks=0)])


def state_of(stream: CameraState, scenery: CameraState, unjudged_s: float, interval_s: float) -> CameraState:
    """What a camera's time counts as: `ok` is looked at and judged, as a picture of another size is too."""
    if stream in NO_PICTURE:
        return stream
    if unjudged_s > LATE_INTERVALS * interval_s:
        return "overloaded"  # before frozen, which only looking can tell
    return "frozen" if stream == "frozen" else scenery


def _age_s(page: _Page, now: datetime) -> float:
    return (now - page.runs[0].start).total_seconds() if page.runs else 0.0
