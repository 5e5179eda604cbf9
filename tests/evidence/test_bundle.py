# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bundles and the log: intact says intact, and every change is caught and named."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from server.domain.errors import Missing
from server.domain.lifecycle import Event
from server.evidence import bundle, log, verify
from server.evidence.check import check
from server.evidence.keys import SigningKey, load
from server.evidence.notary import Notary
from server.models import Callout, Incident, JournalEntry, LogLeaf, Notice, Person
from server.services import bulk, incidents, journal, notices, onsets, outcomes
from server.services.notices import Draft
from server.settings import SettingsError
from tests.support.world import START, World, jpeg

Files = dict[str, bytes]


class Clock:
    """The world's clock."""

    def __init__(self, world: World) -> None:
        self.world = world

    def now(self, _session: object) -> Any:
        """The world's time."""
        return self.world.now


def notary(world: World, tmp_path: Path) -> tuple[Notary, SigningKey, list[tuple[str, bytes]]]:
    """A notary whose messages are kept in a list."""
    key, sent = load(tmp_path), []  # type: ignore[var-annotated]
    return (
        Notary(world.database, Clock(world), key, tmp_path / "checkpoints", lambda *message: sent.append(message)),
        key,
        sent,
    )


def told(world: World, fire: str) -> None:
    """The owner is told by one channel, which says that it arrived, and by another, which cannot reach them."""
    with world.database.write() as session:
        callout = session.scalars(select(Callout).join(Incident).where(Incident.code == fire)).first()
        worker = session.get_one(Person, world.people["worker-1"])
        assert callout is not None
        made = notices.expand(callout, [Draft(worker, "mqtt", {}), Draft(worker, "sms", {})], world.now)
        writes = bulk.Writes(session)
        notices.write(writes, made)
        writes.run()
        for notice in made:
            outcomes.record_sent(session, {notice.id: "ref"}, world.now)
        arrived, lost = (session.get_one(Notice, notice.id) for notice in made)
        outcomes.record_delivered(session, arrived, world.now + timedelta(seconds=1))
        outcomes.record_undelivered(session, lost, "unknown number", world.now + timedelta(seconds=2))


def a_whole_story(world: World) -> str:
    """A fire with pictures, notices, a note, a position, an undo, an onset found later, a rejected report and a
    close, beside another one."""
    picture = jpeg(90)
    fire = world.dispatched(picture=picture, sighting_id="0b0f0f2e-0000-4000-8000-00000000000a")
    from server.services import pictures

    with world.database.write() as session:
        pictures.add_edge_picture(
            session, "0b0f0f2e-0000-4000-8000-00000000000a", "edge-1", picture, folder=world.evidence, now=world.now
        )
    told(world, fire)
    world.advance(minutes=2.5)
    report = onsets.OnsetReport(
        id="0b0f0f2e-0000-4000-8000-00000000000b",
        edge="edge-1",
        sighting="0b0f0f2e-0000-4000-8000-00000000000a",
        t0_earliest=START - timedelta(seconds=40),
        t0_latest=START - timedelta(seconds=30),
        clock_offset_ms=1500.0,
        clock_error_ms=50.0,
        frames=12,
        clean_sha256=None,
        first_sha256=None,
        message={},
    )
    with world.database.write() as session:
        onsets.record(session, report, world.now)
    world.apply(fire, Event.ACCEPT, "worker-2")
    world.apply(fire, Event.UNDO, "worker-2")
    world.apply(fire, Event.ACCEPT, "worker-1", note="马上到", lat=28.96, lon=118.81, answer_id="tap-1")
    world.advance(minutes=6)
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.report_done(fire, "worker-1")
    world.apply(fire, Event.REJECT, "county", note="still smoking")
    world.advance(minutes=3)
    world.report_done(fire, "worker-1", jpeg(30))
    world.apply(fire, Event.VERIFY, "county")
    world.apply(fire, Event.CLOSE, "county")
    return fire


@pytest.fixture
def exported(world: World, tmp_path: Path) -> tuple[Files, verify.Key, SigningKey]:
    """The files of a whole story's bundle, and the key."""
    fire = a_whole_story(world)
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    with world.database.read() as session:
        files = bundle.export(session, fire, key, world.evidence, world.now)
    return files, verify.Key.parse(key.public_text()), key


def faults(files: Files, key: verify.Key, tmp_path: Path) -> list[str]:
    """What the verifier says of these files."""
    path = tmp_path / "bundle.zip"
    bundle.write(path, files)
    return verify.verify(path, key)


def test_an_untouched_bundle_is_intact(exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path) -> None:
    """And says so as one file, run alone, on the command line."""
    files, key, _ = exported
    assert faults(files, key, tmp_path) == []
    (tmp_path / "key").write_text(key.text)
    alone = tmp_path / "verify.py"
    alone.write_bytes(Path(verify.__file__).read_bytes())
    command = [sys.executable, "-I", str(alone), str(tmp_path / "bundle.zip"), "--key", str(tmp_path / "key")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout[:6]) == (0, "INTACT")
    assert sum(name.startswith("pictures/") for name in files) == 3
    assert files["timeline.pdf"].startswith(b"%PDF")


def lines_of(files: Files) -> list[Any]:
    """The journal's lines."""
    return [json.loads(line) for line in files["journal.jsonl"].splitlines()]


def with_lines(files: Files, lines: list[Any]) -> Files:
    """The same bundle with other lines."""
    content = "".join(journal.canonical(line) + "\n" for line in lines)
    return files | {"journal.jsonl": content.encode()}


def re_signed(files: Files, key: SigningKey) -> Files:
    """The operator repacks and signs the changed bundle with the real key."""
    with_head = {name: content for name, content in files.items() if name != "manifest.txt"}
    return with_head | {"manifest.txt": bundle._manifest(key, Incident(code="X"), with_head, _NOW)}


_NOW = __import__("datetime").datetime(2026, 10, 8, tzinfo=__import__("datetime").UTC)


def rechained(lines: list[Any]) -> list[Any]:
    """Lines with hashes computed anew, as a forger would."""
    previous, out = journal.GENESIS, []
    for line in lines:
        digest = journal.chained(previous, line["line"])
        out.append({"line": line["line"], "prev_hash": previous, "hash": digest})
        previous = digest
    return out


def test_every_changed_line_is_named_even_when_the_operator_signs_again(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path
) -> None:
    """Any field of any line: the line is named, with the real key on the manifest all the same."""
    files, key, signing = exported
    lines = lines_of(files)
    for number, entry in enumerate(lines):
        for name, value in (("actor", "person:99"), ("at", "2026-10-08T09:00:30.000000+00:00"), ("data", {"x": 1})):
            if entry["line"][name] == value:
                continue
            changed = json.loads(json.dumps(lines))
            changed[number]["line"][name] = value
            found = faults(re_signed(with_lines(files, changed), signing), key, tmp_path)
            assert any(f"journal line {number + 1} " in fault for fault in found), (number, name, found)


def test_a_journal_hashed_anew_is_not_in_the_log(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path
) -> None:
    """The forger recomputes the whole chain and signs the bundle: the Merkle proofs give it away."""
    files, key, signing = exported
    lines = lines_of(files)
    accept = next(line for line in lines if line["line"]["event"] == "accept")
    accept["line"]["at"] = "2026-10-08T09:01:00.000000+00:00"
    forged = with_lines(files, rechained(lines))
    head = {"incident": "X", "lines": len(lines), "hash": rechained(lines)[-1]["hash"]}
    found = faults(re_signed(forged | {"head.json": json.dumps(head).encode()}, signing), key, tmp_path)
    assert any("is not in the server's log" in fault for fault in found)


def test_every_deletion_reordering_and_truncation_is_caught(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path
) -> None:
    """Each line taken out, each pair exchanged, each end cut off; each file taken out, added, renamed."""
    files, key, _ = exported
    lines = lines_of(files)
    for number in range(len(lines)):
        assert faults(with_lines(files, lines[:number] + lines[number + 1 :]), key, tmp_path)
        assert faults(with_lines(files, lines[:number]), key, tmp_path)
    for number in range(len(lines) - 1):
        swapped = lines[:number] + [lines[number + 1], lines[number]] + lines[number + 2 :]
        found = faults(with_lines(files, swapped), key, tmp_path)
        assert any("out of order" in fault for fault in found)
    for name in files:
        rest = {other: content for other, content in files.items() if other != name}
        assert any(name in fault for fault in faults(rest, key, tmp_path)), name
        assert faults(rest | {f"x{name}": files[name]}, key, tmp_path)
    assert "note.txt: was added after the export" in faults(files | {"note.txt": b"x"}, key, tmp_path)


def test_every_flipped_byte_is_caught(exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path) -> None:
    """Two hundred random single-byte changes across all files: none passes, and the file is named."""
    files, key, _ = exported
    chance = random.Random(1530)
    for _ in range(200):
        name = chance.choice(sorted(files))
        at = chance.randrange(len(files[name]))
        content = bytearray(files[name])
        content[at] ^= 1 << chance.randrange(8)
        found = faults(files | {name: bytes(content)}, key, tmp_path)
        assert any(fault.startswith(name) for fault in found), (name, at, found)


def test_no_flipped_bit_of_the_zip_itself_passes_or_crashes(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path
) -> None:
    """Five hundred: a sentence, a named change, or a bit that means nothing because all contents are the same."""
    files, key, _ = exported
    assert faults(files, key, tmp_path) == []
    whole = (tmp_path / "bundle.zip").read_bytes()
    chance, torn, refused = random.Random(30), tmp_path / "torn.zip", 0
    for _ in range(500):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        torn.write_bytes(content)
        try:
            if not verify.verify(torn, key):
                assert verify.Bundle.read(torn).files == files
        except verify.Unreadable:
            refused += 1
    assert refused > 400


Change = Callable[[Any], Any]


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("policy.json", lambda body: body | {"respond_limit_s": 900}, "is not the policy this incident began under"),
        (
            "stamps.json",
            lambda body: body | {"stamps": body["stamps"] | {"t4": None}},
            "stamps.t4 is .* by the journal",
        ),
        ("private.json", lambda rows: [row | {"value": "x"} for row in rows], "is not what was recorded"),
        ("private.json", lambda rows: rows[1:], "neither there nor said to be erased"),
        ("proof.json", lambda rows: rows[1:], "journal line 1: its proof is missing"),
    ],
)
def test_what_the_operator_signs_again_is_held_against_the_journal(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path, name: str, change: Change, sentence: str
) -> None:
    """Policy, stamps, personal details and proofs are bound to the chain and not only to the manifest."""
    files, key, signing = exported
    changed = re_signed(files | {name: json.dumps(change(json.loads(files[name]))).encode()}, signing)
    found = "\n".join(faults(changed, key, tmp_path))
    import re

    assert re.search(sentence, found), found


def other(value: Any) -> Any:
    """Something else."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "2026-10-08T09:00:00.5+00:00"


def changed_once(value: Any) -> Iterator[Any]:
    """Plain data with each of its values changed in turn, and each entry of its lists taken out."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from (value | {name: changed} for changed in changed_once(one))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield value[:number] + value[number + 1 :]
            yield from (value[:number] + [changed] + value[number + 1 :] for changed in changed_once(one))
    else:
        yield other(value)


def test_every_time_and_verdict_is_computed_once_more(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path
) -> None:
    """Each stamp, bound, clock and share, and who was told when: changed and signed again, it is named."""
    files, key, signing = exported
    stated, receipts = json.loads(files["stamps.json"]), json.loads(files["receipts.json"])
    assert stated["stamps"]["t0_latest"] == (START - timedelta(seconds=28.45)).isoformat()  # as the onset says
    assert sorted(one["state"] for one in receipts) == ["delivered", "failed"]
    free = ("state", "attempts", "provider_ref", "created_at")
    forged = [("stamps.json", {"at": stated["at"]} | one) for one in changed_once(_without(stated, "at"))]
    forged += [
        ("receipts.json", one)
        for one in changed_once(receipts)
        if [_without(row, *free) for row in one] != [_without(row, *free) for row in receipts]
    ]
    assert len(forged) > 60
    for name, content in forged:
        files[name] = json.dumps(content).encode()
        found = "\n".join(faults(re_signed(files, signing), key, tmp_path))
        assert name in found, content
        files |= {"stamps.json": json.dumps(stated).encode(), "receipts.json": json.dumps(receipts).encode()}


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def test_an_answer_that_waited_for_its_turn_is_judged_alike_by_record_and_verifier(
    world: World, tmp_path: Path
) -> None:
    """Received before a receipt was written and written after it: both take the moment of receipt, and it is intact."""
    fire = world.dispatched()
    world.advance(seconds=3)
    world.apply(fire, Event.REVIEW_REAL, "county")
    world.now -= timedelta(seconds=2)
    world.apply(fire, Event.ACCEPT, "worker-1")
    assert world.journal(fire)[-1].data["received_at"] == world.now.isoformat()
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    with world.database.read() as session:
        files = bundle.export(session, fire, key, world.evidence, world.now)
    stated = json.loads(files["stamps.json"])
    assert stated["stamps"]["t4"] == stated["parties"][-1]["answered_at"] == world.now.isoformat()
    assert faults(files, verify.Key.parse(key.public_text()), tmp_path) == []


def test_a_notice_recorded_late_sets_no_clock_back(world: World, tmp_path: Path) -> None:
    """It left five seconds after the alert, which was written down after the answer: nobody's clock is in doubt, the
    moment is kept, and so is the verdict."""
    fire = world.dispatched()
    world.now += timedelta(seconds=30)
    world.apply(fire, Event.ACCEPT, "worker-1")
    with world.database.write() as session:
        callout = session.scalars(select(Callout).join(Incident).where(Incident.code == fire)).first()
        assert callout is not None
        worker = session.get_one(Person, world.people["worker-1"])
        made = notices.expand(callout, [Draft(worker, "mqtt", {})], START)
        writes = bulk.Writes(session)
        notices.write(writes, made)
        writes.run()
        left = START + timedelta(seconds=5)
        outcomes.record_sent(session, {made[0].id: "ref"}, world.now, {made[0].id: left})
    line = world.journal(fire)[-1]
    assert (line.event, line.at, line.data["received_at"]) == (Event.SENT, world.now, left.isoformat())
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.report_done(fire, "worker-1")
    worker_, key, _ = notary(world, tmp_path)
    worker_.step()
    with world.database.read() as session:
        files = bundle.export(session, fire, key, world.evidence, world.now)
    assert json.loads(files["stamps.json"])["clocks"][2]["verdict"] == "kept"
    assert faults(files, verify.Key.parse(key.public_text()), tmp_path) == []


def test_a_note_with_any_sign_in_it_is_one_line(world: World, tmp_path: Path) -> None:
    """Line separators of other scripts within a text do not break the journal's lines apart."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1", comment="a\u2028b\x85c")
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    with world.database.read() as session:
        files = bundle.export(session, fire, key, world.evidence, world.now)
    assert faults(files, verify.Key.parse(key.public_text()), tmp_path) == []


def test_another_key_and_a_torn_bundle_are_refused_in_a_sentence(
    exported: tuple[Files, verify.Key, SigningKey], tmp_path: Path
) -> None:
    """A stranger's key, half a zip, a text file."""
    files, key, _ = exported
    stranger = verify.Key.parse(load(tmp_path / "stranger").public_text())
    assert any("carries no signature" in fault for fault in faults(files, stranger, tmp_path))
    whole = (tmp_path / "bundle.zip").read_bytes()
    for content in (whole[: len(whole) // 2], b"not a zip", b""):
        (tmp_path / "torn.zip").write_bytes(content)
        with pytest.raises(verify.Unreadable, match="cannot be read"):
            verify.verify(tmp_path / "torn.zip", key)
    with pytest.raises(verify.Unreadable, match="key cannot be read"):
        verify.Key.parse("straw1530+00+zz")


def test_a_detail_erased_by_law_leaves_an_intact_bundle(world: World, tmp_path: Path) -> None:
    """The note is gone from database and bundle, what it was is not to be found, and nothing is broken."""
    fire = a_whole_story(world)
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    with world.database.write() as session:
        line = next(entry for entry in world.journal(fire) if entry.data.get("note") == "马上到")
        journal.erase(session, incidents.lock(session, fire), line.seq, "note", world.now)
    with world.database.read() as session:
        files = bundle.export(session, fire, key, world.evidence, world.now)
    assert faults(files, verify.Key.parse(key.public_text()), tmp_path) == []
    assert not any("马上到".encode() in content for content in files.values())


# The log


def test_the_log_proves_every_line_across_stored_subtrees(world: World, tmp_path: Path) -> None:
    """More than 256 lines, taken in in ragged batches: stored roots and proofs agree with the whole computed anew."""
    from server.evidence import merkle

    fire = world.dispatched()
    key = load(tmp_path)
    sizes = [3, 100, 200, 256, 300, 511, 515]
    with world.database.write() as session:
        for _ in range(520):
            incident = incidents.lock(session, fire)
            journal.append(
                session, incident, Event.SIGHTING, journal.State(incident.state), actor="system:engine", now=world.now
            )
        session.flush()
    notes = []
    for before, size in zip([0, *sizes], sizes, strict=False):
        with world.database.write() as session:
            checkpoint = log.take_in(session, key, world.now, limit=size - before)
            assert checkpoint is not None
            notes.append(checkpoint.note)
    with world.database.read() as session:
        leaves = [bytes.fromhex(value) for value in session.scalars(select(LogLeaf.hash).order_by(LogLeaf.position))]
        tree = log.Tree(session)
        for size in sizes:
            assert tree.root(size) == merkle.root_of(leaves[:size])
        for position in (0, 255, 256, 300, 514):
            path = log.Tree(session).inclusion(position, 515)
            assert verify.root_by_path(leaves[position], position, 515, path) == merkle.root_of(leaves)
        public = verify.Key.parse(key.public_text())
        for number, old in enumerate(sizes):
            proof = {"old": notes[number], "new": notes[-1]}
            path = log.Tree(session).consistency(old, 515)
            assert verify.growth_fault(proof | {"path": [step.hex() for step in path]}, public) is None


def test_checkpoints_are_published_once_and_only_when_something_is_new(world: World, tmp_path: Path) -> None:
    """To a file and as a message; a second look at a quiet journal says nothing."""
    world.dispatched()
    worker, key, sent = notary(world, tmp_path)
    assert (worker.step(), worker.step()) == (1, 0)
    [(topic, content)] = sent
    assert topic == "straw1530/v1/server/checkpoint"
    assert (tmp_path / "checkpoints" / "checkpoint.txt").read_bytes() == content
    assert verify.Note.parse(content.decode(), verify.Key.parse(key.public_text())).size == 2
    again, _, told = notary(world, tmp_path)  # the engine starts anew, with a broker that forgot
    assert again.step() == 0
    assert told == sent
    assert (tmp_path / "checkpoints" / "checkpoints.log").read_text().count("\n— ") == 1


def test_a_checkpoint_that_could_not_be_handed_out_is_at_the_next_step(world: World, tmp_path: Path) -> None:
    """A full disk or a broker away: signed all the same, and published once that is over."""
    world.dispatched()
    sent, faults = [], [OSError("no space left")]

    def publish(topic: str, content: bytes) -> None:
        if faults:
            raise faults.pop()
        sent.append((topic, content))

    worker = Notary(world.database, Clock(world), load(tmp_path), tmp_path / "checkpoints", publish)
    with pytest.raises(OSError, match="no space"):
        worker.step()
    assert (worker.step(), len(sent)) == (0, 1)
    assert (worker.step(), len(sent)) == (0, 1)
    assert (tmp_path / "checkpoints" / "checkpoints.log").read_text().count("\n— ") == 1


def unlock(world: World, session: Any) -> None:
    """An operator with all rights takes the triggers away."""
    if world.database.engine.dialect.name == "sqlite":
        for name in session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).all():
            session.execute(text(f"DROP TRIGGER {name}"))
    else:
        for table in ("journal", "log_leaves", "log_checkpoints", "log_nodes"):
            session.execute(text(f"DROP FUNCTION {table}_append_only() CASCADE"))


def test_history_rewritten_by_the_operator_is_seen_from_a_kept_checkpoint(world: World, tmp_path: Path) -> None:
    """All hashes, the whole log and all checkpoints made anew with the real key: the copy kept outside disagrees."""
    fire = a_whole_story(world)
    worker, key, sent = notary(world, tmp_path)
    worker.step()
    public = verify.Key.parse(key.public_text())
    kept = sent[-1][1].decode()
    with world.database.read() as session:
        assert check(session, public, [kept]) == []
    with world.database.write() as session:
        unlock(world, session)
        session.execute(text("DELETE FROM log_leaves"))
        session.execute(text("DELETE FROM log_checkpoints"))
        incident = incidents.lock(session, fire)
        previous = journal.GENESIS
        for row in journal.lines(session, incident.id):
            row.at += timedelta(seconds=-1 if row.event == "accept" else 0)
            row.prev_hash = previous
            row.hash = previous = journal.chained(previous, journal.line_of(row))
        incident.last_hash = previous
    worker.step()
    with world.database.read() as session:
        assert check(session, public) == []  # nothing inside gives it away
        [fault] = check(session, public, [kept])
        assert "is not the one that was signed" in fault


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE journal SET actor = 'person:9' WHERE seq = 3", "line 3 was changed"),
        ("UPDATE journal SET answer_id = 'x' WHERE seq = 3", "line 3 was changed"),
        ("DELETE FROM journal WHERE seq = 4", "are missing"),
        ("UPDATE journal_private SET salt = '00' WHERE name = 'note'", "the 'note' of line"),
        ("UPDATE incidents SET last_seq = last_seq - 1", "does not end where it should"),
        ("UPDATE log_leaves SET hash = (SELECT hash FROM log_leaves WHERE position = 1) WHERE position = 2", "place 2"),
        ("DELETE FROM log_leaves WHERE position > 4", "checkpoint of"),
        ("UPDATE log_checkpoints SET root = '00'", "its signed text says something else"),
    ],
)
def test_a_change_in_the_database_is_found_and_named(
    world: World, tmp_path: Path, statement: str, sentence: str
) -> None:
    """With the triggers gone and foreign keys off."""
    a_whole_story(world)
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    with world.database.write() as session:
        unlock(world, session)
        if "DELETE FROM journal" in statement:
            session.execute(text("DELETE FROM log_leaves WHERE journal_id = (SELECT id FROM journal WHERE seq = 4)"))
            session.execute(text("DELETE FROM journal_private"))
        session.execute(text(statement))
    with world.database.read() as session:
        found = check(session, verify.Key.parse(key.public_text()))
    assert any(sentence in fault for fault in found), found


def test_a_bundle_waits_for_its_checkpoint(world: World, tmp_path: Path) -> None:
    """A line that is under no checkpoint cannot be proved yet, and nothing half-proved is written."""
    fire = world.dispatched()
    worker, key, _ = notary(world, tmp_path)
    worker.step()
    world.apply(fire, Event.ACCEPT, "worker-1")
    with world.database.read() as session, pytest.raises(Missing, match="under no checkpoint yet"):
        bundle.export(session, fire, key, world.evidence, world.now)
    with world.database.read() as session, pytest.raises(Missing, match="no incident"):
        bundle.export(session, "ZZZZ", key, world.evidence, world.now)


def test_the_key_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    """Readable by its owner alone; a damaged one is refused and not overwritten."""
    assert load(tmp_path).public_text() == load(tmp_path).public_text()
    path = tmp_path / "evidence.key"
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("damaged")
    with pytest.raises(SettingsError, match="put the server's key back"):
        load(tmp_path)
    assert path.read_text() == "damaged"


def test_lines_committed_late_still_come_into_the_log(world: World, tmp_path: Path) -> None:
    """A slow transaction's line has a smaller number than one already in: it is taken in with the next batch."""
    if world.database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time: numbers are committed in order")
    first, second = world.sighting(), world.sighting(at=(28.9465, 118.800))
    key = load(tmp_path)
    with world.database.write() as slow:
        one = incidents.lock(slow, first)
        journal.append(slow, one, Event.SIGHTING, journal.State(one.state), actor="system:engine", now=world.now)
        slow.flush()
        with world.database.write() as fast:
            two = incidents.lock(fast, second)
            journal.append(fast, two, Event.SIGHTING, journal.State(two.state), actor="system:engine", now=world.now)
        with world.database.write() as session:
            assert log.take_in(session, key, world.now) is not None
    with world.database.write() as session:
        assert log.take_in(session, key, world.now) is not None
    with world.database.read() as session:
        assert session.query(LogLeaf).count() == session.query(JournalEntry).count()
