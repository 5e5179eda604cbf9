# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a provider and a number will bear, known before sending: so many texts a second in all, so many to one number a
day. What would be rejected is not sent; the next channel takes over at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from server.models import Notice

_DAY = timedelta(days=1)
_PLENTY = 1_000_000


class Budget:
    """One channel's. None: no bound. One text of a number's day is kept back for first calls."""

    def __init__(self, *, daily: int | None = None, per_s: float | None = None) -> None:
        self._daily = daily
        self._per_s = per_s
        self._tokens = max(1.0, per_s or 0.0)
        self._counted_at: datetime | None = None

    def allowance(self, now: datetime) -> int:
        """How many may be sent now: up to a second's worth gathers while nothing is sent."""
        if self._per_s is None:
            return _PLENTY
        if self._counted_at is not None:
            gained = max(0.0, (now - self._counted_at).total_seconds()) * self._per_s
            self._tokens = min(max(1.0, self._per_s), self._tokens + gained)
        self._counted_at = now
        return int(self._tokens)

    def spend(self, number: int) -> None:
        """So many are on their way."""
        self._tokens -= number

    @property
    def next_token_s(self) -> float:
        """Seconds until one more may be sent."""
        return 0.0 if self._per_s is None else max(0.0, 1.0 - self._tokens) / self._per_s

    def over_budget(self, session: Session, claimed: Collection[Notice], now: datetime) -> set[str]:
        """The ids of those notices that would exceed their number's day. First calls for one person share a text, and
        are one text of the day."""
        if self._daily is None or not claimed:
            return set()
        ids = [notice.id for notice in claimed]
        rows = session.execute(
            select(Notice.person_id, func.count(func.coalesce(Notice.provider_ref, Notice.id).distinct()))
            .where(
                Notice.person_id.in_({notice.person_id for notice in claimed}),
                Notice.channel == next(iter(claimed)).channel,
                or_(Notice.sent_at > now - _DAY, (Notice.state == "pending") & (Notice.attempts > 0)),
                Notice.id.not_in(ids),
            )
            .group_by(Notice.person_id)
        )
        used = Counter({person: number for person, number in rows})
        over, shared = set(), set()
        for notice in sorted(claimed, key=lambda notice: not _urgent(notice)):
            bound = self._daily if _urgent(notice) else max(1, self._daily - 1)
            if _urgent(notice) and notice.person_id in shared:
                continue
            if used[notice.person_id] >= bound:
                over.add(notice.id)
                continue
            used[notice.person_id] += 1
            if _urgent(notice):
                shared.add(notice.person_id)
        return over


def _urgent(notice: Notice) -> bool:
    return notice.callout is not None and notice.callout.kind == "dispatch"
