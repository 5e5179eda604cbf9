# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates for edge boxes: signed here, offered with each status of a box that has not dealt with them, told piece by
piece, and what became of them is kept."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.domain.errors import Invalid, Missing, NotPermitted
from server.models import Camera, EdgeBox, EdgeUpdate, Person
from server.models.edge import UPDATE_KINDS

CONTEXT = b"straw1530 edge update v1\n"
PIECE = 128 * 1024
MOST_FILE = 64 * 1024 * 1024
RESULTS = ("trial", "kept", "refused", "rolled_back")


def folder(data_dir: Path) -> Path:
    """Where the files of updates lie under their SHA-256."""
    return data_dir / "updates"


def send(
    session: Session,
    edge: str,
    kind: str,
    files: Mapping[str, bytes],
    *,
    key: Ed25519PrivateKey,
    store: Path,
    sender: Person | None,
    now: datetime,
) -> EdgeUpdate:
    """Sign an update and leave it for the box, which is offered it with its next status; the caller commits.

    Raises Missing for an unknown box, NotPermitted for a sender who may not change it, Invalid for files that cannot
    be sent.
    """
    if session.get(EdgeBox, edge) is None:
        raise Missing(f"there is no edge box {edge!r}")
    if sender is not None:
        _require_right(session, sender, edge)
    if kind not in UPDATE_KINDS or not files:
        raise Invalid(f"an update is one of {', '.join(UPDATE_KINDS)}, and has files")
    for name, content in files.items():
        if not 0 < len(content) <= MOST_FILE:
            raise Invalid(f"{name} has {len(content):,} bytes; from 1 to {MOST_FILE:,} can be sent")
    newest = session.scalar(
        select(func.max(EdgeUpdate.version)).where(EdgeUpdate.edge_id == edge, EdgeUpdate.kind == kind)
    )
    listed = [{"name": name, "bytes": len(data), "sha256": _store(store, data)} for name, data in files.items()]
    body = json.dumps({"edge": edge, "kind": kind, "version": (newest or 0) + 1, "files": listed}, ensure_ascii=False)
    update = EdgeUpdate(
        edge_id=edge,
        kind=kind,
        version=(newest or 0) + 1,
        body=body,
        signature=base64.b64encode(key.sign(CONTEXT + body.encode())).decode(),
        person_id=sender.id if sender else None,
        created_at=now,
    )
    session.add(update)
    session.flush()
    return update


def reconcile(session: Session, edge: str, told: Mapping[str, Any], now: datetime) -> list[bytes]:
    """What a box's status tells of its versions is kept; returns the offers that are due to it. The caller commits."""
    offers = []
    for kind in UPDATE_KINDS:
        newest = session.scalar(
            select(EdgeUpdate)
            .where(EdgeUpdate.edge_id == edge, EdgeUpdate.kind == kind)
            .order_by(EdgeUpdate.version.desc())
            .limit(1)
        )
        if newest is None or newest.result in {"kept", "refused", "rolled_back"}:
            continue
        line = told.get(kind)
        line = line if isinstance(line, dict) else {}
        if line.get("pushed") == newest.version and line.get("result") in RESULTS:
            newest.result, newest.reason, newest.reported_at = line["result"], _text(line.get("reason")), now
        elif newest.result is None and told:
            offers.append(_offer(newest))
    return offers


def piece(session: Session, edge: str, sha256: str, offset: int, store: Path) -> bytes:
    """A piece of a file that was signed for this box. Raises Missing for any other, and when it is gone."""
    bodies = session.scalars(select(EdgeUpdate.body).where(EdgeUpdate.edge_id == edge))
    if not any(file["sha256"] == sha256 for body in bodies for file in json.loads(body)["files"]):
        raise Missing(f"no update of edge box {edge!r} has a file {sha256[:12]}…")
    try:
        with (store / sha256).open("rb") as file:
            file.seek(offset)
            return file.read(PIECE)
    except FileNotFoundError:
        raise Missing(f"the file {sha256[:12]}… of an update is gone from {store}: send the update again") from None


def _offer(update: EdgeUpdate) -> bytes:
    return json.dumps({"v": 1, "body": update.body, "signature": update.signature}, ensure_ascii=False).encode()


def _require_right(session: Session, sender: Person, edge: str) -> None:
    """An administrator whose area holds the counties of all the box's cameras."""
    if sender.role != "admin" or not sender.active:
        raise NotPermitted(f"{sender.login} is no administrator")
    counties = session.scalars(select(Camera.county_code).where(Camera.edge_id == edge).distinct()).all()
    beyond = sorted(code for code in counties if not code.startswith(sender.area.prefix))
    if beyond:
        raise NotPermitted(f"edge box {edge} has a camera in {beyond[0]}, which is not in the area of {sender.login}")


def _store(store: Path, content: bytes) -> str:
    """Write a file under its digest, whole or not at all."""
    digest = hashlib.sha256(content).hexdigest()
    store.mkdir(parents=True, exist_ok=True)
    path = store / digest
    if not path.exists():
        temporary = store / f"{digest}.{os.getpid()}.new"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    return digest


def _text(value: object) -> str | None:
    return value[:2000] if isinstance(value, str) else None
