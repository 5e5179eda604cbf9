# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench evidence``: appends made durable and provable, proofs, verification of millions of lines."""

from __future__ import annotations

import argparse
import base64
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import select

from benchmarks import clockwork, figures
from server.db import Database
from server.evidence import log, wholelog
from server.evidence.check import Frontier, check
from server.evidence.keys import load
from server.evidence.verify import Key, Note, root_by_path
from server.models import Incident, JournalEntry, LogLeaf
from server.services import bulk, journal


def appends(opened: Database, folder: Path, *, lines: int, batch: int) -> dict[str, Any]:
    """Lines appended to a thousand incidents in batches, each batch committed, taken into the log and signed before the
    next: from nothing to provable."""
    policy = clockwork.add_policy(opened)
    now = datetime.now(UTC)
    clockwork.arm(opened, policy, [now + timedelta(days=1)] * 1000)
    key = load(folder)
    _take_in_all(opened, key)
    with opened.read() as session:
        heads = {
            number: (seq, digest)
            for number, seq, digest in session.execute(select(Incident.id, Incident.last_seq, Incident.last_hash))
        }
    numbers = sorted(heads)
    took = []
    began = time.perf_counter()
    for start in range(0, lines, batch):
        at = time.perf_counter()
        rows = [_next(heads, numbers[(start + n) % len(numbers)]) for n in range(min(batch, lines - start))]
        with opened.write() as session:
            bulk.insert_rows(session, JournalEntry, rows)
        with opened.write() as session:
            log.take_in(session, key, datetime.now(UTC))
        took.append(time.perf_counter() - at)
    whole = time.perf_counter() - began
    _heads_back(opened, heads)
    return {"lines": lines, "batch": batch, "per_second": lines / whole, "batch_s": figures.spread(took)}


def _take_in_all(opened: Database, key: Any) -> None:
    while True:
        with opened.write() as session:
            if log.take_in(session, key, datetime.now(UTC)) is None:
                return


def _next(heads: dict[int, tuple[int, str]], number: int) -> dict[str, Any]:
    seq, previous = heads[number]
    now = datetime.now(UTC)
    line = {
        "incident_id": number,
        "seq": seq + 1,
        "at": now.isoformat(timespec="microseconds"),
        "event": "sighting",
        "actor": "system:engine",
        "from_state": "dispatched",
        "to_state": "dispatched",
        "data": {"sighting": "0b0f0f2e-0000-4000-8000-000000000001", "camera": "tower-1", "confidence": 0.7},
        "answer_id": None,
    }
    digest = journal.chained(previous, line)
    heads[number] = (seq + 1, digest)
    return line | {"at": now, "prev_hash": previous, "hash": digest}


def _heads_back(opened: Database, heads: dict[int, tuple[int, str]]) -> None:
    with opened.write() as session:
        for incident in session.scalars(select(Incident)):
            incident.last_seq, incident.last_hash = heads[incident.id]


def proofs(opened: Database, *, count: int) -> dict[str, Any]:
    """Inclusion proofs at random places from a cold tree, each verified."""
    took = []
    with opened.read() as session:
        newest = log.latest(session)
        assert newest is not None
        size, root = newest.size, bytes.fromhex(newest.root)
        for number in range(count):
            place = int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8]) % size
            at = time.perf_counter()
            path = log.Tree(session).inclusion(place, size)
            took.append(time.perf_counter() - at)
            leaf = session.scalars(select(LogLeaf.hash).where(LogLeaf.position == place)).one()
            assert root_by_path(bytes.fromhex(leaf), place, size, path) == root
    return {"log_size": size, "proof_s": figures.spread(took)}


def whole_record(opened: Database, folder: Path) -> dict[str, Any]:
    """`evidence check` over all there is."""
    with opened.read() as session:
        newest = log.latest(session)
        assert newest is not None
        at = time.perf_counter()
        faults = check(session, Key.parse(load(folder).public_text()))
        took = time.perf_counter() - at
    return {"lines": newest.size, "took_s": took, "per_second": newest.size / took, "faults": len(faults)}


# The data of the lines of a usual fire, as the journal holds them.
_STORY: list[dict[str, Any]] = [
    {"event": "open", "data": {"camera": "tower-117", "clock_error_ms": 40.0, "clock_offset_ms": -12.5,
     "confidence": 0.71, "policy": {"sha256": "c" * 64, "version": 3},
     "sighting": "0b0f0f2e-0000-4000-8000-000000000001", "t0_earliest": "2026-10-08T09:00:01.000000+00:00",
     "t0_latest": "2026-10-08T09:00:11.000000+00:00", "t1": "2026-10-08T09:00:21.000000+00:00"}},
    {"event": "picture", "data": {"bytes": 184_211, "kind": "sighting", "sha256": "d" * 64}},
    {"event": "dispatch", "data": {"candidates": [{"grid": "330802100201", "probability": 0.93}], "cause": "dispatch",
     "county": "330802", "grid": "330802100201", "people": [{"as": "lead", "person": 117}]}},
    *({"event": event, "data": {"cause": "dispatch", "channel": "sms", "notice": "0b0f0f2e-0000-4000-8000-000000000002",
       "person": 117, "rung": "owner"}} for event in ("sent", "sent", "delivered")),
    {"event": "remind", "data": {"due_at": "2026-10-08T09:02:30.000000+00:00", "rungs": ["owner", "deputy"],
     "step": "respond.remind"}},
    {"event": "accept", "data": {"phone_at": "2026-10-08T09:03:00+08:00", "sealed": {"lat": "e" * 64, "lon": "f" * 64},
     "via": "page"}},
    {"event": "arrive", "data": {"phone_at": "2026-10-08T09:13:00+08:00", "via": "page"}},
    {"event": "report_done", "data": {"phone_at": "2026-10-08T09:23:00+08:00", "pictures": ["a" * 64], "via": "page"}},
    {"event": "verify", "data": {"via": "page"}},
    {"event": "close", "data": {"via": "page"}},
]  # fmt: skip


def write_log(path: Path, entries: int, at_once: int = 4_000) -> bytes:
    """A log of usual fires, ``at_once`` burning at a time; returns its root. Written as `evidence export-log` does."""
    story = [
        _line_of(line["event"], line["data"], seq).partition("INCIDENT") for seq, line in enumerate(_STORY, start=1)
    ]
    heads = [journal.GENESIS] * at_once
    frontier, sha256 = Frontier(), hashlib.sha256
    with path.open("wb") as file:
        for number in range(entries):
            round_, place = divmod(number, at_once)
            era, seq = divmod(round_, len(story))
            before, _, behind = story[seq]
            previous = heads[place] if seq else journal.GENESIS
            line = f"{previous}{before}{era * at_once + place + 1}{behind}".encode()
            digest = sha256(line)
            heads[place] = digest.hexdigest()
            frontier.add(sha256(b"\x00" + digest.digest()).digest())
            file.write(line + b"\n")
    return frontier.root()


def _line_of(event: str, data: dict[str, Any], seq: int) -> str:
    person = event in ("accept", "arrive", "report_done", "verify", "close")
    line = journal.line(
        incident_id=0,
        seq=seq,
        at=datetime(2026, 10, 8, 9, 0, 30, 123_456, tzinfo=UTC),
        event=event,
        actor="person:117" if person else "system:engine",
        from_state="dispatched" if seq > 1 else None,
        to_state="dispatched",
        data=data,
        answer_id="0b0f0f2e-0000-4000-8000-000000000003" if person else None,
    )
    return journal.canonical(line).replace('"incident_id":0', '"incident_id":INCIDENT')


def whole_log(folder: Path, entries: int) -> dict[str, Any]:
    """`evidence verify-log` over so many lines of usual fires: every hash, every chain and the signed root."""
    path = folder / "log"
    key = load(folder)
    root = write_log(path, entries)
    note = key.sign(f"{key.name}\n{entries}\n{base64.b64encode(root).decode()}\n")
    at = time.perf_counter()
    size, faults = wholelog.verify_log(path, [Note.parse(note, Key.parse(key.public_text()))])
    took = time.perf_counter() - at
    found = {"lines": size, "bytes": path.stat().st_size, "took_s": took, "per_second": size / took}
    path.unlink()
    return found | {"faults": len(faults)}


def main(argv: Sequence[str]) -> int:
    """1 when something did not verify."""
    parser = argparse.ArgumentParser(prog="straw1530 bench evidence", description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--proofs", type=int, default=200)
    parser.add_argument("--entries", type=int, default=10_000_000, help="lines of the whole log that is verified")
    parser.add_argument("--database", choices=["postgresql", "sqlite", "none"], action="append")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    for kind in [kind for kind in args.database or ["postgresql", "sqlite"] if kind != "none"]:
        with clockwork.database(kind) as opened, TemporaryDirectory() as name:
            found[kind] = clockwork.settings_of(opened) | {
                "appends": appends(opened, Path(name), lines=args.lines, batch=args.batch),
                "proofs": proofs(opened, count=args.proofs),
                "whole_record": whole_record(opened, Path(name)),
            }
    if args.entries:
        with TemporaryDirectory() as name:
            found["whole_log"] = whole_log(Path(name), args.entries)
    figures.write(args.json, "evidence", found)
    wrong = [one for one in found.values() if one.get("whole_record", {}).get("faults") or one.get("faults")]
    return 1 if wrong else 0
