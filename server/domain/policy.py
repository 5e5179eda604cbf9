# SPDX-License-Identifier: AGPL-3.0-or-later
"""A county's policy: the three limits, what stops the response clock, and the ladder.

An incident keeps the policy it began under, whatever the county decides afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from server.domain.errors import Invalid
from server.domain.lifecycle import Event

# rung -> (level of the division, post held there): who "owner" or "county" is, is the dispatcher's to find.
RUNGS: Mapping[str, tuple[str, str]] = {
    "owner": ("village", "owner"),
    "deputy": ("village", "deputy"),
    "township": ("township", "leader"),
    "county": ("county", "duty"),
    "city": ("city", "duty"),
}
# What ends the wait of a step: the events that make its call pointless.
STOPS: Mapping[str, frozenset[Event]] = {
    "accept": frozenset({Event.ACCEPT}),
    "arrive": frozenset({Event.ARRIVE, Event.REPORT_FALSE}),
    "report": frozenset({Event.REPORT_DONE, Event.REPORT_FALSE}),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of the ladder: at T2 + ``after_s``, unless ``until`` has come, ``rungs`` are told."""

    key: str
    after_s: int
    until: str
    event: str  # remind, escalate or breach
    rungs: tuple[str, ...]

    def due(self, t2: datetime) -> datetime:
        """The moment at which this step is due. It fires only when that moment has *passed*."""
        return t2 + timedelta(seconds=self.after_s)


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits in seconds; ``respond_stop`` is "accept" (T4) or "arrive" (T6)."""

    discover_limit_s: int = 60
    respond_limit_s: int = 300
    dispose_limit_s: int = 1800
    respond_stop: str = "accept"
    undo_s: int = 60
    # What is believed of an edge clock that nobody has measured.
    assumed_clock_error_s: float = 2.0
    ladder: tuple[Step, ...] = (
        Step("respond.remind", 120, "accept", "remind", ("owner", "deputy")),
        Step("respond.limit", 300, "accept", "breach", ("township",)),
        Step("respond.county", 600, "accept", "escalate", ("county",)),
        Step("dispose.warn", 1200, "report", "remind", ("owner", "township")),
        Step("dispose.limit", 1800, "report", "breach", ("township", "county")),
        Step("dispose.city", 3600, "report", "escalate", ("city",)),
    )

    def to_json(self) -> dict[str, Any]:
        """Plain data, as stored with its version."""
        return asdict(self)


def parse_policy(data: Mapping[str, Any]) -> Policy:
    """Read a policy from plain data. Raises Invalid naming the first thing that contradicts itself."""
    try:
        steps = tuple(Step(**{**step, "rungs": tuple(step["rungs"])}) for step in data.get("ladder", ()))
        known = {key: value for key, value in data.items() if key != "ladder"}
        policy = Policy(**known, ladder=steps) if "ladder" in data else Policy(**known)
    except (TypeError, KeyError) as error:
        raise Invalid(f"policy: {error}") from None
    _check(policy)
    return policy


def _check(policy: Policy) -> None:
    if policy.respond_stop not in ("accept", "arrive"):
        raise Invalid(f"policy: respond_stop is 'accept' or 'arrive', not {policy.respond_stop!r}")
    limits = (policy.discover_limit_s, policy.respond_limit_s, policy.dispose_limit_s)
    if min(limits) <= 0 or policy.dispose_limit_s < policy.respond_limit_s:
        raise Invalid(f"policy: limits {limits} must be positive and dispose not shorter than respond")
    _check_ladder(policy.ladder)


def _check_ladder(ladder: Sequence[Step]) -> None:
    seen: set[str] = set()
    for number, step in enumerate(ladder, start=1):
        where = f"policy: ladder step {number} ({step.key})"
        if step.key in seen:
            raise Invalid(f"{where}: the key is used twice")
        seen.add(step.key)
        if step.after_s <= 0:
            raise Invalid(f"{where}: after_s must be positive, not {step.after_s}")
        if step.until not in STOPS:
            raise Invalid(f"{where}: until is one of {sorted(STOPS)}, not {step.until!r}")
        if step.event not in ("remind", "escalate", "breach"):
            raise Invalid(f"{where}: event is remind, escalate or breach, not {step.event!r}")
        if not step.rungs or not set(step.rungs) <= set(RUNGS):
            raise Invalid(f"{where}: rungs are among {sorted(RUNGS)}, not {list(step.rungs)}")
