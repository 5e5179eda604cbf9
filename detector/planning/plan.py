# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long from the first visible smoke to the alert, by a camera's own sampling, confirmation and patrol.

Pure. The confirmation is the one that runs on the box (detector.judgement.confirm), fed with the detections that the
allowances name; nothing of its rule is repeated here.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from detector.judgement.confirm import Confirmer
from detector.judgement.hits import Hit
from detector.judgement.params import ConfirmParams

LIMIT_S = 60.0
ONSETS = 1000
"""Onsets at evenly spread phases that the p95 is taken over."""
GIVE_UP_S = 600.0
FOREVER_S = math.inf
QUICK_S = 2.0
"""The burst that is proposed where a slower one does not do."""
_START = datetime(2000, 1, 1, tzinfo=UTC)
_BOX = (0.4, 0.5, 0.43, 0.54)
_LATEST_MISS = 4
"""The looks after the onset, of which the worst possible one misses."""


Seen = Callable[[float], Sequence[Hit]]
"""What a look sees, so many seconds after the onset; the times of the hits are set by the caller."""


@dataclass(frozen=True, slots=True)
class Allowances:
    """What a plan takes for granted, each by name; seconds where said."""

    capture_s: float = 0.5
    """From the scene to the box: the camera's encoder and its network."""
    look_s: float = 0.3
    """Decoding one picture and running the model on it."""
    delivery_s: float = 2.0
    """Outbox on disk, broker, and the server's commit, on a link that is up."""
    confidence: float = 0.35
    """Of each detection: a faint plume, which needs more looks than a plain one."""
    recall: float = 0.9
    """Share of the looks at visible smoke that see it; for the p95."""
    misses: int = 1
    """Looks that see nothing, at the worst possible place; for the worst case."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When one camera at one preset is looked at, seconds. A visit lasts `dwell_s`, or as long as there is a
    suspicion; then the camera is away (moving, settling, at other presets) for `away_s`: 0 for a fixed camera."""

    interval_s: float
    burst_s: float
    dwell_s: float = FOREVER_S
    away_s: float = 0.0

    @property
    def cycle_s(self) -> float:
        """After so long it all repeats."""
        return self.interval_s if self.away_s == 0 else self.dwell_s + self.away_s

    def after(self, look: float, arrived: float, suspicious: bool) -> tuple[float, float]:
        """The look after the one at `look`, and the arrival at the visit that it belongs to."""
        following = look + (self.burst_s if suspicious else self.interval_s)
        if suspicious or self.away_s == 0 or following < arrived + self.dwell_s:
            return following, arrived
        back = max(arrived + self.dwell_s, look) + self.away_s
        return back, back


@dataclass(frozen=True, slots=True)
class Patrol:
    """A camera that goes round. `slew_s`: from the order to move until it stands; `settle_s`: from then until its
    picture may be judged."""

    presets: tuple[str, ...]
    dwell_s: float
    slew_s: float
    settle_s: float

    def rhythm(self, interval_s: float, burst_s: float) -> Rhythm:
        """The same for each preset, as each is visited once a round."""
        away = len(self.presets) * (self.dwell_s + self.slew_s + self.settle_s) - self.dwell_s
        return Rhythm(interval_s, burst_s, self.dwell_s, away if len(self.presets) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """What one camera does; `patrol` None for one that does not move."""

    camera: str
    interval_s: float
    burst_s: float
    confirm: ConfirmParams
    patrol: Patrol | None = None
    preset: str | None = None

    @property
    def presets(self) -> tuple[str | None, ...]:
        """What is to be computed one by one."""
        return self.patrol.presets if self.patrol else (self.preset,)

    def rhythm(self) -> Rhythm:
        """When it is looked at."""
        if self.patrol is None:
            return Rhythm(self.interval_s, self.burst_s)
        return self.patrol.rhythm(self.interval_s, self.burst_s)


@dataclass(frozen=True, slots=True)
class Discovery:
    """One simulated onset, seconds from it: the looks at the place, whether each saw the smoke, and the confirmation
    (inf when it never came)."""

    looks: tuple[tuple[float, bool], ...]
    confirmed_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One camera at one preset: seconds from the first visible smoke to the alert at the server."""

    camera: str
    preset: str | None
    cycle_s: float
    p95_s: float
    worst_s: float
    overhead_s: float
    worst: Discovery
    """Of the worst case, without the overhead."""
    plan: CameraPlan

    @property
    def kept(self) -> bool:
        """Within a minute, in the worst case and by chance."""
        return max(self.worst_s, self.p95_s) <= LIMIT_S


def discover(rhythm: Rhythm, confirm: ConfirmParams, phase_s: float, seen: Seen) -> Discovery:
    """Smoke becomes visible `phase_s` after a cycle's first look; `seen` is asked at each look from then on."""
    confirmer = Confirmer(confirm)
    look = arrived = 0.0
    looks: list[tuple[float, bool]] = []
    while look < phase_s + GIVE_UP_S:
        at = _START + timedelta(seconds=look)
        hits = [replace(hit, at=at) for hit in seen(look - phase_s)] if look > phase_s else []
        found = confirmer.step(at, hits)
        if look > phase_s:
            looks.append((look - phase_s, bool(hits)))
        if found:
            return Discovery(tuple(looks), look - phase_s)
        look, arrived = rhythm.after(look, arrived, confirmer.suspicious)
    return Discovery(tuple(looks), math.inf)


@lru_cache(maxsize=64)
def compute(plan: CameraPlan, cameras: int, allow: Allowances) -> list[Outcome]:
    """Each preset's figures; `cameras` share the one model that looks."""
    rhythm = plan.rhythm()
    overhead = _overhead_s(cameras, allow)
    worst = _worst(rhythm, plan.confirm, allow)
    p95 = _p95(rhythm, plan.confirm, allow)
    return [
        Outcome(
            plan.camera, preset, rhythm.cycle_s, p95 + overhead, worst.confirmed_s + overhead, overhead, worst, plan
        )
        for preset in plan.presets
    ]


def mends(plan: CameraPlan, cameras: int, allow: Allowances) -> list[str]:
    """The nearest plans that keep the minute, one sentence each; empty when none of its kind does."""

    def kept(changed: CameraPlan) -> bool:
        left = LIMIT_S - _overhead_s(cameras, allow)
        rhythm = changed.rhythm()
        return _worst(rhythm, plan.confirm, allow).confirmed_s <= left and _p95(rhythm, plan.confirm, allow) <= left

    found = []
    shorter = _largest(plan.interval_s, lambda value: kept(replace(plan, interval_s=value)))
    if shorter is not None:
        found.append(f"interval_s: {shorter:g} instead of {plan.interval_s:g}")
    if plan.burst_s > QUICK_S:
        burst = f"burst_interval_s: {QUICK_S:g} instead of {plan.burst_s:g}"
        quick = replace(plan, burst_s=QUICK_S)
        both = _largest(plan.interval_s + 0.5, lambda value: kept(replace(quick, interval_s=value)))
        if both is not None:
            found.append(burst if both == plan.interval_s else f"{burst} with interval_s: {both:g}")
    patrol = plan.patrol
    if patrol is not None:
        dwell = _largest(patrol.dwell_s, lambda value: kept(replace(plan, patrol=replace(patrol, dwell_s=value))))
        if dwell is not None:
            found.append(f"dwell_s: {dwell:g} instead of {patrol.dwell_s:g}")
        found += _fewer_presets(plan, patrol, kept)
    return found


def _fewer_presets(plan: CameraPlan, patrol: Patrol, kept: Callable[[CameraPlan], bool]) -> list[str]:
    """The most presets with a shorter dwell, and the most with the dwell as it is."""
    found: list[str] = []
    for number in range(len(patrol.presets) - 1, 0, -1):
        fewer = replace(patrol, presets=patrol.presets[:number])
        left = len(patrol.presets) - number
        others = f"and fixed cameras for the other {left}"
        if kept(replace(plan, patrol=fewer)):
            return [*found, f"{number} presets instead of {len(patrol.presets)}, {others}"]

        def quicker(dwell_s: float, fewer: Patrol = fewer) -> bool:
            return kept(replace(plan, patrol=replace(fewer, dwell_s=dwell_s)))

        dwell = None if found else _largest(patrol.dwell_s, quicker)
        if dwell is not None:
            found.append(f"{number} presets instead of {len(patrol.presets)} with dwell_s: {dwell:g}, {others}")
    return found


def _overhead_s(cameras: int, allow: Allowances) -> float:
    """From a look's moment to the server's commit; at worst all the other cameras are looked at first."""
    return allow.capture_s + cameras * allow.look_s + allow.delivery_s


def _largest(given: float, good: Callable[[float], bool]) -> float | None:
    """The largest half second below `given` that is good."""
    steps = math.ceil(2 * given) - 1
    return next((step / 2 for step in range(steps, 0, -1) if good(step / 2)), None)


def _worst(rhythm: Rhythm, confirm: ConfirmParams, allow: Allowances) -> Discovery:
    """Just missed by a look, and then by `misses` more in a row at the worst place."""
    cases = []
    for phase in _just_after_looks(rhythm):
        for first in range(_LATEST_MISS if allow.misses else 1):
            missed = range(first, first + allow.misses)
            cases.append(discover(rhythm, confirm, phase, _plume(allow.confidence, missed)))
    return max(cases, key=lambda each: each.confirmed_s)


def _p95(rhythm: Rhythm, confirm: ConfirmParams, allow: Allowances) -> float:
    rng = random.Random(1530)  # noqa: S311 - the same figures each time, nothing to keep secret
    times = sorted(
        discover(rhythm, confirm, rhythm.cycle_s * (number + 0.5) / ONSETS, _by_chance(rng, allow)).confirmed_s
        for number in range(ONSETS)
    )
    return times[math.ceil(0.95 * ONSETS) - 1]


def _just_after_looks(rhythm: Rhythm) -> list[float]:
    """The looks of one cycle: an onset at a look's own moment is seen only by the next."""
    if rhythm.away_s == 0:
        return [0.0]
    return [number * rhythm.interval_s for number in range(max(1, math.ceil(rhythm.dwell_s / rhythm.interval_s)))]


def _plume(confidence: float, missed: range) -> Seen:
    numbers = itertools.count()
    return lambda _: () if next(numbers) in missed else (Hit(_START, _BOX, confidence),)


def _by_chance(rng: random.Random, allow: Allowances) -> Seen:
    return lambda _: (Hit(_START, _BOX, allow.confidence),) if rng.random() < allow.recall else ()
