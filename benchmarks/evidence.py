# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench evidence``: appends made durable and provable, proofs, verification of millions of lines."""

from __future__ import annotations

import argparse
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
from server.evidence import log, merkle
from server.evidence.check import Frontier, check
from server.evidence.keys import load
from server.evidence.verify import Key, root_by_path
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


def millions(entries: int) -> dict[str, Any]:
    """The Merkle root of so many leaf hashes, leaf by leaf as the log grows, and in whole levels."""
    leaves = [hashlib.sha256(number.to_bytes(8)).digest() for number in range(entries)]
    at = time.perf_counter()
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    grown = time.perf_counter() - at
    at = time.perf_counter()
    root = merkle.root_of(leaves)
    whole = time.perf_counter() - at
    return {"entries": entries, "leaf_by_leaf_s": grown, "whole_levels_s": whole, "agree": root == frontier.root()}


def main(argv: Sequence[str]) -> int:
    """1 when something did not verify."""
    parser = argparse.ArgumentParser(prog="straw1530 bench evidence", description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--proofs", type=int, default=200)
    parser.add_argument("--entries", type=int, default=10_000_000, help="leaves whose root is computed")
    parser.add_argument("--database", choices=["postgresql", "sqlite"], action="append")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    found: dict[str, Any] = {}
    for kind in args.database or ["postgresql", "sqlite"]:
        with clockwork.database(kind) as opened, TemporaryDirectory() as name:
            found[kind] = clockwork.settings_of(opened) | {
                "appends": appends(opened, Path(name), lines=args.lines, batch=args.batch),
                "proofs": proofs(opened, count=args.proofs),
                "whole_record": whole_record(opened, Path(name)),
            }
    if args.entries:
        found["merkle"] = millions(args.entries)
    figures.write(args.json, "evidence", found)
    wrong = [one for one in found.values() if one.get("whole_record", {}).get("faults") or one.get("agree") is False]
    return 1 if wrong else 0
