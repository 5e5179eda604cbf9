# SPDX-License-Identifier: AGPL-3.0-or-later
"""The outbox: nothing found is ever lost, whatever happens to the box."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import pytest

from detector.errors import OutboxError
from detector.link.outbox import Outbox
from detector.wire import ClockOffset, Interval, Onset, OnsetPicture, Sighting
from tests.detector.make import START, sighting

JPEG = b"\xff\xd8" + bytes(1000)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.sqlite")
    yield opened
    opened.close()


def test_messages_go_first_and_oldest_first(outbox: Outbox) -> None:
    """Messages in the order of finding; a picture only once its message is acknowledged."""
    first, second = sighting(JPEG), sighting(JPEG)
    outbox.put(first, JPEG, START)
    outbox.put(second, JPEG, START)
    assert outbox.due("sighting", 10) == [first.id, second.id]
    assert outbox.due("picture", 10) == []
    outbox.stored(first.id, "sighting")
    assert outbox.due("sighting", 10) == [second.id]
    assert outbox.due("picture", 10) == [first.id]
    assert outbox.picture(first.id) == JPEG
    outbox.stored(first.id, "picture")
    assert outbox.due("picture", 10) == []


def test_what_is_kept_is_what_was_found(outbox: Outbox) -> None:
    """A sighting comes back exactly as it went in, its id included."""
    found = sighting(JPEG)
    outbox.put(found, JPEG, START)
    assert outbox.sighting(found.id) == found


def test_it_survives_a_restart(tmp_path: Path) -> None:
    """What is in the outbox is there again when it is opened again."""
    path = tmp_path / "outbox.sqlite"
    found = sighting(JPEG)
    before = Outbox(path)
    before.put(found, JPEG, START)
    before.close()
    after = Outbox(path)
    assert after.due("sighting", 10) == [found.id]
    assert after.picture(found.id) == JPEG
    after.close()


def test_what_is_refused_for_good_is_parked_with_its_reason(outbox: Outbox) -> None:
    """A refusal stops the sending of message and picture, and keeps both to be looked at."""
    bad, good = sighting(JPEG), sighting()
    outbox.put(bad, JPEG, START)
    outbox.put(good, None, START)
    outbox.refused(bad.id, "sighting", "camera cam-1 is not registered")
    assert outbox.due("sighting", 10) == [good.id]
    assert outbox.due("picture", 10) == []
    parked = [(item.id, item.part, item.parked) for item in outbox.listing() if item.parked]
    reason = "camera cam-1 is not registered"
    assert parked == [(bad.id, "sighting", reason), (bad.id, "picture", reason)]


def onset_of(found: Sighting, jpeg: bytes) -> tuple[Onset, dict[str, bytes]]:
    """When that sighting's smoke first showed, with its two pictures."""
    key = str(uuid.uuid4())
    pictures = {f"{key}.clean": jpeg, f"{key}.first": jpeg}
    frame = OnsetPicture(at=START, sha256="0" * 64, bytes=len(jpeg))
    onset = Onset(
        id=key,
        sighting=found.id,
        t0=Interval(earliest=START, latest=START),
        clock=ClockOffset(),
        frames=9,
        box=found.box,
        frame=found.frame,
        clean=frame,
        first=frame,
    )
    return onset, pictures


def test_an_onset_follows_its_sighting_and_its_pictures_follow_it(outbox: Outbox) -> None:
    """Each is due only once the server has what it belongs to; it comes back as it went in."""
    found = sighting(JPEG)
    outbox.put(found, JPEG, START)
    onset, pictures = onset_of(found, JPEG)
    outbox.put_onset(onset, pictures, START)
    assert outbox.due("onset", 10) == []
    outbox.stored(found.id, "sighting")
    assert outbox.due("onset", 10) == [onset.id]
    assert outbox.onset(onset.id) == onset
    assert outbox.due("picture", 10) == [found.id]
    outbox.stored(onset.id, "onset")
    assert outbox.due("picture", 10) == [found.id, *pictures]
    for key in pictures:
        assert outbox.picture(key) == JPEG
        outbox.stored(key, "picture")
    assert outbox.due("picture", 10) == [found.id]


@pytest.mark.parametrize("part", ["sighting", "onset"])
def test_what_belongs_to_a_refused_message_is_parked_with_it(
    outbox: Outbox, part: Literal["sighting", "onset"]
) -> None:
    """A refused sighting takes its onset and all pictures along, a refused onset its own two."""
    found = sighting(JPEG)
    outbox.put(found, JPEG, START)
    onset, pictures = onset_of(found, JPEG)
    outbox.put_onset(onset, pictures, START)
    if part == "onset":
        outbox.stored(found.id, "sighting")
    outbox.refused(found.id if part == "sighting" else onset.id, part, "no")
    assert outbox.due("onset", 10) == []
    assert outbox.due("picture", 10) == ([] if part == "sighting" else [found.id])
    assert {item.parked for item in outbox.listing() if item.id in pictures} == {"no"}


def test_space_is_made_by_dropping_pictures_never_alarms(tmp_path: Path) -> None:
    """Refused pictures go first, then the oldest; every message stays."""
    box = Outbox(tmp_path / "outbox.sqlite", picture_budget=3 * len(JPEG))
    found = [sighting(JPEG) for _ in range(5)]
    for each in found[:3]:
        box.put(each, JPEG, START)
    box.refused(found[1].id, "sighting", "no")
    for each in found[3:]:
        box.put(each, JPEG, START)
    kept = [item.id for item in box.listing() if item.part == "picture"]
    assert kept == [found[2].id, found[3].id, found[4].id]
    assert len([item for item in box.listing() if item.part == "sighting"]) == 5
    box.close()


@contextmanager
def full_disk(longest: int = 0) -> Iterator[None]:
    """The system refuses every write that would make a file longer than so many bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was accepted stays; new sightings wait in memory, can be sent from there, and are written later."""
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path)
    kept, sent, late = sighting(JPEG), sighting(JPEG), sighting(JPEG)
    assert box.put(kept, JPEG, START)
    with full_disk():
        assert not box.put(sent, JPEG, START)
        assert not box.put(late, JPEG, START)
        due = box.due("sighting", 10)
        box.stored(sent.id, "sighting")
        with pytest.raises(OutboxError, match="free some disk space"):
            box.stored(kept.id, "sighting")
        after = box.due("sighting", 10)
        picture = box.due("picture", 10)
    assert due == [kept.id, sent.id, late.id]
    assert after == [kept.id, late.id]
    assert picture == [sent.id]
    assert caplog.text.count("wait in memory until there is room") == 1
    box.flush(START)
    box.close()
    again = Outbox(path)
    assert again.due("sighting", 10) == [kept.id, late.id]
    assert again.due("picture", 10) == [sent.id]
    assert again.picture(late.id) == JPEG
    again.close()


def test_a_damaged_file_is_put_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A torn file does not stop the box: it is kept for a person to look at, and an empty one started."""
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"this is no database" * 100)
    box = Outbox(path)
    found = sighting()
    assert box.put(found, None, START)
    assert box.due("sighting", 10) == [found.id]
    box.close()
    assert "is damaged" in caplog.text
    [aside] = tmp_path.glob("outbox.sqlite.damaged-*[0-9]")
    assert aside.read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize("seed", range(6))
def test_what_a_torn_file_still_holds_is_taken_over(tmp_path: Path, seed: int) -> None:
    """Pages overwritten, or the end cut off: alarms that can still be read are sent, what cannot be is not made up."""
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path)
    found = {each.id: each for each in (sighting(JPEG) for _ in range(60))}
    for each in found.values():
        box.put(each, JPEG, START)
    box.close()
    data = bytearray(path.read_bytes())
    chance = random.Random(seed)
    if seed % 2:
        del data[chance.randrange(len(data) // 2, len(data)) :]
    else:
        at = chance.randrange(8192, len(data) - 4096)
        data[at : at + 4096] = chance.randbytes(4096)
    path.write_bytes(data)
    box = Outbox(path)
    kept = box.due("sighting", 100)
    assert len(kept) >= 20
    assert all(box.sighting(key) == found[key] for key in kept)
    late = sighting()
    assert box.put(late, None, START)
    assert box.due("sighting", 100) == [*kept, late.id]
    box.close()


def test_a_damaged_file_is_taken_over_whole_though_the_disk_is_full_at_first(tmp_path: Path) -> None:
    """What had no room at the first attempt is not left behind at the second."""
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path)
    found = [sighting() for _ in range(300)]
    for each in found:
        box.put(each, None, START)
    box.close()
    data = path.read_bytes()
    with closing(sqlite3.connect(path)) as other:
        [page] = other.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'coverage'").fetchone()
    path.write_bytes(data[: (page - 1) * 4096] + b"\xa5" * 4096 + data[page * 4096 :])
    with full_disk(150_000):
        box = Outbox(path)
        assert box.due("sighting", 1000) == []
    box.flush(START)
    assert box.due("sighting", 1000) == [each.id for each in found]
    box.close()
    assert not list(tmp_path.glob("*.unread*"))


def test_a_power_cut_while_a_damaged_file_is_put_aside_loses_nothing(tmp_path: Path) -> None:
    """Its newest alarms still lie in the log beside the name that it had."""
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path)
    found = [sighting() for _ in range(3)]
    for each in found:
        box.put(each, None, START)
    cut = tmp_path / "cut"
    cut.mkdir()
    shutil.copy(path, cut / "outbox.sqlite.damaged-1.unread")
    shutil.copy(tmp_path / "outbox.sqlite-wal", cut / "outbox.sqlite-wal")
    box.close()
    again = Outbox(cut / "outbox.sqlite")
    assert again.due("sighting", 10) == [each.id for each in found]
    again.close()


def test_a_file_that_is_damaged_under_a_running_box_keeps_no_alarm_back(tmp_path: Path) -> None:
    """As a worn card does it: the new alarm can be sent, and so can what is still to be read of the old."""
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path)
    old = [sighting() for _ in range(200)]
    for each in old:
        box.put(each, None, START)
    box.close()
    box = Outbox(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xa5" * 4 * 4096)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE other (one)")  # what SQLite holds in memory counts no more
        other.commit()
    new = sighting()
    box.put(new, None, START)
    box.due("sighting", 1000)
    box.flush(START)
    *kept, last = box.due("sighting", 1000)
    assert last == new.id
    assert len(kept) >= 20
    assert kept == [each.id for each in old if each.id in set(kept)]
    assert box.unwritten == 0
    box.close()


@pytest.mark.parametrize("body", ["substr(body, 1, 50)", "CAST(x'ff7b' AS TEXT)"])
def test_an_alarm_that_can_no_longer_be_read_keeps_no_other_back(tmp_path: Path, body: str) -> None:
    """It is parked with the reason, whatever has become of its text."""
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path)
    torn, whole = sighting(), sighting()
    box.put(torn, None, START)
    box.put(whole, None, START)
    box.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"UPDATE messages SET body = {body} WHERE seq = 1")
        other.commit()
    box = Outbox(path)
    assert box.sighting(torn.id) is None
    assert box.due("sighting", 10) == [whole.id]
    assert [each.parked for each in box.listing()] == ["it can no longer be read on this box's disk", None]
    box.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A data folder below a file gets one sentence naming it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="check data_dir and its permissions"):
        Outbox(tmp_path / "file" / "outbox.sqlite")


WRITER = """
import sys
from pathlib import Path
from detector.link.outbox import Outbox
from tests.detector.make import START, sighting
box = Outbox(Path(sys.argv[1]))
jpeg = b"\\xff\\xd8" + bytes(20000)
while True:
    found = sighting(jpeg)
    box.put(found, jpeg, START)
    print(found.id, flush=True)
"""


def test_kill_9_at_any_instruction_loses_nothing(tmp_path: Path) -> None:
    """Whatever `put` returned for before the kill is there afterwards, once, with its picture, and no torn half."""
    path = tmp_path / "outbox.sqlite"
    accepted: list[str] = []
    for seed in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        accepted.append(writer.stdout.readline().strip())
        time.sleep(random.Random(seed).uniform(0, 0.15))
        writer.kill()
        accepted += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait(10)
    box = Outbox(path)
    kept = box.due("sighting", 100_000)
    pictures = [item.id for item in box.listing() if item.part == "picture"]
    box.close()
    assert [key for key in kept if key in set(accepted)] == accepted
    assert pictures == kept
    assert len(kept) <= len(accepted) + 6
