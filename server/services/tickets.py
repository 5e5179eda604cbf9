# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tickets: short signed words that let whoever holds one do one thing in one person's name, for a while.

A ticket is its content and ten bytes of HMAC-SHA-256 over what it is for and its content, in base64url: thirty signs
for a tap, short enough for a text message. Nothing is stored; that a tap works once is the journal's business, where
its answer has an id made of the ticket.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from server.domain.errors import Missing, TooLate

_SEAL = 10
_TAP = struct.Struct(">III")


@dataclass(frozen=True, slots=True)
class Tap:
    """What a link in a message lets one person do: accept one incident, until ``until``. ``answer_id`` makes it count
    once."""

    incident_id: int
    person_id: int
    until: datetime
    answer_id: str


def tap(key: str, incident_id: int, person_id: int, until: datetime) -> str:
    """The ticket to accept an incident in a person's name."""
    return _seal(key, b"tap", _TAP.pack(incident_id, person_id, int(until.timestamp())))


def read_tap(key: str, ticket: str, now: datetime) -> Tap:
    """What a ticket allows. Raises Missing for what we did not make, TooLate once it has expired."""
    body = _open(key, b"tap", ticket)
    if len(body) != _TAP.size:
        raise Missing("there is no such link")
    incident_id, person_id, seconds = _TAP.unpack(body)
    until = datetime.fromtimestamp(seconds, UTC)
    if now > until:
        raise TooLate("this link has expired")
    return Tap(incident_id, person_id, until, f"link:{hashlib.sha256(ticket.encode()).hexdigest()[:40]}")


def receipt(key: str, notice_id: str) -> str:
    """The ticket with which a browser says that a notice arrived."""
    return _seal(key, b"receipt", uuid.UUID(notice_id).bytes)


def read_receipt(key: str, ticket: str) -> str:
    """The notice that arrived. Raises Missing."""
    body = _open(key, b"receipt", ticket)
    if len(body) != 16:
        raise Missing("there is no such receipt")
    return str(uuid.UUID(bytes=body))


def _seal(key: str, purpose: bytes, body: bytes) -> str:
    return base64.urlsafe_b64encode(body + _sign(key, purpose, body)).decode().rstrip("=")


def _open(key: str, purpose: bytes, ticket: str) -> bytes:
    try:
        whole = base64.b64decode(ticket + "=" * (-len(ticket) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        whole = b""
    body = whole[:-_SEAL]
    # Compared as text: base64 ignores the last sign's spare bits, and each spelling would be a ticket of its own.
    if not body or not hmac.compare_digest(ticket.encode(), _seal(key, purpose, body).encode()):
        raise Missing("there is no such link")
    return body


def _sign(key: str, purpose: bytes, body: bytes) -> bytes:
    return hmac.digest(key.encode(), b"straw1530 " + purpose + b"\0" + body, "sha256")[:_SEAL]
