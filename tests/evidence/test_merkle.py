# SPDX-License-Identifier: AGPL-3.0-or-later
"""The Merkle tree against published vectors and a kept library, and our verifier against both."""

from __future__ import annotations

import pytest
from pymerkle import InmemoryTree

from server.evidence import merkle
from server.evidence.check import Frontier
from server.evidence.verify import Note, grown, root_by_path

# The eight leaves and roots that certificate-transparency implementations share as test vectors.
LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes.fromhex("606162636465666768696a6b6c6d6e6f")
]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33]


def hashes(size: int) -> list[bytes]:
    """The leaf hashes of so many small leaves."""
    return [merkle.leaf_hash(number.to_bytes(4)) for number in range(size)]


def test_the_roots_are_those_of_the_standard() -> None:
    """RFC 6962's hashing, prefix bytes and all."""
    for size, root in ROOTS.items():
        assert merkle.root_of([merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == root
    assert merkle.root_of([]) == merkle.EMPTY


@pytest.mark.parametrize("size", SIZES)
def test_roots_agree_with_a_kept_library(size: int) -> None:
    """Whole, and grown leaf by leaf."""
    library, frontier = InmemoryTree(algorithm="sha256"), Frontier()
    for number in range(size):
        library.append_entry(number.to_bytes(4))
        frontier.add(merkle.leaf_hash(number.to_bytes(4)))
    assert merkle.root_of(hashes(size)) == library.get_root() == frontier.root()


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_is_proved_and_no_other_is(size: int) -> None:
    """Each path leads to the root; from another leaf, another place, or cut short, it does not."""
    leaves = hashes(size)
    root = merkle.root_of(leaves)
    for index in range(size):
        path = merkle.inclusion_path(index, size, lambda start, end: merkle.root_of(leaves[start:end]))
        assert root_by_path(leaves[index], index, size, path) == root
        assert root_by_path(merkle.leaf_hash(b"other"), index, size, path) != root
        assert root_by_path(leaves[index], size, size, path) is None
        if path:
            assert root_by_path(leaves[index], index, size, path[:-1]) != root
            assert root_by_path(leaves[index], index ^ 1, size, path) != root


@pytest.mark.parametrize("new", SIZES)
def test_growth_is_proved_and_a_rewritten_past_is_not(new: int) -> None:
    """From every earlier size; a single other leaf in the past breaks it."""
    leaves = hashes(new)
    later = Note(new, merkle.root_of(leaves))
    for old in range(1, new + 1):
        path = merkle.consistency_path(old, new, lambda start, end: merkle.root_of(leaves[start:end]))
        assert grown(Note(old, merkle.root_of(leaves[:old])), later, path)
        rewritten = [merkle.leaf_hash(b"other"), *leaves[1:old]]
        assert not grown(Note(old, merkle.root_of(rewritten)), later, path)
    assert not grown(Note(new + 1, later.root), later, [])
