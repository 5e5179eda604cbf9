# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole record against itself and against checkpoints that others kept: what a rewritten history cannot pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.evidence import merkle
from server.evidence.verify import Key, Note
from server.models import Checkpoint, Incident, JournalEntry, LogLeaf, PrivateValue
from server.models.incident import SEALED
from server.services import journal

_AT_ONCE = 10_000


def check(session: Session, key: Key, kept: Sequence[str] = ()) -> list[str]:
    """Everything that does not hold, one sentence each. ``kept``: checkpoints copied from outside this server."""
    faults = _chains(session)
    notes = [Note.parse(text, key) for text in kept]
    roots = {row.size: bytes.fromhex(row.root) for row in session.scalars(select(Checkpoint))}
    for row in session.scalars(select(Checkpoint)):
        own = Note.parse(row.note, key)
        if (own.size, own.root.hex()) != (row.size, row.root):
            faults.append(f"checkpoint {row.size}: its signed text says something else")
    wanted = {size: [root] for size, root in roots.items()}
    for note in notes:
        wanted.setdefault(note.size, []).append(note.root)
    return faults + _details(session) + _log(session, wanted)


def _chains(session: Session) -> list[str]:
    """Every incident's chain, read once in order."""
    faults = []
    heads = {row.id: (row.code, row.last_seq, row.last_hash) for row in session.execute(_HEADS)}
    previous, seq, current = journal.GENESIS, 0, -1
    ends: dict[int, tuple[int, str]] = {}
    rows = session.execute(_LINES.order_by(JournalEntry.incident_id, JournalEntry.seq))
    for row in rows.yield_per(_AT_ONCE):
        number, place, stated_previous, digest = row.incident_id, row.seq, row.prev_hash, row.hash
        if number != current:
            previous, seq, current = journal.GENESIS, 0, number
        if place != seq + 1:
            faults.append(f"incident {_code(heads, number)}: lines {seq + 1} to {place - 1} are missing")
        line = {name: row[at] for at, name in enumerate(COVERED)}
        line["at"] = row.at.isoformat(timespec="microseconds")
        if stated_previous != previous or digest != journal.chained(stated_previous, line):
            faults.append(f"incident {_code(heads, number)}: line {place} was changed")
        previous, seq = digest, place
        ends[number] = (seq, previous)
    for number, (code, last_seq, last_hash) in heads.items():
        if ends.get(number, (0, journal.GENESIS)) != (last_seq, last_hash):
            faults.append(f"incident {code}: its journal does not end where it should ({last_seq} lines)")
    return faults


def _details(session: Session) -> list[str]:
    """The personal details that are still there against the hashes in their lines."""
    rows = session.execute(
        select(PrivateValue, Incident.code, JournalEntry.seq, JournalEntry.data)
        .join(JournalEntry, JournalEntry.id == PrivateValue.journal_id)
        .join(Incident, Incident.id == JournalEntry.incident_id)
        .where(PrivateValue.erased_at.is_(None))
    )
    return [
        f"incident {code}: the {one.name!r} of line {seq} was changed"
        for one, code, seq, data in rows.yield_per(_AT_ONCE)
        if data.get(SEALED, {}).get(one.name) != journal.commitment(str(one.salt), one.value)
    ]


COVERED = ("incident_id", "seq", "at", "event", "actor", "from_state", "to_state", "data", "answer_id")
# Columns and not objects: there may be millions.
_LINES = select(*(getattr(JournalEntry, name) for name in COVERED), JournalEntry.prev_hash, JournalEntry.hash)
_HEADS = select(Incident.id, Incident.code, Incident.last_seq, Incident.last_hash)


def _code(heads: Mapping[int, tuple[str, int, str]], number: int) -> str:
    return heads[number][0] if number in heads else f"#{number}"


def _log(session: Session, wanted: dict[int, list[bytes]]) -> list[str]:
    """The log's leaves against the journal, and its roots at every wanted size."""
    faults: list[str] = []
    frontier = Frontier()
    rows = session.execute(
        select(LogLeaf.position, LogLeaf.hash, JournalEntry.hash)
        .outerjoin(JournalEntry, JournalEntry.id == LogLeaf.journal_id)
        .order_by(LogLeaf.position)
    )
    sizes = sorted(wanted)
    for position, leaf, line in rows.yield_per(_AT_ONCE):
        expected = merkle.leaf_hash(bytes.fromhex(line)) if line else None
        if position != frontier.size or expected is None or expected.hex() != leaf:
            faults.append(f"log: place {frontier.size} does not hold the journal line that was put there")
            if position != frontier.size:
                break
        frontier.add(bytes.fromhex(leaf))
        while sizes and sizes[0] == frontier.size:
            faults += _compare(sizes[0], frontier.root(), wanted[sizes.pop(0)])
    faults += [f"log: has {frontier.size} places and a checkpoint of {size} was signed" for size in sizes]
    return faults


def _compare(size: int, root: bytes, wanted: Iterable[bytes]) -> list[str]:
    return [f"log: its root at {size} is not the one that was signed" for one in wanted if one != root]


class Frontier:
    """The full subtrees at the right edge of a growing log: enough for its root, at a few hashes a leaf."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of falling size

    def add(self, leaf: bytes) -> None:
        """One leaf more."""
        sha256 = hashlib.sha256
        size = self.size
        while size & 1:
            leaf = sha256(b"\x01" + self._peaks.pop() + leaf).digest()
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self._peaks:
            return merkle.EMPTY
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = merkle.node_hash(peak, root)
        return root
