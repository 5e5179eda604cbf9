# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Merkle tree of RFC 6962 (section 2.1) over hashes that somebody else keeps.

Kept libraries hold the leaves in memory or read them all for a root; here the roots of full subtrees are stored, so
that a server with ten million lines proves one of them from a few hundred rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

EMPTY = hashlib.sha256().digest()
# Gives the root of the leaves from start to end (exclusive), which always form one subtree of the whole.
Subtree = Callable[[int, int], bytes]


def leaf_hash(content: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 ‖ content)."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(size: int) -> int:
    """How many of ``size`` ≥ 2 leaves stand left of the root: the largest power of two below it."""
    return 1 << (size - 1).bit_length() - 1


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, all at hand. Level by level; an odd last node goes up as it is."""
    if not hashes:
        return EMPTY
    level = list(hashes)
    sha256 = hashlib.sha256
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return level[0]


def root_from(subtree: Subtree, start: int, end: int, stored: Callable[[int, int], bool]) -> bytes:
    """The root of the leaves from start to end, from the subtrees that are ``stored``."""
    if end <= start:
        return EMPTY
    if stored(start, end):
        return subtree(start, end)
    middle = start + split(end - start)
    return node_hash(root_from(subtree, start, middle, stored), root_from(subtree, middle, end, stored))


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes that lead from leaf ``index`` to the root of ``size`` leaves, lowest first (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} among {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The hashes that show the tree of ``old`` leaves to be a beginning of that of ``new`` (RFC 6962, 2.1.2)."""
    if not 0 < old <= new:
        raise ValueError(f"a log of {new} cannot have grown from {old}")
    path: list[bytes] = []
    start, end, whole = 0, new, True
    size = old
    while size != end - start:
        middle = start + split(end - start)
        if size <= middle - start:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            size -= middle - start
            start = middle
            whole = False
    if not whole:
        path.append(subtree(start, end))
    return path[::-1]
