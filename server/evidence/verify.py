#!/usr/bin/env python3
# SPDX-License-Identifier: AGPL-3.0-or-later
"""Verify an incident's evidence bundle: intact, or exactly what was changed.

This file stands alone: Python 3.11 and the package ``cryptography`` are all it needs. It shares no code with the
server that wrote the bundle. Take it from the project's repository and not from whoever hands you the bundle.

    python3 verify.py BUNDLE.zip --key straw1530.pub [--checkpoint PUBLISHED ...] [--growth PROOF.json]

``--key`` is the server's published key. ``--checkpoint`` is a checkpoint that you kept from the day (file or MQTT): the
bundle must agree with it where both speak of the same size.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
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
        _check_stamps(bundle, lines)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        bundle.faults.append(f"the bundle's content has not the form it was written in: {error!r}")
    return bundle.faults


def _read_lines(bundle: Bundle) -> list[dict[str, Any]]:
    found = []
    for number, text in enumerate(bundle.files.get("journal.jsonl", b"").decode("utf-8", "replace").splitlines(), 1):
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


def _check_stamps(bundle: Bundle, lines: Sequence[dict[str, Any]]) -> None:
    """T2, T4, T6 and T7 again, from the journal alone, against what the bundle states."""
    stated = bundle.json("stamps.json")
    if stated is None:
        return
    undone = {entry["line"]["data"].get("undoes") for entry in lines if entry["line"]["event"] == "undo"}
    found: dict[str, str | None] = dict.fromkeys(("t2", "t4", "t6", "t7"))
    first = {"open": "t2", "accept": "t4", "arrive": "t6", "report_done": "t7", "report_false": "t7"}
    for line in (entry["line"] for entry in lines):
        if line["seq"] in undone:
            continue
        if line["event"] == "reject":
            found["t7"] = None
        name = first.get(line["event"])
        if name and found[name] is None:
            # A line that waited behind another keeps the moment it was received.
            found[name] = line["data"].get("received_at", line["at"])
    for name, at in found.items():
        said = stated["stamps"].get(name)
        if (said is None) != (at is None) or (
            said and at and datetime.fromisoformat(said) != datetime.fromisoformat(at)
        ):
            bundle.faults.append(f"stamps.json: {name.upper()} is {at} by the journal and {said} by the bundle")


def growth_fault(proof: Any, key: Key) -> str | None:
    """Check a proof that the log only grew from one published checkpoint to a later one; None when it holds."""
    old, new = Note.parse(proof["old"], key), Note.parse(proof["new"], key)
    if grown(old, new, [bytes.fromhex(step) for step in proof["path"]]):
        return None
    return f"the log of {new.size} lines did not grow from that of {old.size}: history was rewritten"


def main(argv: Sequence[str] | None = None) -> int:
    """0: intact; 1: changed, each change on a line; 2: it cannot be told."""
    parser = argparse.ArgumentParser(
        prog="verify", description="Verify an evidence bundle: intact, or what was changed."
    )
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--key", type=Path, required=True, help="the server's published key file")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="a checkpoint you kept")
    parser.add_argument("--growth", type=Path, help="a proof that the log only grew (`evidence growth`)")
    args = parser.parse_args(argv)
    try:
        key = Key.parse(args.key.read_text(encoding="utf-8"))
        texts = [path.read_text(encoding="utf-8") for path in args.checkpoint]
        faults = verify(args.bundle, key, texts) if args.bundle else []
        if args.growth and (fault := growth_fault(json.loads(args.growth.read_text(encoding="utf-8")), key)):
            faults.append(fault)
    except (OSError, ValueError, KeyError, Unreadable) as error:
        print(f"verify: {error}", file=sys.stderr)
        return 2
    for fault in faults:
        print(f"CHANGED  {fault}")
    if not faults:
        print(f"INTACT, signed by {key.text}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
