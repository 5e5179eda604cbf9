# SPDX-License-Identifier: AGPL-3.0-or-later
"""Browsers that asked for push messages: taken in, and let go."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from server.domain.errors import Invalid
from server.models import Person, PushSubscription

# The browsers' own services. An address elsewhere would let a person make this server write to any host.
_SERVICES = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    ".push.apple.com",
    ".notify.windows.com",
    ".push.hicloud.com",
)
_MOST = 8  # browsers of one person; the oldest goes
_LENGTHS = {"p256dh": 65, "auth": 16}  # RFC 8291: an uncompressed P-256 point, and a secret


def public_key(private_key: str) -> str:
    """What browsers call applicationServerKey: base64url of the public point of a raw private key."""
    number = int.from_bytes(base64.urlsafe_b64decode(private_key + "="), "big")
    point = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    raw = point.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def new_key() -> str:
    """A VAPID key: base64url of the raw private key."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def subscribe(
    session: Session, person: Person, endpoint: str, p256dh: str, auth: str, *, origins: Sequence[str], now: datetime
) -> None:
    """A browser asks for a person's messages; the caller commits. The same browser again changes its person and keys.

    ``origins``: allowed beside the browsers' own services. Raises Invalid.
    """
    _check(endpoint, {"p256dh": p256dh, "auth": auth}, origins)
    session.execute(delete(PushSubscription).where(PushSubscription.endpoint == endpoint))
    mine = select(PushSubscription.id).where(PushSubscription.person_id == person.id)
    older = session.scalars(mine.order_by(PushSubscription.id.desc()).offset(_MOST - 1)).all()
    session.execute(delete(PushSubscription).where(PushSubscription.id.in_(older)))
    session.add(PushSubscription(person_id=person.id, endpoint=endpoint, p256dh=p256dh, auth=auth, created_at=now))


def unsubscribe(session: Session, endpoint: str, person_id: int | None = None) -> None:
    """A browser is gone, or (of this person) asks for no more; the caller commits."""
    gone = delete(PushSubscription).where(PushSubscription.endpoint == endpoint)
    session.execute(gone if person_id is None else gone.where(PushSubscription.person_id == person_id))


def _check(endpoint: str, keys: dict[str, str], origins: Sequence[str]) -> None:
    parts = urlsplit(endpoint)
    # A plain host: what else may stand there is read otherwise by those who send ("\\" ends the host for them).
    plain = re.fullmatch(r"[a-z0-9.-]+(:[0-9]+)?", parts.netloc) is not None
    known = (
        plain
        and parts.scheme == "https"
        and any(parts.netloc.endswith(name) if name.startswith(".") else parts.netloc == name for name in _SERVICES)
    )
    if len(endpoint) > 1024 or not (known or f"{parts.scheme}://{parts.netloc}" in origins):
        raise Invalid(f"endpoint: {parts.netloc[:60]!r} is no push service that is known here")
    for name, value in keys.items():
        try:
            length = len(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
        except ValueError:
            length = 0
        if length != _LENGTHS[name]:
            raise Invalid(f"keys: {name} is not a key of {_LENGTHS[name]} bytes")
