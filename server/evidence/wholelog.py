# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole log as one text file, and its verification: millions of lines in seconds, on every core.

Each text line *is* the bytes that were hashed: the previous hash of its incident in hexadecimal, then the journal's
line in canonical JSON. So nothing is parsed but two numbers near its end, and nothing can differ from what is checked.
The lines stand in the order of the Merkle log. They hold no personal details, only commitments to them (ADR 6).
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from binascii import hexlify
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.evidence import merkle
from server.evidence.check import COVERED
from server.evidence.verify import GENESIS, Note, canonical
from server.models import JournalEntry, LogLeaf

# Lines that one process checks at a time: a power of two, so that they are a subtree of the log.
PART = 1 << 17
# What fits the processor's caches.
_AT_ONCE, _BUFFER = 4096, 1 << 20
_NUMBER, _SEQ = b',"incident_id":', b'"seq":'
# Full subtrees from left to right, of falling size: (leaves, root).
Peaks = list[tuple[int, bytes]]


def export_log(session: Session, file: BinaryIO, size: int) -> None:
    """Write the first ``size`` lines of the log."""
    rows = session.execute(
        select(*(getattr(JournalEntry, name) for name in COVERED), JournalEntry.prev_hash)
        .join(LogLeaf, LogLeaf.journal_id == JournalEntry.id)
        .where(LogLeaf.position < size)
        .order_by(LogLeaf.position)
    )
    for row in rows.yield_per(10_000):
        line = {name: row[at] for at, name in enumerate(COVERED)}
        line["at"] = row.at.isoformat(timespec="microseconds")
        file.write((row.prev_hash + canonical(line) + "\n").encode())


def notes_of(text: str) -> list[str]:
    """The signed checkpoints of a file: one, or many as `checkpoints.log` holds them."""
    found, lines = [], []
    for line in text.splitlines():
        lines.append(line)
        if line.startswith("— "):
            found.append("\n".join(lines).lstrip("\n") + "\n")
            lines = []
    return found


@dataclass(slots=True)
class Part:
    """What is known of some consecutive lines: how each incident came in (its first seq here and the hash before it)
    and how it left (seq and hash), the peaks over the lines up to each wanted size, and what is wrong."""

    came: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    left: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    peaks: dict[int, Peaks] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Job:
    """``count`` lines of a file behind the first ``first``, from the byte ``start``; ``sizes``: of the log, at which
    its root is wanted."""

    path: Path
    start: int
    first: int
    count: int
    sizes: tuple[int, ...]


def verify_log(
    path: Path,
    notes: Sequence[Note],
    *,
    part: int = PART,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda _size: None,
) -> tuple[int, list[str]]:
    """How many lines there are, and everything that does not hold, one sentence each: every line against the chain of
    its incident, and the root of the log at the size of every checkpoint, one of which must speak of the whole file."""
    roots: dict[int, bytes] = {0: merkle.EMPTY}
    ends: dict[bytes, tuple[int, bytes]] = {}
    faults: list[str] = []
    forest: Peaks = []
    jobs = _jobs(path, part, {note.size for note in notes})
    for first, found in _in_order(jobs, workers or os.cpu_count() or 1):
        faults += found.faults + _joints(ends, found, first)
        ends |= found.left
        roots |= {size: _root(forest + peaks) for size, peaks in found.peaks.items()}
        forest = _grown(forest, found.peaks[max(found.peaks)])
        progress(max(roots))
    return max(roots), faults + _unproved(roots, notes)


def _jobs(path: Path, part: int, wanted: set[int]) -> Iterator[_Job]:
    start = first = 0
    with path.open("rb", buffering=_BUFFER) as file:
        while lengths := [len(line) for line in islice(file, part)]:
            end = first + len(lengths)
            sizes = tuple(sorted({size for size in wanted if first < size < end} | {end}))
            yield _Job(path, start, first, len(lengths), sizes)
            start, first = start + sum(lengths), end


def _in_order(jobs: Iterable[_Job], workers: int) -> Iterator[tuple[int, Part]]:
    """What was found in each part, in the order of the lines, with a few parts under way at a time."""
    if workers == 1:
        yield from ((job.first, check_part(job)) for job in jobs)
        return
    waiting: deque[tuple[int, Future[Part]]] = deque()
    with ProcessPoolExecutor(workers, multiprocessing.get_context("forkserver")) as pool:
        for job in jobs:
            waiting.append((job.first, pool.submit(check_part, job)))
            if len(waiting) > 2 * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def check_part(job: _Job) -> Part:
    """Check some lines by themselves; what comes from before them is the caller's to join."""
    found, sha256 = Part(), hashlib.sha256
    leaves: list[bytes] = []
    with job.path.open("rb", buffering=_BUFFER) as file:
        file.seek(job.start)
        rest = islice(file, job.count)
        while lines := [line.removesuffix(b"\n") for line in islice(rest, _AT_ONCE)]:
            digests = [sha256(line).digest() for line in lines]
            _chain(found, job.first + len(leaves), lines, digests)
            leaves += [sha256(b"\x00" + digest).digest() for digest in digests]
    forest: Peaks = []
    at = 0
    for size in job.sizes:
        forest = _grown(forest, _subtrees(leaves, at, size - job.first))
        at, found.peaks[size] = size - job.first, forest
    return found


def _chain(found: Part, first: int, lines: Sequence[bytes], digests: Sequence[bytes]) -> None:
    """Each line must carry the hash of the line above it in its incident, and the next number."""
    came, left = found.came, found.left
    for number, (line, digest) in enumerate(zip(lines, digests, strict=True), start=first + 1):
        # The last of these words is the line's own: what follows it is a number and a state, which cannot hold it.
        words = line[line.rfind(_NUMBER) + len(_NUMBER) :].split(b",", 2)
        try:
            incident, seq = words[0], int(words[1].removeprefix(_SEQ))
        except (IndexError, ValueError):
            found.faults.append(f"line {number}: is not a line of the journal")
            continue
        above = left.get(incident)
        if above is None:
            came[incident] = seq, line[:64]
        elif above[0] + 1 != seq or hexlify(above[1]) != line[:64]:
            found.faults.append(_broken(incident, seq, f"line {number}"))
        left[incident] = seq, digest


def _joints(ends: dict[bytes, tuple[int, bytes]], found: Part, first: int) -> list[str]:
    """The incidents of a part that do not go on from where they stood before it."""
    faults = []
    for incident, (seq, previous) in found.came.items():
        above = ends.get(incident)
        wanted = (1, GENESIS.encode()) if above is None else (above[0] + 1, hexlify(above[1]))
        if (seq, previous) != wanted:
            faults.append(_broken(incident, seq, f"behind line {first}"))
    return faults


def _broken(incident: bytes, seq: int, where: str) -> str:
    name = incident.decode("utf-8", "replace")[:20]
    return (
        f"{where}: line {seq} of incident #{name} does not follow the one above it: that one was changed or is missing"
    )


def _unproved(roots: dict[int, bytes], notes: Sequence[Note]) -> list[str]:
    size, faults, proved = max(roots), [], 0
    for note in sorted(notes, key=lambda note: note.size):
        if note.size > size:
            faults.append(f"{note.size} lines were signed and {size} are here")
        elif roots[note.size] == note.root:
            proved = note.size
        else:
            faults.append(f"the lines up to {note.size} are not those that were signed; up to {proved} they are")
    if size not in {note.size for note in notes}:
        faults.append(f"no checkpoint speaks of all {size} lines")
    return faults


def _subtrees(leaves: Sequence[bytes], start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The leaves from start to end as the largest full subtrees of the log."""
    while start < end:
        fits = 1 << ((end - start).bit_length() - 1)
        size = min(start & -start or fits, fits)
        yield size, merkle.root_of(leaves[start : start + size])
        start += size


def _grown(forest: Peaks, more: Iterable[tuple[int, bytes]]) -> Peaks:
    """The forest with further subtrees at its right; equal neighbours become one."""
    grown = list(forest)
    for peak in more:
        grown.append(peak)
        while len(grown) > 1 and grown[-1][0] == grown[-2][0]:
            (size, left), (_, right) = grown[-2:]
            grown[-2:] = [(2 * size, merkle.node_hash(left, right))]
    return grown


def _root(forest: Peaks) -> bytes:
    """The root over full subtrees of falling size."""
    root = forest[-1][1]
    for _, peak in reversed(forest[:-1]):
        root = merkle.node_hash(peak, root)
    return root
