#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Verify an incident's evidence bundle: intact, or exactly what was changed.

This file stands alone: Python 3.11 and the package ``cryptography`` are all it needs. It shares no code with the
server that wrote the bundle. Take it from the project's repository and not from whoever hands you the bundle.

    python3 verify.py BUNDLE.zip --key straw1530.pub [--checkpoint PUBLISHED ...] [--growth PROOF.json ...]

``--key`` is the server's published key. ``--checkpoint`` is a checkpoint that you kept (file, MQTT or mail): one log
must contain both it and the bundle. Where they speak of different sizes, ``--growth`` is the server's proof of that
(`evidence growth`): one from yours and, unless it ends at the bundle's, one from the bundle's checkpoint.txt.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

GENESIS = "0" * 64
MAX_BYTES = 512 * 1024 * 1024
Faults = list[str]
# What a damaged zip makes the standard library raise.
_TORN = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, NotImplementedError)


class Unreadable(Exception):
    """The bundle, key or checkpoint cannot be read at all; the sentence says why."""


@dataclass(frozen=True)
class Key:
    """A verifier key in the signed-note form: name+id+base64(0x01 ‖ public key)."""

    name: str
    number: bytes
    public: Ed25519PublicKey
    text: str

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read the one line of a key file. Raises Unreadable."""
        try:
            name, number, encoded = text.strip().split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            if raw[0] != 1 or key_number(name, raw) != bytes.fromhex(number):
                raise ValueError("its number does not fit")
            return cls(name, bytes.fromhex(number), Ed25519PublicKey.from_public_bytes(raw[1:]), text.strip())
        except (ValueError, IndexError) as error:
            raise Unreadable(f"the key cannot be read: {error}") from None


def key_number(name: str, raw: bytes) -> bytes:
    """The four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]


@dataclass(frozen=True)
class Note:
    """A signed checkpoint: so many leaves, this root."""

    size: int
    root: bytes

    @classmethod
    def parse(cls, text: str, key: Key) -> Note:
        """Read and check a checkpoint's signature. Raises Unreadable."""
        body = open_note(text, key)
        lines = body.split("\n")
        try:
            return cls(int(lines[1]), base64.b64decode(lines[2], validate=True))
        except (ValueError, IndexError) as error:
            raise Unreadable(f"the checkpoint cannot be read: {error}") from None


def open_note(text: str, key: Key) -> str:
    """The text of a signed note. Raises Unreadable unless the key signed exactly this text."""
    body, blank, signatures = text.rpartition("\n\n")
    if not blank:
        raise Unreadable("it is not a signed note")
    for line in signatures.splitlines():
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.rpartition(" ")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except ValueError:
            continue
        if dash != "—" or name != key.name or raw[:4] != key.number:
            continue
        try:
            key.public.verify(raw[4:], (body + "\n").encode())
            return body + "\n"
        except InvalidSignature:
            raise Unreadable("its signature is wrong: the text was changed, or another key signed it") from None
    raise Unreadable(f"it carries no signature by {key.name}")


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: what hashes are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def root_by_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that an inclusion path leads to (RFC 9162, 2.1.3.2); None when it has the wrong length."""
    if index >= size:
        return None
    fn, sn, found = index, size - 1, leaf
    for step in path:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            found = hashlib.sha256(b"\x01" + step + found).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = hashlib.sha256(b"\x01" + found + step).digest()
        fn, sn = fn >> 1, sn >> 1
    return found if sn == 0 else None


def grown(old: Note, new: Note, path: Sequence[bytes]) -> bool:
    """Whether the path shows the old tree to be a beginning of the new (RFC 9162, 2.1.4.2)."""
    if old.size == new.size:
        return not path and old.root == new.root
    if not 0 < old.size < new.size:
        return False
    steps = list(path)
    if old.size & (old.size - 1) == 0:
        steps.insert(0, old.root)
    if not steps:
        return False
    fn, sn = old.size - 1, new.size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first = hashlib.sha256(b"\x01" + step + first).digest()
            second = hashlib.sha256(b"\x01" + step + second).digest()
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = hashlib.sha256(b"\x01" + second + step).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old.root and second == new.root


@dataclass
class Bundle:
    """The files of a bundle by name, with what is told of them on the way."""

    files: dict[str, bytes]
    faults: Faults = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """Read a bundle. Raises Unreadable."""
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
                if sum(info.file_size for info in infos) > MAX_BYTES:
                    raise Unreadable("the bundle is larger than 512 MiB")
                names = [info.filename for info in infos]
                if doubled := sorted({name for name in names if names.count(name) > 1}):
                    raise Unreadable(f"the bundle holds a file twice: {', '.join(doubled)}")
                return cls({name: archive.read(name) for name in names})
        except (*_TORN, OSError, RuntimeError, ValueError, EOFError) as error:
            raise Unreadable(f"the bundle cannot be read: {error}") from None

    def json(self, name: str) -> Any:
        """A file's content; a fault and None when it cannot be read."""
        try:
            return json.loads(self.files[name])
        except KeyError:
            return None  # the manifest's check says that it is missing
        except ValueError:
            self.faults.append(f"{name}: is not JSON")
            return None


def verify(path: Path, key: Key, checkpoints: Sequence[str] = ()) -> Faults:
    """Everything that does not hold, one sentence each; an empty list means intact. Raises Unreadable."""
    bundle = Bundle.read(path)
    lines = _read_lines(bundle)
    _check_manifest(bundle, key)
    try:
        _check_chain(bundle, lines)
        _check_private(bundle, lines)
        _check_inclusion(bundle, lines, key, checkpoints)
        _check_pictures(bundle, lines)
        _check_policy(bundle, lines)
        _check_receipts(bundle, lines)
        _check_stamps(bundle, lines)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        bundle.faults.append(f"the bundle's content has not the form it was written in: {error!r}")
    return bundle.faults


def _read_lines(bundle: Bundle) -> list[dict[str, Any]]:
    found = []
    # Not splitlines, which also splits at signs that a text within a line may hold.
    texts = bundle.files.get("journal.jsonl", b"").decode("utf-8", "replace").removesuffix("\n").split("\n")
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict) or not isinstance(line.get("line"), dict):
                raise ValueError("not a line")
            found.append(line)
        except ValueError:
            bundle.faults.append(f"journal.jsonl: its text line {number} is not a line of the journal")
    return found


def _check_manifest(bundle: Bundle, key: Key) -> None:
    """The signed list of all files: names what was changed, added or taken away."""
    try:
        note = open_note(bundle.files.get("manifest.txt", b"").decode("utf-8", "replace"), key)
    except Unreadable as error:
        bundle.faults.append(f"manifest.txt: {error}")
        note = bundle.files.get("manifest.txt", b"").decode("utf-8", "replace").rpartition("\n\n")[0]
    rows = [row.split("  ", 1) for row in note.splitlines()[2:] if "  " in row]
    listed = {name: digest for digest, name in rows}
    for name, content in sorted(bundle.files.items()):
        if name == "manifest.txt":
            continue
        if name not in listed:
            bundle.faults.append(f"{name}: was added after the export")
        elif hashlib.sha256(content).hexdigest() != listed[name]:
            bundle.faults.append(f"{name}: was changed after the export")
    bundle.faults += [f"{name}: was taken out of the bundle" for name in sorted(set(listed) - set(bundle.files))]


def _check_chain(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    previous, at = GENESIS, ""
    numbers = [entry["line"]["seq"] for entry in lines]
    wanted = list(range(1, len(lines) + 1))
    if numbers != wanted:
        if sorted(numbers) == wanted:
            bundle.faults.append(f"journal: its lines are out of order: {numbers}")
        elif missing := sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers)):
            bundle.faults.append(f"journal: lines are missing: {missing}")
        else:
            bundle.faults.append(f"journal: its lines are numbered {numbers}")
    for entry in lines:
        line, seq = entry["line"], entry["line"]["seq"]
        if hashlib.sha256((entry["prev_hash"] + canonical(line)).encode()).hexdigest() != entry["hash"]:
            bundle.faults.append(f"journal line {seq} ({line['event']}): its content is not what was recorded")
        if entry["prev_hash"] != previous:
            bundle.faults.append(f"journal line {seq} ({line['event']}): does not follow the line above it")
        if line["at"] < at:
            bundle.faults.append(f"journal line {seq} ({line['event']}): stands before the line above it in time")
        previous, at = entry["hash"], line["at"]
    head = bundle.json("head.json")
    if head is not None and (head["lines"], head["hash"]) != (len(lines), previous):
        bundle.faults.append(
            f"journal: {head['lines']} lines were exported and {len(lines)} are here, or its end differs"
        )


def _check_private(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    """Personal details against the hashes in the journal; those erased by law are no fault."""
    sealed = {
        (entry["line"]["seq"], name): digest
        for entry in lines
        for name, digest in entry["line"]["data"].get("sealed", {}).items()
    }
    seen = set()
    for one in bundle.json("private.json") or []:
        place = (one["seq"], one["name"])
        seen.add(place)
        if one.get("erased"):
            continue
        found = hashlib.sha256((one["salt"] + canonical(one["value"])).encode()).hexdigest()
        if sealed.get(place) != found:
            bundle.faults.append(f"journal line {one['seq']}: its {one['name']!r} is not what was recorded")
    for seq, name in sorted(set(sealed) - seen):
        bundle.faults.append(f"journal line {seq}: its {name!r} is neither there nor said to be erased")


def _check_inclusion(bundle: Bundle, lines: Sequence[dict[str, Any]], key: Key, checkpoints: Sequence[str]) -> None:
    try:
        note = Note.parse(bundle.files.get("checkpoint.txt", b"").decode("utf-8", "replace"), key)
    except Unreadable as error:
        bundle.faults.append(f"checkpoint.txt: {error}")
        return
    proofs = {one["seq"]: one for one in bundle.json("proof.json") or []}
    for entry in lines:
        seq = entry["line"]["seq"]
        proof = proofs.get(seq)
        if proof is None:
            bundle.faults.append(f"journal line {seq}: its proof is missing")
            continue
        leaf = hashlib.sha256(b"\x00" + bytes.fromhex(entry["hash"])).digest()
        path = [bytes.fromhex(step) for step in proof["path"]]
        if root_by_path(leaf, proof["position"], note.size, path) != note.root:
            bundle.faults.append(f"journal line {seq}: is not in the server's log at {proof['position']}")
    for text in checkpoints:
        published = Note.parse(text, key)
        if published.size == note.size and published.root != note.root:
            bundle.faults.append("checkpoint.txt: the checkpoint published at this size had another root")


def _check_pictures(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    here = {
        name.removeprefix("pictures/").removesuffix(".jpg") for name in bundle.files if name.startswith("pictures/")
    }
    for digest in sorted(here):
        if hashlib.sha256(bundle.files[f"pictures/{digest}.jpg"]).hexdigest() != digest:
            bundle.faults.append(f"pictures/{digest}.jpg: is another picture than its name says")
    named = {entry["line"]["data"]["sha256"] for entry in lines if entry["line"]["event"] == "picture"}
    absent = set(bundle.json("pictures.json") or [])
    for digest in sorted(named - here - absent):
        bundle.faults.append(f"pictures/{digest}.jpg: the journal names it and it is not here")
    for digest in sorted(here - named):
        bundle.faults.append(f"pictures/{digest}.jpg: the journal does not know it")


def _check_policy(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    policy = bundle.json("policy.json")
    if policy is None or not lines:
        return
    stated = lines[0]["line"]["data"].get("policy", {}).get("sha256")
    if hashlib.sha256(canonical(policy).encode()).hexdigest() != stated:
        bundle.faults.append("policy.json: is not the policy this incident began under")


def _check_receipts(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    """Who was told, and when, against the lines that say so. Of word that asks for nothing no line speaks."""
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for line in (entry["line"] for entry in lines):
        if line["event"] in _TOLD.values() and "notice" in line["data"]:
            told.setdefault((line["data"]["notice"], line["event"]), line)
    receipts = {one["notice"]: one for one in bundle.json("receipts.json") or []}
    for (notice, event), line in told.items():
        receipt = receipts.get(notice, {})
        about = {name: line["data"].get(name) for name in ("person", "channel", "rung", "cause")}
        if about != {name: receipt.get(name) for name in about}:
            bundle.faults.append(f"receipts.json: notice {notice} is not the one of line {line['seq']} ({event})")
    for notice, receipt in receipts.items():
        if receipt["cause"] is None or receipt["cause"].startswith(("taken:", "released:")):
            continue
        for name, event in _TOLD.items():
            known = told.get((notice, event))
            at = None if known is None else _moment(known).isoformat()
            if not _same(at, receipt[name]) and not (known and receipt[name] and _BACK in known["data"]):
                bundle.faults.append(
                    f"receipts.json: {name} of notice {notice} is {at} by the journal and {receipt[name]} by the bundle"
                )


_TOLD = {"sent_at": "sent", "delivered_at": "delivered", "failed_at": "unreached"}
# In the data of a line: by how many seconds the server's clock had been set back.
_BACK = "clock_back_s"


def _check_stamps(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    """What the bundle states of times and verdicts, against journal and policy."""
    stated, policy = bundle.json("stamps.json"), bundle.json("policy.json")
    if stated is None or policy is None:
        return
    found = derived([entry["line"] for entry in lines], policy, datetime.fromisoformat(stated["at"]))
    for where, ours, theirs in differences("", found, stated):
        bundle.faults.append(f"stamps.json: {where} is {ours} by the journal and {theirs} by the bundle")


def derived(journal: Sequence[dict[str, Any]], policy: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Stamps, clocks and the parties' shares as they stood at ``at``, as `stamps.json` states them. Raises ValueError
    for a journal that does not begin with the alert."""
    undone = {line["data"].get("undoes") for line in journal if line["event"] == "undo"}
    standing = [line for line in journal if line["seq"] not in undone]
    if not standing or standing[0]["event"] != "open":
        raise ValueError("the journal does not begin with the alert")
    edge, story = standing[0]["data"], _Story.read(standing, policy)
    return {
        "at": at.isoformat(),
        "stamps": {name: story.text(name) for name in _STAMPS},
        "doubtful": sorted(story.doubtful),
        "edge_clock": {
            "offset_ms": edge.get("clock_offset_ms"),
            "error_ms": edge.get("clock_error_ms"),
            "assumed_error_s": policy["assumed_clock_error_s"],
        },
        "clocks": story.clocks(policy, at),
        "parties": _parties(standing, story, policy, at),
    }


_STAMPS = ("t0_earliest", "t0_latest", "t1", "t2", "t3", "t3d", "t4", "t5", "t6", "t7", "t8")
# The first line of an event gives its stamp, a rejected report none.
_FIRST = {
    "sent": "t3",
    "delivered": "t3d",
    "accept": "t4",
    "set_off": "t5",
    "arrive": "t6",
    "report_done": "t7",
    "report_false": "t7",
    "close": "t8",
}
_STAMPING = {*_FIRST, "open", "onset", "reject", "mark_false", "excuse", "appeal", "undo", "clock_back"}


def _moment(line: dict[str, Any]) -> datetime:
    """A line that waited behind another keeps the moment it was received."""
    return datetime.fromisoformat(line["data"].get("received_at") or line["at"])


@dataclass
class _Story:
    """What a journal says happened when. ``doubtful``: the stamps set after the server's clock was set back."""

    times: dict[str, datetime] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    excused: bool = False

    @classmethod
    def read(cls, standing: Sequence[dict[str, Any]], policy: dict[str, Any]) -> _Story:
        """From the lines that were not taken back; the first opens it."""
        story, back = cls(), False
        for line in (line for line in standing if line["event"] in _STAMPING):
            before, data = dict(story.times), line["data"]
            back = back or _BACK in data
            upheld = line["event"] == "appeal" and data.get("upheld") is True
            story.excused = story.excused or line["event"] == "excuse" or upheld
            story._take(line, standing[0], policy)
            if back:
                story.doubtful |= {name for name, at in story.times.items() if before.get(name) != at}
        return story

    def _take(self, line: dict[str, Any], opening: dict[str, Any], policy: dict[str, Any]) -> None:
        event, data = line["event"], line["data"]
        if line is opening:
            alert = datetime.fromisoformat(line["at"])
            self.times = {"t2": alert} | self._of_edge(data, policy, alert)
        elif event == "onset" and data.get("sighting") == opening["data"].get("sighting"):
            # The box looked back at older frames: this is when the smoke first showed.
            self.times.pop("t0_earliest", None)
            self.times |= self._of_edge(data, policy, self.times["t2"])
        elif event == "reject":
            self.times.pop("t7", None)
        elif event in ("mark_false", "excuse") and line["to_state"] in ("false_alarm", "excused"):
            self.times.setdefault("ended", _moment(line))
        elif event in _FIRST:
            self.times.setdefault(_FIRST[event], _moment(line))

    @staticmethod
    def _of_edge(data: dict[str, Any], policy: dict[str, Any], alert: datetime) -> dict[str, datetime]:
        """Times by the edge's clock, moved to the server's and widened by what is not known of it; none is after the
        alert."""
        error_ms = data.get("clock_error_ms")
        error_s = policy["assumed_clock_error_s"] if error_ms is None else error_ms / 1000
        offset = timedelta(milliseconds=data.get("clock_offset_ms") or 0.0)
        bounds = {"t0_earliest": -error_s, "t0_latest": error_s, "t1": 0.0}
        return {
            name: min(datetime.fromisoformat(data[name]) + offset + timedelta(seconds=bound), alert)
            for name, bound in bounds.items()
            if data.get(name)
        }

    def text(self, name: str) -> str | None:
        """A stamp, ISO 8601."""
        return self.times[name].isoformat() if name in self.times else None

    def clocks(self, policy: dict[str, Any], at: datetime) -> list[dict[str, Any]]:
        """The three clocks as they stood."""
        arrived = "t6" if "t6" in self.times else "t7"  # a report tells that somebody arrived, too
        stop = "t4" if policy["respond_stop"] == "accept" else arrived
        found = [
            self._discover(policy["discover_limit_s"]),
            self._promised("respond", policy["respond_limit_s"], stop, at),
            self._promised("dispose", policy["dispose_limit_s"], "t7", at),
        ]
        return [one | {"excused": self.excused} for one in found]

    def _discover(self, limit: int) -> dict[str, Any]:
        if "t0_latest" not in self.times:
            return _clock("discover", limit, None, None, "none", None)
        alert, earliest = self.times["t2"], self.times.get("t0_earliest")
        best = (alert - self.times["t0_latest"]).total_seconds()
        if earliest is None:
            return _clock("discover", limit, None, best, "broken" if best > limit else "disputed", None)
        worst = (alert - earliest).total_seconds()
        verdict = "broken" if best > limit else "disputed" if worst > limit else "kept"
        return _clock("discover", limit, worst, best, verdict, earliest + timedelta(seconds=limit))

    def _promised(self, name: str, limit: int, stop: str, at: datetime) -> dict[str, Any]:
        due = self.times["t2"] + timedelta(seconds=limit)
        if stop in self.times:
            elapsed = (self.times[stop] - self.times["t2"]).total_seconds()
            kept = "disputed" if stop in self.doubtful else "kept"
            return _clock(name, limit, elapsed, elapsed, "broken" if self.times[stop] > due else kept, due)
        if "ended" in self.times and self.times["ended"] <= due:
            return _clock(name, limit, None, None, "disputed" if "ended" in self.doubtful else "none", due)
        return _clock(name, limit, None, None, "broken" if at > due else "running", due)


def _clock(
    name: str, limit: int, elapsed: float | None, best: float | None, verdict: str, due: datetime | None
) -> dict[str, Any]:
    return {
        "name": name,
        "limit_s": limit,
        "elapsed_s": elapsed,
        "best_s": best,
        "verdict": verdict,
        "due": due.isoformat() if due else None,
    }


def _parties(
    standing: Sequence[dict[str, Any]], story: _Story, policy: dict[str, Any], at: datetime
) -> list[dict[str, Any]]:
    """Who had it for how long, from the alert to the report or the end, each against the response limit."""
    found: list[dict[str, Any]] = [{"party": None, "since": story.times["t2"], "until": None}]
    for line in standing:
        party = line["data"].get({"dispatch": "grid", "transfer": "to"}.get(line["event"], ""))
        if party is not None and party != found[-1]["party"]:
            found[-1]["until"] = max(_moment(line), found[-1]["since"])
            found.append({"party": party, "since": found[-1]["until"], "until": None})
    found[-1]["until"] = story.times.get("t7") or story.times.get("ended")
    answers = _answers(standing, policy)
    for share in found:
        since, until = share["since"], share["until"]
        before = None if share is found[-1] else until
        share["answered_at"] = next((one for one in answers if since <= one and (not before or one < before)), None)
        limit = since + timedelta(seconds=policy["respond_limit_s"])
        late = (share["answered_at"] or until or at) > limit
        unanswered = "none" if until else "running"
        share["verdict"] = "broken" if late else "kept" if share["answered_at"] else unanswered
        if share["party"] is None:
            share["verdict"] = "none"
        share["held_s"] = ((until or at) - since).total_seconds()
        for name in ("since", "until", "answered_at"):
            share[name] = share[name].isoformat() if share[name] else None
    return found


def _answers(standing: Sequence[dict[str, Any]], policy: dict[str, Any]) -> list[datetime]:
    """When somebody accepted, or arrived where the county's clock waits for that; a report tells that, too, unless it
    was rejected."""
    if policy["respond_stop"] == "accept":
        return [_moment(line) for line in standing if line["event"] == "accept"]
    rejected = max((line["seq"] for line in standing if line["event"] == "reject"), default=0)
    reports = [line for line in standing if line["event"] in ("report_done", "report_false") and line["seq"] > rejected]
    arrivals = [line for line in standing if line["event"] == "arrive"]
    return sorted(_moment(line) for line in arrivals + reports)


def _same(one: Any, other: Any) -> bool:
    """Times are equal as instants, numbers to a microsecond."""
    if isinstance(one, float) and isinstance(other, int | float):
        return abs(one - other) < 1e-6
    if isinstance(one, str) and isinstance(other, str):
        try:
            return datetime.fromisoformat(one) == datetime.fromisoformat(other)
        except (ValueError, TypeError):
            pass
    return bool(one == other)


def differences(where: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """The places at which two values are not the same, with both."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            yield from differences(f"{where}.{name}".lstrip("."), ours.get(name), theirs.get(name))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1):
            name = one.get("name", number) if isinstance(one, dict) else number
            yield from differences(f"{where}.{name}", one, other)
    elif not _same(ours, theirs):
        yield where, ours, theirs


def growth_fault(proof: Any, key: Key) -> str | None:
    """Check a proof that the log only grew from one published checkpoint to a later one; None when it holds."""
    old, new = Note.parse(proof["old"], key), Note.parse(proof["new"], key)
    if grown(old, new, [bytes.fromhex(step) for step in proof["path"]]):
        return None
    return f"the log of {new.size} lines did not grow from that of {old.size}: history was rewritten"


def contained(one: Note, other: Note, proofs: Sequence[Any], key: Key) -> bool:
    """Whether some signed log is shown to have grown from both. That one log had both as beginnings is what counts: two
    that grew from the same beginning may differ."""
    steps = sorted(
        ((Note.parse(proof["old"], key), Note.parse(proof["new"], key)) for proof in proofs),
        key=lambda step: step[0].size,
    )
    reached = [{one}, {other}]
    for notes in reached:
        for old, new in steps:
            if old in notes:
                notes.add(new)
    return bool(reached[0] & reached[1])


def _unrelated(path: Path, key: Key, checkpoints: Sequence[str], proofs: Sequence[Any]) -> list[str]:
    """The kept checkpoints of which nothing says whether the bundle's log contains them, a sentence each."""
    mine = Note.parse(Bundle.read(path).files["checkpoint.txt"].decode(), key)
    kept = [Note.parse(text, key) for text in checkpoints]
    return [
        f"whether the bundle's log of {mine.size} lines agrees with your checkpoint of {note.size}: "
        "ask for a proof of growth (`evidence growth`) of each"
        for note in kept
        if not contained(mine, note, proofs, key)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """0: intact; 1: changed, each change on a line; 2: it cannot be told."""
    parser = argparse.ArgumentParser(
        prog="verify", description="Verify an evidence bundle: intact, or what was changed."
    )
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--key", type=Path, required=True, help="the server's published key file")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="a checkpoint you kept")
    parser.add_argument(
        "--growth", type=Path, action="append", default=[], help="a proof that the log only grew (`evidence growth`)"
    )
    args = parser.parse_args(argv)
    try:
        key = Key.parse(args.key.read_text(encoding="utf-8"))
        texts = [path.read_text(encoding="utf-8") for path in args.checkpoint]
        faults = verify(args.bundle, key, texts) if args.bundle else []
        proofs = [json.loads(path.read_text(encoding="utf-8")) for path in args.growth]
        faults += [fault for proof in proofs if (fault := growth_fault(proof, key))]
        unknown = _unrelated(args.bundle, key, texts, proofs) if args.bundle and not faults else []
    except (OSError, ValueError, KeyError, Unreadable) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"CHANGED  {fault}")
    if not faults:
        print(f"INTACT, signed by {key.text}")
    for sentence in unknown:
        print(f"UNKNOWN  {sentence}")
    return 1 if faults else 2 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
