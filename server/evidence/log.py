# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Merkle log over all journal lines of the server: taking them in, its roots, and proofs from a few rows.

A line's leaf is the hash of that line, which already covers the lines above it in its incident. Lines get their places
after their commit, in batches; a line once in the log keeps its place for ever.
"""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.evidence import merkle
from server.evidence.keys import SigningKey
from server.models import Checkpoint, JournalEntry, LogLeaf, LogNode
from server.services import bulk

_BITS = 8  # full subtrees of 2⁸, 2¹⁶, 2²⁴ leaves are stored
_FULL = 1 << _BITS
BATCH = 20_000
# A journal line gets its number when it is written and is seen when it is committed. After so long the numbers that
# are missing were rolled back.
SETTLED = timedelta(hours=1)
_LOCK = 0x5354524157  # "STRAW": one process at a time gives places


def take_in(session: Session, key: SigningKey, now: datetime, limit: int = BATCH) -> Checkpoint | None:
    """Give places to new journal lines and sign the root; the caller commits. None when there is nothing new, or
    another process is at it."""
    if session.get_bind().dialect.name != "sqlite" and not session.scalar(
        select(func.pg_try_advisory_xact_lock(_LOCK))
    ):
        return None
    last = latest(session)
    size, floor = (last.size, last.journal_floor) if last else (0, 0)
    rows = session.execute(
        select(JournalEntry.id, JournalEntry.hash)
        .outerjoin(LogLeaf, LogLeaf.journal_id == JournalEntry.id)
        .where(JournalEntry.id > floor, LogLeaf.journal_id.is_(None))
        .order_by(JournalEntry.id)
        .limit(limit)
    ).all()
    if not rows:
        return None
    leaves = [merkle.leaf_hash(bytes.fromhex(line)) for _, line in rows]
    bulk.insert_rows(
        session,
        LogLeaf,
        [
            {"position": size + number, "journal_id": row.id, "hash": leaf.hex()}
            for number, (row, leaf) in enumerate(zip(rows, leaves, strict=True))
        ],
    )
    _store_full(session, size, leaves)
    size += len(rows)
    root = Tree(session).root(size)
    checkpoint = Checkpoint(
        size=size, root=root.hex(), at=now, journal_floor=_floor(session, floor, now), note=_note(key, size, root, now)
    )
    session.add(checkpoint)
    session.flush()
    return checkpoint


def latest(session: Session) -> Checkpoint | None:
    """The newest checkpoint; None before the first."""
    return session.scalars(select(Checkpoint).order_by(Checkpoint.size.desc()).limit(1)).first()


def _note(key: SigningKey, size: int, root: bytes, now: datetime) -> str:
    body = f"{key.name}\n{size}\n{base64.b64encode(root).decode()}\nat {now.isoformat(timespec='microseconds')}\n"
    return key.sign(body)


def _floor(session: Session, floor: int, now: datetime) -> int:
    position = session.scalar(select(func.max(Checkpoint.size)).where(Checkpoint.at < now - SETTLED))
    if position is None:
        return floor
    # The settled lines are those taken in up to then; later leaves may hold smaller numbers, which are in all the same.
    found = session.scalar(select(func.max(LogLeaf.journal_id)).where(LogLeaf.position < position))
    return max(floor, found or 0)


def _store_full(session: Session, size: int, leaves: list[bytes]) -> None:
    """Store the roots of the subtrees that the new leaves filled."""
    start = size - size % _FULL
    known = session.scalars(
        select(LogLeaf.hash).where(LogLeaf.position >= start, LogLeaf.position < size).order_by(LogLeaf.position)
    )
    below = [bytes.fromhex(value) for value in known] + leaves
    level, first = _BITS, start // _FULL
    while len(below) >= _FULL:
        full = [merkle.root_of(below[at : at + _FULL]) for at in range(0, len(below) - _FULL + 1, _FULL)]
        bulk.insert_rows(
            session,
            LogNode,
            [{"level": level, "position": first + number, "hash": value.hex()} for number, value in enumerate(full)],
        )
        # One level up: the block these belong to may have begun earlier.
        start = first - first % _FULL
        earlier = session.scalars(
            select(LogNode.hash)
            .where(LogNode.level == level, LogNode.position >= start, LogNode.position < first)
            .order_by(LogNode.position)
        )
        below = [bytes.fromhex(value) for value in earlier] + full
        level, first = level + _BITS, start // _FULL


class Tree:
    """Roots and proofs of the stored log. Reads at most 255 hashes a level for each subtree on the way."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[int, int], bytes] = {}

    def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves."""
        return self.subtree(0, size)

    def inclusion(self, position: int, size: int) -> list[bytes]:
        """The path of a leaf to the root of the first ``size``."""
        return merkle.inclusion_path(position, size, self.subtree)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The path that shows that the log only grew."""
        return merkle.consistency_path(old, new, self.subtree)

    def subtree(self, start: int, end: int) -> bytes:
        """The root of the leaves from start to end (exclusive), a subtree of the whole."""
        found = self._known.get((start, end))
        if found is None:
            found = self._known[start, end] = self._read(start, end)
        return found

    def _read(self, start: int, end: int) -> bytes:
        """Full blocks from their stored roots on the highest level that fits, the rest from the level below."""
        if end <= start:
            return merkle.EMPTY
        width = end - start
        level = 0
        while width >= 1 << (level + _BITS):
            level += _BITS
        step = 1 << level
        whole = start + width // step * step
        hashes = self._stored(level, start // step, whole // step)
        if whole == end:
            return merkle.root_of(hashes)
        # The ragged end is a subtree of its own to the right of full ones (RFC 6962 splits at powers of two).
        return _join(hashes, self.subtree(whole, end))

    def _stored(self, level: int, first: int, last: int) -> list[bytes]:
        if level == 0:
            query = select(LogLeaf.hash).where(LogLeaf.position >= first, LogLeaf.position < last)
            rows = self._session.scalars(query.order_by(LogLeaf.position)).all()
        else:
            nodes = select(LogNode.hash).where(
                LogNode.level == level, LogNode.position >= first, LogNode.position < last
            )
            rows = self._session.scalars(nodes.order_by(LogNode.position)).all()
        if len(rows) != last - first:
            raise LookupError(f"the log lacks hashes on level {level} between {first} and {last}")
        return [bytes.fromhex(value) for value in rows]


def _join(full: list[bytes], rest: bytes) -> bytes:
    """The root over equal full subtrees and a smaller one at their right."""
    if not full:
        return rest
    left = 1 << (len(full).bit_length() - 1)
    return merkle.node_hash(merkle.root_of(full[:left]), _join(full[left:], rest))


def position_of(session: Session, incident_id: int) -> dict[int, int]:
    """Seq → place in the log, for the lines of an incident that have one."""
    rows = session.execute(
        select(JournalEntry.seq, LogLeaf.position)
        .join(LogLeaf, LogLeaf.journal_id == JournalEntry.id)
        .where(JournalEntry.incident_id == incident_id)
    )
    return {seq: position for seq, position in rows}
