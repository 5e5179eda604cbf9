# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 admin edge``: settings, masks and models for the edge boxes, signed and sent; what became of them."""

from __future__ import annotations

import argparse
import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from server.db import Database
from server.domain.errors import Invalid, Missing
from server.evidence import keys
from server.models import EdgeBox, EdgeUpdate, Person
from server.models.edge import UPDATE_KINDS
from server.services import updates
from server.settings import read_settings

PURPOSE = "edge-updates"


def key(_args: argparse.Namespace, _database: Database) -> int:
    """Print the public key that the boxes hold in their settings (updates.public_key)."""
    public = keys.load(read_settings().data_dir, PURPOSE).private.public_key()
    print(base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode())
    return 0


def push(args: argparse.Namespace, database: Database) -> int:
    """Sign a file and leave it for a box."""
    files = read_files(args.kind, args.edge, args.file)
    data_dir = read_settings().data_dir
    with database.write() as session:
        sender = None
        if args.sender is not None:
            sender = session.scalar(select(Person).where(Person.login == args.sender))
            if sender is None:
                raise Missing(f"there is no person with the login {args.sender!r}")
        update = updates.send(
            *(session, args.edge, args.kind, files),
            key=keys.load(data_dir, PURPOSE).private,
            store=updates.folder(data_dir),
            sender=sender,
            now=datetime.now(UTC),
        )
        version = update.version
    size = sum(map(len, files.values()))
    print(f"{args.kind} {version} for {args.edge}: {', '.join(files)}, {size:,} bytes, signed")
    print("the box is offered it with its next status; see `straw1530 admin edge list`")
    return 0


def show(args: argparse.Namespace, database: Database) -> int:
    """List the boxes and the newest update of each kind, with what became of it."""
    with database.read() as session:
        query = select(EdgeBox).order_by(EdgeBox.id)
        boxes = session.scalars(query.where(EdgeBox.id == args.edge) if args.edge else query).all()
        if args.edge and not boxes:
            raise Missing(f"there is no edge box {args.edge!r}")
        for box in boxes:
            status = box.status or {}
            print(f"{box.id}  {'online' if box.online else 'offline'}  {_using(status)}")
            if status.get("trouble"):
                print(f"  {status['trouble']}")
            sent: dict[str, EdgeUpdate] = {}
            for update in session.scalars(
                select(EdgeUpdate).where(EdgeUpdate.edge_id == box.id).order_by(EdgeUpdate.version)
            ):
                sent[update.kind] = update
            for kind, update in sent.items():
                became = f"{update.result or 'waiting'}{f': {update.reason}' if update.reason else ''}"
                print(f"  {kind} {update.version}  {update.created_at:%Y-%m-%d %H:%M}  {became}")
    return 0


def _using(status: dict[str, Any]) -> str:
    versions = status.get("versions") or {}
    return ", ".join(f"{kind} {line.get('using')}" for kind, line in versions.items()) or "tells no versions"


def read_files(kind: str, edge: str, path: Path) -> dict[str, bytes]:
    """What is sent for a file, checked as far as the server can. Raises Invalid, one sentence."""
    if kind != "model":
        content = _read(path)
        data = _yaml(path, content)
        if kind == "settings" and data.get("edge") != edge:
            raise Invalid(f"{path}: these are the settings of {data.get('edge')!r}, not of {edge!r}")
        return {path.name: content}
    files = {path.name: _read(path)}
    card = path.with_suffix(".yaml")
    files[card.name] = _read(card)
    if hashlib.sha256(files[path.name]).hexdigest() != _yaml(card, files[card.name]).get("sha256"):
        raise Invalid(f"{path} is not the model on its card {card.name}: copy both again")
    if path.suffix == ".xml":
        weights = path.with_suffix(".bin")
        files[weights.name] = _read(weights)
    return files


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from None


def _yaml(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise Invalid(f"{path} is a list of names and their values, and this is none")
    return data


def add_commands(commands: Any) -> None:
    """Add ``key``, ``push`` and ``list`` below ``straw1530 admin edge``."""
    for name, run in (("key", key), ("push", push), ("list", show)):
        text = (run.__doc__ or "").strip()
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if name == "push":
            command.add_argument("kind", choices=UPDATE_KINDS)
            command.add_argument("edge", help="the box")
            command.add_argument("file", type=Path, help="YAML; for a model its .onnx or .xml, the card beside it")
            command.add_argument(
                "--as",
                dest="sender",
                metavar="LOGIN",
                help="the administrator who sends it: their area must hold the box's cameras",
            )
        elif name == "list":
            command.add_argument("edge", nargs="?", help="only this box")
