# SPDX-License-Identifier: AGPL-3.0-or-later
"""Channels to people: one method and three outcomes. A library's exceptions stop inside its channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

# A send must end well within a notice's lease, or another dispatcher would send the notice too.
SEND_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notice ready to go: its id (the idempotency key), to whom, and the payload of docs/wire.md."""

    id: str
    login: str
    phone: str | None
    language: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """The channel took it. ``ref`` is the provider's own name for it."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Not now; nothing is wrong with the notice."""

    reason: str


@dataclass(frozen=True, slots=True)
class Never:
    """This notice cannot go this way, however often it is tried."""

    reason: str


Outcome = Sent | TryAgain | Never


@runtime_checkable
class InBulk(Protocol):
    """What a channel adds that hands many notices over at once as fast as one."""

    def send_all(self, notices: Sequence[Outgoing]) -> list[Outcome]:
        """As ``send``, the outcomes in the same order."""


class Channel(Protocol):
    """A way to a person. ``send`` is called from several threads and returns within ``SEND_LIMIT_S``."""

    @property
    def name(self) -> str:
        """As stored with the notice."""

    @property
    def parallel(self) -> int:
        """How many sends may run at once."""

    def ready(self) -> bool:
        """Whether it can be asked at all now. While it cannot, its notices wait and lose no attempt."""

    def send(self, notice: Outgoing) -> Outcome:
        """Hand one notice over. Never raises."""

    def close(self) -> None:
        """Let go of connections."""
