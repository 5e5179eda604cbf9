# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 admin broker``: who may use the broker, in the two files that mosquitto reads."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.brokerusers import SYSTEM_USERS, acl_file_text, set_password
from server.db import Database
from server.domain.errors import Invalid, Missing
from server.models import EdgeBox, Person


def rules(_args: argparse.Namespace, _database: Database) -> int:
    """Print the access rules: what mosquitto's `acl_file` holds. Write them anew after an upgrade."""
    print(acl_file_text(), end="")
    return 0


def password(args: argparse.Namespace, database: Database) -> int:
    """Make a broker password for a part of the system, an edge box or a person: into the password file, and printed."""
    with database.read() as session:
        if not _is_known(session, args.name):
            parts = " and ".join(SYSTEM_USERS)
            raise Missing(f"{args.name!r} is neither a part of the system ({parts}) nor an edge box nor a person here")
    made = secrets.token_urlsafe(24)
    try:
        set_password(args.file, args.name, made)
    except UnicodeDecodeError:
        raise Invalid(f"{args.file}: is no password file") from None
    print(made)
    return 0


def _is_known(session: Session, name: str) -> bool:
    if name in SYSTEM_USERS or session.get(EdgeBox, name) is not None:
        return True
    return session.scalar(select(Person.id).where(Person.login == name)) is not None


def add_commands(group: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands below ``admin broker``."""
    for name, run in (("rules", rules), ("password", password)):
        command = group.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
    command.add_argument("name", help="engine, dispatch, an edge box, or a person's login")
    command.add_argument("file", type=Path, help="the password file (mosquitto's `password_file`); made when it is new")
