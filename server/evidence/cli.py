# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 evidence``: export, verify, erase, and check the whole record."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from server.db import Database, DatabaseClock, refusal
from server.domain.errors import DomainError, Missing
from server.evidence import bundle, log, verify, wholelog
from server.evidence.check import check
from server.evidence.keys import load
from server.evidence.notary import Notary
from server.services import incidents, journal
from server.settings import Settings, SettingsError, read_settings


def export(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    """Write one zip that proves an incident."""
    key = load(settings.data_dir)
    clock = DatabaseClock()
    Notary(database, clock, key, settings.data_dir / "checkpoints", lambda _topic, _content: None).step()
    with database.read() as session:
        files = bundle.export(session, args.incident, key, settings.evidence_dir, clock.now(session))
    path = args.output or Path(f"{args.incident.upper()}.zip")
    bundle.write(path, files)
    print(f"{path}: {len(files)} files; verify with the key {key.public_text().strip()}")
    return 0


def public_key(_args: argparse.Namespace, settings: Settings, _database: Database) -> int:
    """Print the server's public key, to be published where others keep it."""
    print(load(settings.data_dir).public_text(), end="")
    return 0


def checkpoint(_args: argparse.Namespace, settings: Settings, database: Database) -> int:
    """Take in what is new and print the newest signed checkpoint."""
    key = load(settings.data_dir)
    Notary(database, DatabaseClock(), key, settings.data_dir / "checkpoints", lambda _topic, _content: None).step()
    with database.read() as session:
        newest = log.latest(session)
    if newest is None:
        raise Missing("the journal is empty: there is nothing to sign")
    print(newest.note, end="")
    return 0


def growth(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    """Prove that the log only grew since a checkpoint that somebody kept."""
    key = verify.Key.parse(load(settings.data_dir).public_text())
    text = args.checkpoint.read_text(encoding="utf-8")
    old = verify.Note.parse(text, key)
    with database.read() as session:
        newest = log.latest(session)
        if newest is None or newest.size < old.size:
            raise Missing(f"the log is shorter than that checkpoint ({old.size} lines)")
        path = log.Tree(session).consistency(old.size, newest.size)
        proof = {"old": text, "new": newest.note, "path": [step.hex() for step in path]}
    print(json.dumps(proof, ensure_ascii=False))
    return 0


def check_all(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    """Check the whole record: every chain, every place in the log, every checkpoint, and those that others kept."""
    key = verify.Key.parse(load(settings.data_dir).public_text())
    with database.read() as session:
        faults = check(session, key, [path.read_text(encoding="utf-8") for path in args.checkpoint])
    print("\n".join(faults) or "the record is whole")
    return 1 if faults else 0


def export_log(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    """Write the whole log to a file, and its signed checkpoint beside it."""
    key = load(settings.data_dir)
    Notary(database, DatabaseClock(), key, settings.data_dir / "checkpoints", lambda _topic, _content: None).step()
    with database.read() as session, args.file.open("wb") as file:
        newest = log.latest(session)
        if newest is None:
            raise Missing("the journal is empty: there is nothing to write")
        wholelog.export_log(session, file, newest.size)
    beside = args.file.with_name(args.file.name + ".checkpoint")
    beside.write_text(newest.note, encoding="utf-8")
    print(f"{args.file}: {newest.size} lines; {beside}: their checkpoint")
    return 0


def verify_log(argv: Sequence[str]) -> int:
    """Verify a whole log: intact, or what is wrong. Needs no database and no settings."""
    parser = argparse.ArgumentParser(prog="straw1530 evidence verify-log", description=verify_log.__doc__)
    parser.add_argument("file", type=Path, help="as `evidence export-log` wrote it")
    parser.add_argument("--key", type=Path, required=True, help="the server's public key, from a source you trust")
    parser.add_argument(
        "--checkpoint", type=Path, action="append", default=[], help="checkpoints you kept, one or many in a file"
    )
    args = parser.parse_args(argv)
    try:
        key = verify.Key.parse(args.key.read_text(encoding="utf-8"))
        beside = args.file.with_name(args.file.name + ".checkpoint")
        texts = [path.read_text(encoding="utf-8") for path in [beside, *args.checkpoint]]
        notes = [verify.Note.parse(text, key) for kept in texts for text in wholelog.notes_of(kept)]
        size, faults = wholelog.verify_log(args.file, notes, progress=_progress)
    except (verify.Unreadable, OSError) as error:
        print(f"straw1530 evidence verify-log: {error}", file=sys.stderr)
        return 2
    print(file=sys.stderr)
    print("\n".join(faults) or f"INTACT: {size} lines, as {len(notes)} checkpoints by {key.name} say")
    return 1 if faults else 0


def _progress(size: int) -> None:
    print(f"\r{size:,} lines", end="", file=sys.stderr, flush=True)


def erase(args: argparse.Namespace, _settings: Settings, database: Database) -> int:
    """Erase a personal detail of a journal line for good, by law. The chain stays whole."""
    with database.write() as session:
        incident = incidents.lock(session, args.incident)
        journal.erase(session, incident, args.line, args.name, DatabaseClock().now(session))
    print(f"{args.name!r} of line {args.line} of incident {args.incident.upper()} is erased")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="straw1530 evidence", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    named = {"export": export, "erase": erase, "checkpoint": checkpoint, "growth": growth, "check": check_all}
    for name, run in {**named, "key": public_key, "export-log": export_log}.items():
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        if name in ("export", "erase"):
            command.add_argument("incident", help="the incident's short code")
        if name == "export":
            command.add_argument("-o", "--output", type=Path, help="default: CODE.zip here")
        if name == "export-log":
            command.add_argument("file", type=Path, help="written anew; FILE.checkpoint beside it")
        if name == "erase":
            command.add_argument("line", type=int, help="the number of the journal line")
            command.add_argument("name", help="note, lat, lon or reason")
        if name == "growth":
            command.add_argument("checkpoint", type=Path, help="the checkpoint that was kept")
        if name == "check":
            command.add_argument("--checkpoint", type=Path, action="append", default=[], help="one that others kept")
    commands.add_parser("verify", help="Verify a bundle: intact, or exactly what was changed.", add_help=False)
    commands.add_parser("verify-log", help=verify_log.__doc__, add_help=False)
    return parser


def main(argv: Sequence[str]) -> int:
    """0: done, or intact; 1: refused, or something was changed; 2: a wrong call."""
    if argv and argv[0] == "verify":
        return verify.main(argv[1:])
    if argv and argv[0] == "verify-log":
        return verify_log(argv[1:])
    args = _parser().parse_args(argv)
    try:
        settings = read_settings()
        database = Database(settings.database_url)
        try:
            status: int = args.run(args, settings, database)
            return status
        finally:
            database.dispose()
    except UnicodeDecodeError:
        print("straw1530 evidence: that file is no checkpoint: it is not text", file=sys.stderr)
    except (DomainError, SettingsError, verify.Unreadable, OSError) as error:
        print(f"straw1530 evidence: {error}", file=sys.stderr)
    except DBAPIError as error:
        print(f"straw1530 evidence: {refusal(error)}", file=sys.stderr)
    return 1
