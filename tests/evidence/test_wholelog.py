# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole log as a file: intact says intact, on one core or several, and every change is caught."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.evidence import write_log
from server.evidence import log, wholelog
from server.evidence.check import Frontier
from server.evidence.keys import load
from server.evidence.merkle import leaf_hash
from server.evidence.notary import Notary
from server.evidence.verify import Note
from straw1530.cli import main
from tests.evidence.test_bundle import Clock, a_whole_story
from tests.support.world import World

LINES = 150  # of 7 incidents burning at a time; checked in parts of 16
Hashes = list[bytes]


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Path, list[Note]]:
    """A log, and checkpoints of it at several sizes."""
    path = tmp_path / "log"
    write_log(path, LINES, at_once=7)
    lines = path.read_bytes().splitlines()
    return path, [Note(size, root(lines[:size])) for size in (1, 15, 16, 17, 48, 100, LINES)]


def root(lines: Hashes) -> bytes:
    """Their Merkle root, leaf by leaf."""
    import hashlib

    frontier = Frontier()
    for line in lines:
        frontier.add(leaf_hash(hashlib.sha256(line).digest()))
    return frontier.root()


def faults(path: Path, notes: list[Note], **how: int) -> list[str]:
    """What does not hold."""
    return wholelog.verify_log(path, notes, part=16, **{"workers": 1, **how})[1]


@pytest.mark.parametrize("part", [1, 16, 64, 1024])
def test_an_untouched_log_is_intact(whole: tuple[Path, list[Note]], part: int) -> None:
    """Whatever the parts, with checkpoints inside them and between them."""
    path, notes = whole
    seen: list[int] = []
    assert wholelog.verify_log(path, notes, part=part, workers=1, progress=seen.append) == (LINES, [])
    assert seen == [*range(part, LINES, part), LINES]


def test_several_processes_find_what_one_finds(whole: tuple[Path, list[Note]]) -> None:
    """Intact, and the same sentences for a changed line."""
    path, notes = whole
    assert faults(path, notes, workers=2) == []
    path.write_bytes(path.read_bytes().replace(b'"camera":"tower-117"', b'"camera":"tower-118"', 1))
    assert faults(path, notes, workers=2) == faults(path, notes) != []


def test_every_edit_deletion_exchange_and_truncation_is_caught(whole: tuple[Path, list[Note]]) -> None:
    """Each line: one random bit of it, the line taken out, doubled, exchanged with the next, and all behind it cut."""
    path, notes = whole
    lines = path.read_bytes().splitlines()
    chance = random.Random(1530)
    for number, line in enumerate(lines):
        flipped = bytearray(line)
        flipped[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
        changes = {
            "edit": [*lines[:number], bytes(flipped), *lines[number + 1 :]],
            "deletion": lines[:number] + lines[number + 1 :],
            "double": [*lines[: number + 1], *lines[number:]],
            "truncation": lines[:number],
            "exchange": [*lines[:number], *lines[number : number + 2][::-1], *lines[number + 2 :]],
        }
        for what, changed in changes.items():
            if changed != lines:
                path.write_bytes(b"".join(one + b"\n" for one in changed))
                assert faults(path, notes), (what, number)


def test_a_changed_line_is_named_by_the_one_that_follows_it(whole: tuple[Path, list[Note]]) -> None:
    """And the checkpoints say between which sizes it lies."""
    path, notes = whole
    lines = path.read_bytes().splitlines()
    lines[20] = lines[20].replace(b'"actor":"system:engine"', b'"actor":"system:nobody"')
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    found = faults(path, notes)
    assert any("line 28: line 4 of incident #7 does not follow" in fault for fault in found)
    assert "the lines up to 48 are not those that were signed; up to 17 they are" in found


def test_a_history_hashed_anew_has_another_root(tmp_path: Path, whole: tuple[Path, list[Note]]) -> None:
    """A forger who makes all chains fit again cannot make the signed root fit."""
    _, notes = whole
    other = tmp_path / "other"
    write_log(other, LINES, at_once=6)
    found = faults(other, notes)
    assert found
    assert all("not those that were signed" in fault for fault in found)


def test_what_stands_behind_the_last_checkpoint_is_not_proved(whole: tuple[Path, list[Note]]) -> None:
    """Neither are lines that no checkpoint speaks of, nor a line cut off in its middle, nor an empty file."""
    path, notes = whole
    assert faults(path, notes[:-1]) == [f"no checkpoint speaks of all {LINES} lines"]
    path.write_bytes(path.read_bytes()[:-9])
    assert faults(path, notes)
    path.write_bytes(b"")
    assert faults(path, notes)
    assert faults(path, []) == ["no checkpoint speaks of all 0 lines"]


def test_a_real_record_is_exported_and_verified_by_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two fires and their checkpoints; a changed byte and another server's key are refused."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    a_whole_story(world)
    notary = Notary(world.database, Clock(world), load(tmp_path), tmp_path / "checkpoints", lambda _t, _c: None)
    notary.step()
    world.sighting(at=(28.9465, 118.8))
    path = tmp_path / "whole.log"
    assert main(["evidence", "export-log", str(path)]) == 0
    verify = ["evidence", "verify-log", str(path), "--key", str(tmp_path / "evidence.pub")]
    assert main([*verify, "--checkpoint", str(tmp_path / "checkpoints" / "checkpoints.log")]) == 0
    assert "INTACT" in capsys.readouterr().out
    with world.database.read() as session:
        newest = log.latest(session)
        assert newest is not None
        assert path.read_bytes().count(b"\n") == newest.size
    path.write_bytes(path.read_bytes().replace(b"person:", b"parson:", 1))
    assert main(verify) == 1
    assert "not those that were signed" in capsys.readouterr().out
    (tmp_path / "stranger.pub").write_text(load(tmp_path / "stranger").public_text())
    assert main([*verify[:-1], str(tmp_path / "stranger.pub")]) == 2
