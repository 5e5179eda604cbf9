# SPDX-License-Identifier: AGPL-3.0-or-later
"""One zip that proves an incident: journal, stamps, pictures, receipts, policy, proofs, and a timeline to print."""

from __future__ import annotations

import hashlib
import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.clocks import intervals, stamps
from server.domain.errors import Missing
from server.domain.parties import shares
from server.domain.policy import parse_policy
from server.evidence import log, timeline
from server.evidence.keys import SigningKey
from server.models import Callout, Checkpoint, Incident, JournalEntry, Notice, Picture
from server.services import journal
from server.services.pictures import file_of

# The time of the files in the zip is not a claim about anything.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def export(session: Session, code: str, key: SigningKey, pictures: Path, now: datetime) -> dict[str, bytes]:
    """The bundle's files by name, as the record stands at the newest checkpoint. ``pictures`` is the evidence folder.

    Raises Missing for an unknown incident, or when a line is under no checkpoint yet.
    """
    incident = session.scalar(select(Incident).where(Incident.code == code.upper()))
    if incident is None:
        raise Missing(f"there is no incident {code!r}")
    rows = journal.lines(session, incident.id)
    checkpoint = log.latest(session)
    places = log.position_of(session, incident.id)
    if checkpoint is None or len(places) < len(rows):
        raise Missing(f"incident {incident.code} has lines under no checkpoint yet: try again in a minute")
    files = _record(incident, rows) | _told(session, incident) | _pictures(session, incident, rows, pictures)
    files |= _proof(session, checkpoint, places) | times(incident, rows, now)
    jpegs = {Path(name).stem: content for name, content in files.items() if name.startswith("pictures/")}
    files["timeline.pdf"] = timeline.pdf(incident, rows, jpegs, now)
    files["manifest.txt"] = _manifest(key, incident, files, now)
    return files


def write(path: Path, files: dict[str, bytes]) -> None:
    """Write a bundle's files as a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content, zipfile.ZIP_DEFLATED)


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _record(incident: Incident, rows: list[JournalEntry]) -> dict[str, bytes]:
    lines = [
        journal.canonical({"line": journal.line_of(row), "prev_hash": row.prev_hash, "hash": row.hash}) for row in rows
    ]
    private = [
        {"seq": row.seq, "name": one.name, "erased": one.erased_at.isoformat()}
        if one.erased_at is not None
        else {"seq": row.seq, "name": one.name, "salt": one.salt, "value": one.value}
        for row in rows
        for one in row.private
    ]
    return {
        "journal.jsonl": "".join(line + "\n" for line in lines).encode(),
        "private.json": _json(private),
        "head.json": _json({"incident": incident.code, "lines": incident.last_seq, "hash": incident.last_hash}),
        "policy.json": _json(incident.policy.body),
    }


def _told(session: Session, incident: Incident) -> dict[str, bytes]:
    """Notices and receipts: person by number, no address and no telephone number."""
    rows = session.execute(
        select(Notice, Callout)
        .outerjoin(Callout, Callout.id == Notice.callout_id)
        .where(Notice.incident_id == incident.id)
        .order_by(Notice.created_at, Notice.id)
    )
    told = [
        {
            "notice": notice.id,
            "person": notice.person_id,
            "rung": callout.rung if callout else None,
            "cause": callout.cause if callout else None,
            "channel": notice.channel,
            "state": notice.state,
            "attempts": notice.attempts,
            "provider_ref": notice.provider_ref,
            **{name: _iso(getattr(notice, name)) for name in ("created_at", "sent_at", "delivered_at", "failed_at")},
        }
        for notice, callout in rows
    ]
    return {"receipts.json": _json(told)}


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _pictures(session: Session, incident: Incident, rows: list[JournalEntry], folder: Path) -> dict[str, bytes]:
    """The pictures the journal names; those whose bytes are gone are listed as such."""
    stored = set(session.scalars(select(Picture.sha256).where(Picture.incident_id == incident.id)))
    named = {row.data["sha256"] for row in rows if row.event == "picture"} | stored
    files, gone = {}, []
    for sha256 in sorted(named):
        path = file_of(folder, sha256)
        if path.is_file():
            files[f"pictures/{sha256}.jpg"] = path.read_bytes()
        else:
            gone.append(sha256)
    return files | {"pictures.json": _json(gone)}


def _proof(session: Session, checkpoint: Checkpoint, places: dict[int, int]) -> dict[str, bytes]:
    tree = log.Tree(session)
    proofs = [
        {"seq": seq, "position": place, "path": [step.hex() for step in tree.inclusion(place, checkpoint.size)]}
        for seq, place in sorted(places.items())
    ]
    return {"proof.json": _json(proofs), "checkpoint.txt": checkpoint.note.encode()}


def times(incident: Incident, rows: list[JournalEntry], now: datetime) -> dict[str, bytes]:
    """What the record says of times and verdicts at ``now``."""
    entries = [row.to_entry() for row in rows]
    policy = parse_policy(incident.policy.body)
    found = stamps(entries, policy)
    opening = rows[0].data if rows else {}
    content = {
        "at": now.isoformat(),
        "stamps": found.to_json(),
        "doubtful": sorted(found.doubtful),
        "edge_clock": {
            "offset_ms": opening.get("clock_offset_ms"),
            "error_ms": opening.get("clock_error_ms"),
            "assumed_error_s": policy.assumed_clock_error_s,
        },
        # The reason in words is on the timeline: what stands here, the verifier computes once more.
        "clocks": [_without(interval.to_json(), "reason") for interval in intervals(found, policy, now)],
        "parties": [
            {
                "party": share.party,
                "since": share.since.isoformat(),
                "until": _iso(share.until),
                "held_s": share.held_s(now),
                "answered_at": _iso(share.answered_at),
                "verdict": share.verdict.value,
            }
            for share in shares(entries, found, policy, now)
        ],
    }
    return {"stamps.json": _json(content)}


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _manifest(key: SigningKey, incident: Incident, files: dict[str, bytes], now: datetime) -> bytes:
    head = f"straw1530 evidence bundle, incident {incident.code}, exported {now.isoformat()}\n{len(files)} files\n"
    rows = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return key.sign(head + rows).encode()
