# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures as evidence: bytes in a folder under their SHA-256, first on disk, then in the record."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from datetime import datetime
from pathlib import Path

from PIL import Image, UnidentifiedImageError
from sqlalchemy import select
from sqlalchemy.orm import Session

from server import wake
from server.domain.errors import Invalid, Missing
from server.domain.lifecycle import Event, State
from server.models import Incident, Onset, Person, Picture, Sighting
from server.services import journal

MAX_BYTES = 12 * 1024 * 1024
_MAX_PIXELS = 50_000_000


def file_of(folder: Path, sha256: str) -> Path:
    """Where the bytes with this digest lie."""
    return folder / sha256[:2] / f"{sha256}.jpg"


def check_jpeg(data: bytes) -> None:
    """Raise Invalid unless the bytes are one whole JPEG of sensible size."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"the picture has {len(data):,} bytes; at most {MAX_BYTES:,} are taken")
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format != "JPEG":
                raise Invalid(f"the picture is {image.format}, not JPEG")
            if image.width * image.height > _MAX_PIXELS:
                raise Invalid(f"the picture is too large: {image.width}×{image.height}")
            image.load()  # a torn file fails here
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise Invalid(f"the picture is damaged: {error}") from None


def keep(folder: Path, data: bytes) -> str:
    """Write the bytes so that they survive a power cut, and return their SHA-256. The same bytes twice are one file."""
    sha256 = hashlib.sha256(data).hexdigest()
    target = file_of(folder, sha256)
    if target.exists() and target.stat().st_size == len(data):
        return sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder_handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder_handle)
    finally:
        os.close(folder_handle)
    return sha256


def add_edge_picture(session: Session, picture_id: str, edge: str, data: bytes, *, folder: Path, now: datetime) -> bool:
    """Keep a picture that a sighting (by its id) or an onset (by its id and ``.clean`` or ``.first``) announced; the
    caller commits. False when it was there already.

    Raises Missing when that edge box announced none by this name, Invalid when the bytes are not those announced.
    """
    sighting, kind, announced = _announced(session, picture_id, edge)
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != announced:
        raise Invalid(f"picture {picture_id}: another one was announced (digest differs)")
    check_jpeg(data)
    incident = session.get_one(Incident, sighting.incident_id, with_for_update={"of": Incident})
    if _is_kept(session, incident, sha256, kind):  # also when another sighting of this fire brought it
        return False
    keep(folder, data)
    session.add(
        Picture(
            incident_id=incident.id,
            sighting_id=sighting.id,
            kind=kind,
            sha256=sha256,
            bytes=len(data),
            stored_at=now,
        )
    )
    _journal(session, incident, "system:engine", sha256, kind, now)
    return True


def _announced(session: Session, picture_id: str, edge: str) -> tuple[Sighting, str, str | None]:
    """Whose picture it is, its kind and its digest."""
    owner, _, kind = picture_id.partition(".")
    sighting, digest = None, None
    if not kind:
        sighting = session.get(Sighting, owner)
        kind, digest = "sighting", sighting.picture_sha256 if sighting else None
    elif kind in ("clean", "first"):
        onset = session.get(Onset, owner)
        if onset is not None:
            sighting, digest = onset.sighting, onset.clean_sha256 if kind == "clean" else onset.first_sha256
    if sighting is None or sighting.camera.edge_id != edge:
        raise Missing(f"there is no sighting {picture_id!r} from {edge!r}")
    return sighting, kind, digest


def add_disposal_picture(
    session: Session, incident: Incident, person: Person, data: bytes, *, folder: Path, now: datetime
) -> str:
    """Keep a worker's photograph of the scene and return its digest; the caller holds the incident's lock and commits.
    Raises Invalid for what is not a JPEG."""
    check_jpeg(data)
    sha256 = keep(folder, data)
    if not _is_kept(session, incident, sha256, "disposal"):
        session.add(
            Picture(
                incident_id=incident.id,
                person_id=person.id,
                kind="disposal",
                sha256=sha256,
                bytes=len(data),
                stored_at=now,
            )
        )
        _journal(session, incident, f"person:{person.id}", sha256, "disposal", now)
        session.flush()
    return sha256


def _is_kept(session: Session, incident: Incident, sha256: str, kind: str) -> bool:
    same = (Picture.incident_id == incident.id, Picture.sha256 == sha256, Picture.kind == kind)
    return session.scalar(select(Picture.id).where(*same)) is not None


def _journal(session: Session, incident: Incident, actor: str, sha256: str, kind: str, now: datetime) -> None:
    journal.append(
        session,
        incident,
        Event.PICTURE,
        State(incident.state),
        actor=actor,
        now=now,
        data={"kind": kind, "sha256": sha256},
    )
    wake.request(session)
