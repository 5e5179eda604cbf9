# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 admin``: set up the database, the region, people and cameras. Settings by STRAW1530_DATA and
STRAW1530_DATABASE, as for the server."""

from __future__ import annotations

import argparse
import getpass
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, inspect, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from werkzeug.security import generate_password_hash

from server.admin import brokers, cameras, days, edges, mounts, people, policy, region, region_picture, schema, verdicts
from server.admin.crs import TO_WGS84
from server.admin.tables import Refused
from server.db import Database, refusal
from server.domain.errors import DomainError, Invalid, Missing
from server.domain.policy import Policy
from server.models import Camera, Division, Duty, EdgeBox, Person, PolicyVersion
from server.queries import preflight
from server.services import policies, push
from server.settings import SettingsError, read_settings

_MIN_PASSWORD = 8
_Command = Callable[[argparse.Namespace, Database], int]


class _DryRun(Exception):
    """Ends a write transaction without writing."""


def init(_args: argparse.Namespace, database: Database) -> int:
    """Create or upgrade the tables, and the default policy when there is none."""
    schema.upgrade(database)
    with database.write() as session:
        if session.scalar(select(func.count()).select_from(PolicyVersion)) == 0:
            policies.publish(session, None, Policy(), datetime.now(UTC))
    print(f"the database is ready: {database.url.render_as_string()}")
    return 0


def region_import(args: argparse.Namespace, database: Database) -> int:
    """Import a region folder."""
    with database.read() as session:
        known = region.known_outlines(session)
    read = region.check_region(args.folder, known, crs=args.crs, layer_crs=dict(args.layer_crs), mend=args.mend)
    with database.write() as session:
        done = region.import_region(session, read)
        warnings = read.warnings + region.strangers(session, read)
    for warning in warnings:
        print(f"warning: {warning}")
    print(f"divisions: {done.added} added, {done.changed} changed, {done.unchanged} as they were")
    return 0


def region_check(args: argparse.Namespace, database: Database) -> int:
    """Check a region folder and change nothing; with a database set up, also against the region in it."""
    known = {}
    if inspect(database.engine).has_table(Division.__tablename__):
        with database.read() as session:
            known = region.known_outlines(session)
    read = region.survey(args.folder, known, crs=args.crs, layer_crs=dict(args.layer_crs), mend=args.mend)
    for warning in read.warnings:
        print(f"warning: {warning}")
    if args.picture:
        region_picture.draw(read, args.picture)
        print(f"{len(read.faults)} faults drawn in {args.picture}")
    if read.problems:
        raise Refused(read.problems)
    print(f"{len(read.rows)} divisions, {len(read.warnings)} warnings; nothing was changed")
    return 0


def people_import(args: argparse.Namespace, database: Database) -> int:
    """Import people and duties."""
    settings = read_settings()
    done, found = None, []
    try:
        with database.write() as session:
            done = people.import_people(session, args.file, settings.zone)
            now = datetime.now(UTC)
            found = preflight.gaps(session, now, zone=settings.zone, country=settings.country, ahead=timedelta(days=7))
            if args.dry_run:
                raise _DryRun
    except _DryRun:
        print("dry run, nothing was changed; it would be:")
    assert done is not None
    print(f"people: {done.people_added} added, {done.people_changed} changed")
    print(
        f"duties: {done.duties_added} added, {done.duties_ended} given another end; absences: {done.absences} written"
    )
    if found:
        print(
            f"then {len(found)} posts are empty or out of reach within 7 days: `straw1530 admin preflight` names them"
        )
    return 0


def camera_add(args: argparse.Namespace, database: Database) -> int:
    """Register or replace one camera."""
    names = cameras.CameraForm.model_fields
    form = cameras.parse_camera({name: getattr(args, name) for name in names if getattr(args, name) is not None})
    with database.write() as session:
        new = cameras.add_camera(session, form)
    print(f"camera {form.id} {'added' if new else 'replaced'}, at edge box {form.edge}")
    return 0


def camera_import(args: argparse.Namespace, database: Database) -> int:
    """Register the cameras of a file."""
    with database.write() as session:
        new, replaced = cameras.import_cameras(session, args.file)
    print(f"cameras: {new} added, {replaced} replaced")
    return 0


def password(args: argparse.Namespace, database: Database) -> int:
    """Set a person's password and sign them out everywhere."""
    with database.read() as session:
        _person(session, args.login)
    word = secrets.token_urlsafe(9) if args.generate else _ask()
    with database.write() as session:
        set_password(session, args.login, word)
    print(f"the password of {args.login} is now {word}" if args.generate else f"password of {args.login} set")
    return 0


def set_password(session: Session, login: str, word: str) -> None:
    """Set a password (scrypt) and sign the person out everywhere; the caller commits. Raises Missing or Invalid."""
    person = _person(session, login)
    if len(word) < _MIN_PASSWORD:
        raise Invalid(f"the password is shorter than {_MIN_PASSWORD} characters")
    person.password_hash = generate_password_hash(word)
    person.session_epoch += 1


def _person(session: Session, login: str) -> Person:
    person = session.scalar(select(Person).where(Person.login == login))
    if person is None:
        raise Missing(f"there is no person with the login {login!r}")
    return person


def _ask() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("new password: ")
    return sys.stdin.readline().rstrip("\r\n")


def push_key(_args: argparse.Namespace, _database: Database) -> int:
    """Make a key for web push: the value of STRAW1530_PUSH_KEY for the web process and the dispatcher."""
    print(push.new_key())
    return 0


def run_preflight(args: argparse.Namespace, database: Database) -> int:
    """List who could not be called, now or in the days to come; 1 when there is anybody."""
    settings = read_settings()
    with database.read() as session:
        now = datetime.now(UTC)
        known = preflight.known_channels(session)
        channels = {name: known.get(name) for name in args.channels.split(",")} if args.channels else known
        found = preflight.gaps(
            session,
            now,
            zone=settings.zone,
            country=settings.country,
            ahead=timedelta(days=args.days),
            channels=channels,
            prefix=args.area,
        )
    if args.json:
        lines = [{name: getattr(gap, name) for name in ("division", "name", "post", "text")} for gap in found]
        args.json.write_text(json.dumps({"at": now.isoformat(), "gaps": lines}, ensure_ascii=False, indent=1))
    for gap in found[: args.limit]:
        print(gap)
    if len(found) > args.limit:
        print(f"… and {len(found) - args.limit} more")
    print(f"{len(found)} gaps" if found else "every post is held by somebody who can be reached")
    return 1 if found else 0


def show(_args: argparse.Namespace, database: Database) -> int:
    """Say what is set up."""
    with database.read() as session:
        for level, number in session.execute(select(Division.level, func.count()).group_by(Division.level)):
            print(f"{level}: {number}")
        if session.scalar(select(func.count()).where(Division.synthetic)):
            print("SYNTHETIC borders are loaded: never dispatch a real fire by them")
        print(f"people: {session.scalar(select(func.count(Person.id)))}, duties: ", end="")
        print(session.scalar(select(func.count(Duty.id))))
        for edge in session.scalars(select(EdgeBox).order_by(EdgeBox.id)):
            print(f"edge box {edge.id}: {'online' if edge.online else 'offline'}")
        for camera in session.scalars(select(Camera).order_by(Camera.id)):
            print(f"camera {camera.id} ({camera.name}) at {camera.lat}, {camera.lon}, edge box {camera.edge_id}")
    return 0


def export_verdicts(args: argparse.Namespace, database: Database) -> int:
    """Write decided sightings and their pictures to a folder that `straw1530 train from-review` learns from."""
    with database.read() as session:
        counts = verdicts.export(session, read_settings().evidence_dir, args.folder)
    print(", ".join(f"{counts[name]} {name}" for name in ("real", "false", "without picture")) + f": {args.folder}")
    return 0


def people_export(args: argparse.Namespace, database: Database) -> int:
    """Write all active people, duties and absences to a file (.csv or .xlsx) that `people import` reads."""
    with database.read() as session:
        number = people.export_people(session, args.file, read_settings().zone)
    print(f"{number} lines written to {args.file}")
    return 0


def _layer_crs(text: str) -> tuple[str, str]:
    name, _, crs = text.partition("=")
    if crs not in TO_WGS84:
        raise argparse.ArgumentTypeError(f"write FILE=CRS, CRS one of {', '.join(sorted(TO_WGS84))}, not {text!r}")
    return name, crs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="straw1530 admin", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        group: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: _Command
    ) -> argparse.ArgumentParser:
        command = group.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    add(commands, "init", init)
    regions = commands.add_parser("region", help="The region's divisions.").add_subparsers(required=True)
    for name, run in (("import", region_import), ("check", region_check)):
        command = add(regions, name, run)
        command.add_argument(
            "folder", type=Path, help="holds divisions.csv and layers: GeoJSON or Shapefile, also zipped"
        )
        command.add_argument("--crs", choices=sorted(TO_WGS84), default="wgs84", help="the layers' coordinate system")
        command.add_argument(
            "--layer-crs",
            type=_layer_crs,
            action="append",
            default=[],
            metavar="FILE=CRS",
            help="the coordinate system of one layer; may be given again",
        )
        command.add_argument("--mend", action="store_true", help="repair broken outlines instead of refusing them")
        if run is region_check:
            command.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw what is wrong")
    group = commands.add_parser("people", help="People and duties.").add_subparsers(required=True)
    add(group, "export", people_export).add_argument("file", type=Path)
    command = add(group, "import", people_import)
    command.add_argument(
        "file", type=Path, help="CSV or Excel: login, name, phone, language, role, area, post, division, …"
    )
    command.add_argument("--dry-run", action="store_true", help="check every line and change nothing")
    group = commands.add_parser("camera", help="Cameras and their edge boxes.").add_subparsers(required=True)
    add(group, "import", camera_import).add_argument("file", type=Path, help="YAML or CSV")
    command = add(group, "add", camera_add)
    for name, info in cameras.CameraForm.model_fields.items():
        command.add_argument(f"--{name.replace('_', '-')}", required=info.is_required())
    edges.add_commands(
        commands.add_parser("edge", help="Updates for edge boxes: settings, masks, models.").add_subparsers(
            required=True
        )
    )
    mounts.add_commands(
        group, commands.add_parser("terrain", help="Elevation tiles to place fires on.").add_subparsers(required=True)
    )
    brokers.add_commands(
        commands.add_parser("broker", help="Who may use the broker.").add_subparsers(required=True, metavar="COMMAND")
    )
    policy.add_commands(
        commands.add_parser("policy", help="A county's limits and ladder.").add_subparsers(required=True)
    )
    days.add_commands(
        commands.add_parser("calendar", help="Holidays and make-up workdays.").add_subparsers(required=True)
    )
    command = add(commands, "password", password)
    command.add_argument("login")
    command.add_argument("--generate", action="store_true", help="make one and print it, instead of reading it")
    command = add(commands, "preflight", run_preflight)
    command.add_argument("--days", type=float, default=7, help="look so far ahead for holes in the roster (default 7)")
    command.add_argument("--channels", help="only these (default: those the dispatcher has, or mqtt,sms)")
    command.add_argument("--area", default="", help="only divisions whose code begins so")
    command.add_argument("--limit", type=int, default=50, help="print at most so many (default 50)")
    command.add_argument("--json", type=Path, metavar="FILE", help="also write them all to a file")
    add(commands, "verdicts", export_verdicts).add_argument("folder", type=Path, help="a new folder")
    add(commands, "push-key", push_key)
    add(commands, "list", show)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one set-up command; 1 when it was refused, 2 for a wrong call."""
    args = _parser().parse_args(argv)
    try:
        database = Database(read_settings().database_url)
        try:
            status: int = args.run(args, database)
            return status
        finally:
            database.dispose()
    except (DomainError, SettingsError) as error:
        print(f"straw1530 admin: {error}", file=sys.stderr)
    except OSError as error:
        print(f"straw1530 admin: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
    except DatabaseError as error:
        print(f"straw1530 admin: {refusal(error)}", file=sys.stderr)
    return 1
