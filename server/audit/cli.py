# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 audit``: look whether the clock does its work."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from server.audit.beat import age_s
from server.audit.checks import STEP_LATE_S, audit
from server.db import Database, DatabaseClock, refusal
from server.settings import SettingsError, read_settings


def main(argv: Sequence[str]) -> int:
    """0: all is well; 1: something is wrong, one line each; 2: it cannot be told."""
    parser = argparse.ArgumentParser(
        prog="straw1530 audit",
        description="A second look at the clock, straight at the tables: overdue steps, incidents without a next step, "
        "call-outs and notices that wait, lines under no checkpoint. Exit status 1 when something is wrong.",
    )
    parser.add_argument(
        "--late", type=float, default=STEP_LATE_S, help="seconds a step may be late (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    parser.add_argument("--beat", type=Path, help="look at this heartbeat file alone (on any machine)")
    parser.add_argument(
        "--max-age", type=float, default=30, help="seconds a heartbeat may be old (default %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.beat is not None:
        return _beat(args.beat, args.max_age)
    try:
        database = Database(read_settings().database_url)
        with database.read() as session:
            found = audit(session, DatabaseClock().now(session), step_late_s=args.late)
        database.dispose()
    except SettingsError as error:
        print(f"audit: {error}", file=sys.stderr)
        return 2
    except DBAPIError as error:
        print(f"audit: {refusal(error)}", file=sys.stderr)
        return 2
    if args.json:
        rows = [{"check": one.check, "count": one.count, "sentence": one.sentence} for one in found]
        print(json.dumps(rows, ensure_ascii=False))
    else:
        print("\n".join(one.sentence for one in found) or "all is well")
    return 1 if found else 0


def _beat(path: Path, max_age: float) -> int:
    try:
        age, findings = age_s(path, datetime.now(UTC))
    except (OSError, ValueError) as error:
        print(f"there is no heartbeat: {error}")
        return 1
    if age > max_age:
        print(f"the heart stopped beating {age:.0f} s ago")
        return 1
    if age < -max_age:
        print(f"the heartbeat is dated {-age:.0f} s ahead of this machine's clock: how old it is cannot be told")
        return 1
    print("\n".join(findings) or f"the heart beat {age:.0f} s ago and all is well")
    return 1 if findings else 0
