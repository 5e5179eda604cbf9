# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 admin policy``: a county's limits and ladder, checked and published in versions."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db import Database
from server.domain.errors import Invalid, Missing
from server.domain.policy import BadPolicy, Policy, parse_policy
from server.models import Division, PolicyVersion
from server.services import policies


def read_policy(path: Path) -> Policy:
    """Read a policy file (YAML). Raises Invalid with the file, the line and what is wrong there."""
    try:
        content = path.read_text(encoding="utf-8")
        tree = yaml.compose(content, Loader=yaml.SafeLoader)
        data = yaml.safe_load(content)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise Invalid(f"{path}{f', line {mark.line + 1}' if mark else ''}: {problem}") from None
    if not isinstance(data, dict):
        raise Invalid(f"{path}: a policy is a list of fields and their values")
    if double := _doubled(tree):
        raise Invalid(f"{path}, line {double.start_mark.line + 1}: {double.value!r} is given twice")
    try:
        return parse_policy(data)
    except BadPolicy as error:
        raise Invalid(f"{path}, line {_line_of(tree, error.path)}: {error}") from None


def _doubled(node: Any) -> Any:
    """The first key that stands twice in one mapping (YAML would silently take the last); None when there is none."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                return key
            seen.add(key.value)
            if found := _doubled(value):
                return found
    if isinstance(node, yaml.SequenceNode):
        return next((found for child in node.value if (found := _doubled(child))), None)
    return None


def _line_of(node: Any, path: tuple[str | int, ...]) -> int:
    """The line of the field a path leads to, or of the last part of it that is there."""
    line = node.start_mark.line
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return int(line) + 1


def check(args: argparse.Namespace, _database: Database) -> int:
    """Check a policy file and change nothing."""
    policy = read_policy(args.file)
    print(f"a sound policy: {_words(policy)}; nothing was changed")
    return 0


def publish(args: argparse.Namespace, database: Database) -> int:
    """Publish the next version for a county, or the city's default. Incidents already open keep theirs."""
    policy = read_policy(args.file)
    with database.write() as session:
        _check_county(session, args.county)
        row = policies.publish(session, args.county, policy, datetime.now(UTC))
        print(f"version {row.version} for {args.county or 'the city'}: {_words(policy)}")
    return 0


def show(args: argparse.Namespace, database: Database) -> int:
    """Print the policy a new incident would begin under, as a file to edit; --history lists the versions."""
    with database.read() as session:
        _check_county(session, args.county)
        if args.history:
            same = PolicyVersion.county_code.is_(None) | (PolicyVersion.county_code == args.county)
            for row in session.scalars(select(PolicyVersion).where(same).order_by(PolicyVersion.id)):
                whose = row.county_code or "the city"
                print(f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC  {whose}, version {row.version}: ", end="")
                print(_words(parse_policy(row.body)))
            return 0
        body = policies.current(session, args.county or "").body
        print(yaml.safe_dump(body, sort_keys=False, allow_unicode=True), end="")
    return 0


def _check_county(session: Session, code: str | None) -> None:
    if code is None:
        return
    division = session.get(Division, code)
    if division is None or division.level != "county":
        raise Missing(f"there is no county {code!r}")


def _words(policy: Policy) -> str:
    return (
        f"discover {policy.discover_limit_s} s, respond {policy.respond_limit_s} s (until {policy.respond_stop}), "
        f"dispose {policy.dispose_limit_s} s, {len(policy.ladder)} steps"
    )


def add_commands(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``check``, ``publish`` and ``show`` to the parser of ``admin policy``."""
    for run in (check, publish, show):
        command = group.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        if run is not show:
            command.add_argument("file", type=Path, help="YAML, as `admin policy show` prints it")
        if run is not check:
            command.add_argument("--county", help="the county's code; without it the city's default")
        if run is show:
            command.add_argument("--history", action="store_true", help="list the versions instead")
