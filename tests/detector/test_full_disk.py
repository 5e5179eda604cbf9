# SPDX-License-Identifier: AGPL-3.0-or-later
"""A disk that is truly full: what is found meanwhile waits in memory, is sent from there, and is written later."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from detector.link.outbox import MOST_BYTES_IN_MEMORY, Outbox
from detector.upkeep.versions import Versions
from tests.detector.make import START, sighting
from tests.detector.test_outbox import JPEG, onset_of
from tests.detector.test_publisher import eventually, sending, serving
from tests.support.brokers import RunningBroker


class SmallDisk:
    """A file system of its own with room for one mebibyte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Take every byte that is left."""
        with (self.folder / "filler").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(512))
        assert os.statvfs(self.folder).f_bavail == 0

    def free(self) -> None:
        """Give it back."""
        (self.folder / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system (root)")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_alarms_and_onsets_outlast_a_full_disk(disk: SmallDisk) -> None:
    """Found while the disk is full, each is due in its turn with its pictures, and on disk as soon as there is room."""
    path = disk.folder / "outbox.sqlite"
    box = Outbox(path)
    before, found = sighting(JPEG), sighting(JPEG)
    assert box.put(before, JPEG, START)
    disk.fill()
    late, late_pictures = onset_of(before, JPEG)
    onset, pictures = onset_of(found, JPEG)
    assert not box.put_onset(late, late_pictures, START)
    assert not box.put(found, JPEG, START)
    assert not box.put_onset(onset, pictures, START)
    assert box.unwritten == 3
    assert box.due("sighting", 10) == [before.id, found.id]
    assert box.due("onset", 10) == []
    box.stored(found.id, "sighting")
    assert box.due("onset", 10) == [onset.id]
    assert box.onset(onset.id) == onset
    assert box.due("picture", 10) == [found.id]
    box.stored(onset.id, "onset")
    assert box.due("picture", 10) == [found.id, *pictures]
    box.stored(next(iter(pictures)), "picture")
    disk.free()
    box.flush(START)
    assert box.unwritten == 0
    box.close()
    again = Outbox(path)
    assert [(item.part, item.id) for item in again.listing()] == [
        ("sighting", before.id),
        ("onset", late.id),
        ("picture", before.id),
        *(("picture", key) for key in late_pictures),
        ("picture", found.id),
        ("picture", list(pictures)[1]),
    ]
    assert again.onset(late.id) == late
    again.close()


def test_memory_is_bounded_by_dropping_pictures(disk: SmallDisk) -> None:
    """However long the disk stays full: the oldest pictures go, no message does."""
    box = Outbox(disk.folder / "outbox.sqlite")
    disk.fill()
    large = bytes(MOST_BYTES_IN_MEMORY // 3)
    found = [sighting(large) for _ in range(5)]
    for each in found:
        box.put(each, large, START)
    assert box.due("sighting", 10) == [each.id for each in found]
    assert [box.picture(each.id) is not None for each in found] == [False, False, True, True, True]
    box.close()


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_a_box_that_starts_on_a_full_disk_still_sends(disk: SmallDisk, broker: RunningBroker) -> None:
    """No file can be made: the alarm and its picture go from memory; the old file's follow later."""
    path = disk.folder / "outbox.sqlite"
    box = Outbox(path)
    old, new = sighting(JPEG), sighting(JPEG)
    box.put(old, JPEG, START)
    box.close()
    disk.fill()
    assert not (disk.folder / "outbox.sqlite-wal").exists()
    box = Outbox(path)
    with serving(broker) as server, sending(broker, box) as publisher:
        box.put(new, JPEG, START)
        publisher.wake()
        eventually(lambda: new.id in server.pictures)
        assert server.ids == [new.id]
        disk.free()
        eventually(lambda: old.id in server.pictures)
        eventually(lambda: not box.listing())
    box.close()


def test_a_failing_duty_keeps_no_alarm_back(disk: SmallDisk, broker: RunningBroker) -> None:
    """Whoever cannot write on a full disk is passed over, at each step."""
    box = Outbox(disk.folder / "outbox.sqlite")
    disk.fill()
    found = sighting()
    with serving(broker) as server, sending(broker, box) as publisher:
        publisher.attend(lambda: (disk.folder / "more").write_text("x" * 10_000) and None)
        box.put(found, None, START)
        publisher.wake()
        eventually(lambda: server.ids == [found.id])
    box.close()


def test_a_broken_duty_keeps_no_alarm_back(tmp_path: Path, broker: RunningBroker) -> None:
    """Nor does one that fails in a way nobody thought of."""
    box = Outbox(tmp_path / "outbox.sqlite")
    found = sighting()

    def broken() -> None:
        raise ValueError("nobody thought of this")

    with serving(broker) as server, sending(broker, box) as publisher:
        publisher.attend(broken)
        box.put(found, None, START)
        publisher.wake()
        eventually(lambda: server.ids == [found.id])
    box.close()


def test_a_trial_goes_on_when_its_count_cannot_be_written(disk: SmallDisk) -> None:
    """A start on a full disk is counted in memory, and a roll-back holds for as long as the box runs."""
    versions = Versions(disk.folder / "versions")
    versions.add("masks", {"masks.yaml": b"{}"}, pushed=1)
    disk.fill()
    versions.roll_back("masks", "it blinds the box")
    assert versions.number("masks") == 0
    assert versions.report()["masks"].result == "rolled_back"
