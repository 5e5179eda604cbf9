# SPDX-License-Identifier: AGPL-3.0-or-later
"""A county's policy: the three limits, what stops the response clock, and the ladder.

An incident keeps the policy it began under, whatever the county decides afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from server.domain.errors import Invalid
from server.domain.lifecycle import Event

# rung -> (level of the division, post held there): who "owner" or "county" is, is the dispatcher's to find. A village
# that is not divided is its own grid.
RUNGS: Mapping[str, tuple[str, str]] = {
    "owner": ("grid", "owner"),
    "deputy": ("grid", "deputy"),
    "township": ("township", "leader"),
    "county": ("county", "duty"),
    "city": ("city", "duty"),
}
# The posts of the departments that work along (生态环境, 农业农村, 消防, 综合执法), held in a county or the city.
# Their rung stands beside the others: nobody waits for a department to answer, and none stands in for an empty post.
DEPARTMENTS = ("ecology", "agriculture", "fire", "enforcement")
BESIDE = "departments"
# What a ladder may name.
CALLED = (*RUNGS, BESIDE)
# What ends the wait of a step: the events that make its call pointless.
STOPS: Mapping[str, frozenset[Event]] = {
    "accept": frozenset({Event.ACCEPT}),
    "arrive": frozenset({Event.ARRIVE, Event.REPORT_DONE, Event.REPORT_FALSE}),
    "report": frozenset({Event.REPORT_DONE, Event.REPORT_FALSE}),
    "verify": frozenset({Event.VERIFY, Event.REJECT}),
    "close": frozenset({Event.CLOSE, Event.REJECT}),
}
# These wait for the supervisor, so they count from the report (T7); the others from the alert (T2) or the hand-over.
AFTER_REPORT = frozenset({"verify", "close"})
_LONGEST_S = 366 * 86_400
# The first call-out's cause: a step of that name would be taken for it.
_FIRST_CALL = "dispatch"
_KEY_LENGTH = 28  # with "+" and a round, "@" and the number of a line it must fit into 40
_SHORTEST_ROUND_S = 60


class BadPolicy(Invalid):
    """A policy that contradicts itself. ``path`` leads to the fault: names of fields and numbers of ladder steps."""

    def __init__(self, path: tuple[str | int, ...], sentence: str) -> None:
        where = " ".join(f"step {part + 1}" if isinstance(part, int) else part for part in path)
        super().__init__(f"policy: {where}: {sentence}" if where else f"policy: {sentence}")
        self.path = path
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of the ladder: ``after_s`` after its start, unless ``until`` has come, ``rungs`` are told; and again
    every ``every_s`` from then on (0: once)."""

    key: str
    after_s: int
    until: str
    event: str  # remind, escalate or breach
    rungs: tuple[str, ...]
    every_s: int = 0

    def due(self, start: datetime, round_: int = 0) -> datetime:
        """The moment at which this step is due for the so-manieth time. It fires only when that moment has *passed*."""
        return start + timedelta(seconds=self.after_s + round_ * self.every_s)

    def following(self, round_: int, start: datetime, fired_at: datetime) -> int:
        """The round after one that fired: the first whose moment has not passed. Those missed are not made up for."""
        begun = -((self.due(start) - fired_at) // timedelta(seconds=self.every_s))
        return max(round_ + 1, begun)


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a deadline: its step, its round (0: the first), and the journal's line at which the wait for it began
    (0: the alert). Written ``step``, ``step+2``, ``step@17`` or ``step+2@17``."""

    step: str
    round: int = 0
    line: int = 0

    def __str__(self) -> str:
        return self.step + (f"+{self.round}" if self.round else "") + (f"@{self.line}" if self.line else "")

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read a key as it was written."""
        rest, _, line = text.partition("@")
        step, _, round_ = rest.partition("+")
        return cls(step, int(round_ or 0), int(line or 0))


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
    # Smoke at the place of an incident that ended so short a time ago is a fire that came back: linked to the first.
    relapse_s: int = 43_200
    ladder: tuple[Step, ...] = (
        Step("respond.remind", 120, "accept", "remind", ("owner", "deputy")),
        Step("respond.limit", 300, "accept", "breach", ("township",)),
        Step("respond.county", 600, "accept", "escalate", ("county",)),
        Step("dispose.warn", 1200, "report", "remind", ("owner", "township")),
        Step("dispose.limit", 1800, "report", "breach", ("township", "county")),
        Step("dispose.city", 3600, "report", "escalate", ("city",)),
        Step("dispose.again", 5400, "report", "remind", ("owner", "township"), 1800),
        Step("verify.remind", 1800, "verify", "remind", ("county",), 14_400),
        Step("verify.city", 14_400, "verify", "escalate", ("city",)),
        Step("close.remind", 86_400, "close", "remind", ("county",), 86_400),
    )

    def to_json(self) -> dict[str, Any]:
        """Plain data, as stored with its version."""
        return asdict(self)

    def step(self, key: str) -> Step:
        """The ladder's step by the key of its deadline.

        A step that the policy does not know (nobody can write one, but silence would be worse) tells the county.
        """
        name = Key.parse(key).step
        return next(
            (step for step in self.ladder if step.key == name), Step(name, 1, "report", "escalate", ("county",))
        )


def parse_policy(data: Mapping[str, Any]) -> Policy:
    """Read a policy from plain data. Raises BadPolicy naming the first thing that contradicts itself."""
    known = {field.name for field in fields(Policy)}
    for name in data:
        if name not in known:
            raise BadPolicy((str(name),), f"there is no such field; known are {', '.join(sorted(known))}")
    values = {key: value for key, value in data.items() if key != "ladder"}
    if "ladder" in data:
        values["ladder"] = _steps(data["ladder"])
    policy = Policy(**values)
    _check(policy)
    return policy


def _steps(ladder: Any) -> tuple[Step, ...]:
    if not isinstance(ladder, Sequence) or isinstance(ladder, str) or not ladder:
        raise BadPolicy(("ladder",), "is a list of at least one step")
    wanted = [field.name for field in fields(Step)]
    steps = []
    for number, step in enumerate(ladder):
        if not isinstance(step, Mapping) or sorted({*step, "every_s"}) != sorted(wanted):
            raise BadPolicy(("ladder", number), f"has exactly {', '.join(wanted)} (every_s may be left out)")
        if not isinstance(step["rungs"], Sequence) or isinstance(step["rungs"], str):
            raise BadPolicy(("ladder", number, "rungs"), "is a list")
        steps.append(Step(**{**step, "rungs": tuple(step["rungs"])}))
    return tuple(steps)


def _whole(path: tuple[str | int, ...], value: Any, lowest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= _LONGEST_S:
        raise BadPolicy(path, f"is a whole number of seconds from {lowest} to {_LONGEST_S}, not {value!r}")


def _check(policy: Policy) -> None:
    for name in ("discover_limit_s", "respond_limit_s", "dispose_limit_s"):
        _whole((name,), getattr(policy, name), 1)
    for name in ("undo_s", "relapse_s"):
        _whole((name,), getattr(policy, name), 0)
    error = policy.assumed_clock_error_s
    if not isinstance(error, int | float) or isinstance(error, bool) or not 0 <= error <= 3600:
        raise BadPolicy(("assumed_clock_error_s",), f"is a number of seconds from 0 to 3600, not {error!r}")
    if policy.respond_stop not in ("accept", "arrive"):
        raise BadPolicy(("respond_stop",), f"is 'accept' or 'arrive', not {policy.respond_stop!r}")
    if policy.dispose_limit_s < policy.respond_limit_s:
        raise BadPolicy(("dispose_limit_s",), f"is shorter than respond_limit_s ({policy.respond_limit_s})")
    if policy.undo_s >= policy.respond_limit_s:
        raise BadPolicy(
            ("undo_s",), "is not shorter than respond_limit_s: an acceptance could be undone when it is late"
        )
    _check_ladder(policy)


def _check_ladder(policy: Policy) -> None:
    seen: set[str] = set()
    for number, step in enumerate(policy.ladder):
        where: tuple[str | int, ...] = ("ladder", number)
        key = step.key
        if not (isinstance(key, str) and key.isprintable() and 0 < len(key) <= _KEY_LENGTH) or set("@+:") & set(key):
            raise BadPolicy(
                (*where, "key"), f"is a word of at most {_KEY_LENGTH} characters without '@', '+' and ':', not {key!r}"
            )
        if key == _FIRST_CALL:
            raise BadPolicy((*where, "key"), f"{key!r} is the name of the first call")
        if key in seen:
            raise BadPolicy((*where, "key"), f"{key!r} is used twice")
        seen.add(key)
        _check_step(where, step)
        _check_breach(where, step, policy)
    for until in sorted(AFTER_REPORT):
        if not any(step.until == until for step in policy.ladder):
            raise BadPolicy(("ladder",), f"has no step with until {until!r}: a report could lie there for ever")
    for until, limit in (policy.respond_stop, policy.respond_limit_s), ("report", policy.dispose_limit_s):
        if not any(step.event == "breach" and step.until == until for step in policy.ladder):
            raise BadPolicy(
                ("ladder",), f"has no breach with until {until!r} at {limit} s: that limit would pass in silence"
            )


def _check_step(where: tuple[str | int, ...], step: Step) -> None:
    _whole((*where, "after_s"), step.after_s, 1)
    if step.every_s != 0:
        _whole((*where, "every_s"), step.every_s, _SHORTEST_ROUND_S)
    if not isinstance(step.until, str) or step.until not in STOPS:
        raise BadPolicy((*where, "until"), f"is one of {', '.join(sorted(STOPS))}, not {step.until!r}")
    if step.event not in ("remind", "escalate", "breach"):
        raise BadPolicy((*where, "event"), f"is remind, escalate or breach, not {step.event!r}")
    rungs = [str(rung) for rung in step.rungs]
    if not rungs or len(set(rungs)) < len(rungs) or not set(rungs) <= set(CALLED):
        raise BadPolicy((*where, "rungs"), f"are among {', '.join(CALLED)}, each once, not {list(step.rungs)}")
    if rungs == [BESIDE]:
        raise BadPolicy((*where, "rungs"), f"{BESIDE!r} alone: somebody who answers for the place must be told, too")


def _check_breach(where: tuple[str | int, ...], step: Step, policy: Policy) -> None:
    """A breach says that a limit passed, so it stands at that limit and waits for what stops that clock."""
    if step.event != "breach":
        return
    if step.every_s:
        raise BadPolicy((*where, "every_s"), "a breach happens once: it cannot be repeated")
    if step.until == "report":
        limit, name = policy.dispose_limit_s, "dispose_limit_s"
    elif step.until == policy.respond_stop:
        limit, name = policy.respond_limit_s, "respond_limit_s"
    else:
        raise BadPolicy(
            (*where, "until"), f"{step.until!r} stops no clock here (respond_stop is {policy.respond_stop!r})"
        )
    if step.after_s != limit:
        raise BadPolicy((*where, "after_s"), f"a breach at {step.after_s} s contradicts {name} = {limit}")
