# SPDX-License-Identifier: AGPL-3.0-or-later
"""Appeals and excuses as the journal tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.domain.lifecycle import Event
from server.queries.detail import Line


@dataclass(frozen=True, slots=True)
class Appeal:
    """A worker's appeal and the supervisor's decision; None while it is open."""

    line: Line
    decision: Line | None

    @property
    def upheld(self) -> bool | None:
        """Whether it was upheld; None while it is open."""
        return None if self.decision is None else bool(self.decision.data["upheld"])


def appeals(journal: Sequence[Line]) -> list[Appeal]:
    """The appeals, oldest first."""
    lines = [line for line in journal if line.event is Event.APPEAL]
    decisions = {line.data["answers"]: line for line in lines if "upheld" in line.data}
    return [Appeal(line, decisions.get(line.seq)) for line in lines if "upheld" not in line.data]


def excuses(journal: Sequence[Line]) -> list[Line]:
    """The lines that excuse: a supervisor's excuse, or an appeal upheld."""
    return [
        line for line in journal if not line.undone and (line.event is Event.EXCUSE or line.data.get("upheld") is True)
    ]
