# SPDX-License-Identifier: AGPL-3.0-or-later
"""Policies by county, kept in versions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.domain.errors import Missing
from server.domain.policy import Policy, parse_policy
from server.models import PolicyVersion


def current(session: Session, county_code: str) -> PolicyVersion:
    """The policy a new incident in this county begins under: the county's newest, else the city's default."""
    row = session.scalars(
        select(PolicyVersion)
        .where((PolicyVersion.county_code == county_code) | PolicyVersion.county_code.is_(None))
        .order_by(PolicyVersion.county_code.is_(None), PolicyVersion.version.desc())
        .limit(1)
    ).first()
    if row is None:
        raise Missing("there is no policy: run `straw1530 admin init` first")
    return row


def publish(session: Session, county_code: str | None, policy: Policy, now: datetime) -> PolicyVersion:
    """Add the next version. Incidents already open keep theirs. Raises Invalid for a contradictory policy."""
    parse_policy(policy.to_json())
    same = PolicyVersion.county_code.is_(None) if county_code is None else PolicyVersion.county_code == county_code
    last = session.scalar(select(func.max(PolicyVersion.version)).where(same)) or 0
    row = PolicyVersion(county_code=county_code, version=last + 1, body=policy.to_json(), created_at=now)
    session.add(row)
    session.flush()
    return row
