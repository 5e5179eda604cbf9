# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sending signed checkpoints to places outside, by e-mail and webhook, until each took the newest.

What is sent is the signed note itself: whoever has the server's public key can check it. A later checkpoint says all
that an earlier one says, so a place that was away gets the newest when it is back.
"""

from __future__ import annotations

import logging
import os
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from hashlib import sha256
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import requests
from sqlalchemy import delete
from sqlalchemy.orm import Session

from server.db import Clock, Database
from server.evidence import log
from server.models import Checkpoint, Publication
from server.settings import SettingsError

EVERY_S = 10.0
_TIMEOUT_S = 20.0
_LEASE = timedelta(minutes=2)
_LONGEST_WAIT = timedelta(hours=1)
_log = logging.getLogger("publish")


class Place(Protocol):
    """Somewhere that takes checkpoints. ``name`` is shown and holds no secrets; at most one in ``every_s`` is sent."""

    @property
    def name(self) -> str: ...

    @property
    def every_s(self) -> float: ...

    def send(self, checkpoint: Checkpoint) -> None:
        """Send, and return once it was taken. Raises OSError (which covers those of smtplib and requests)."""
        ...


@dataclass(frozen=True, slots=True)
class Webhook:
    """A web address that keeps what is posted to it: each checkpoint, as plain text."""

    url: str
    every_s: float = 0.0

    @property
    def name(self) -> str:
        """The host, and a mark that tells several addresses there apart: the rest may be secret."""
        return f"{urlsplit(self.url).hostname} ({sha256(self.url.encode()).hexdigest()[:6]})"

    def send(self, checkpoint: Checkpoint) -> None:
        """Post it; any answer but 2xx is a failure, and nobody is followed elsewhere."""
        content, headers = checkpoint.note.encode(), {"Content-Type": "text/plain; charset=utf-8"}
        try:
            answer = requests.post(self.url, content, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            raise OSError(type(error).__name__) from None  # its words would tell the address
        if not 200 <= answer.status_code < 300:
            raise OSError(f"it answered {answer.status_code}")


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in: TLS from the beginning (``tls``), or as soon as the server offers it."""

    host: str
    port: int
    tls: bool
    sender: str
    username: str | None = None
    password: str | None = None

    def hand_in(self, message: EmailMessage) -> None:
        """Raises OSError; credentials are not given to a server without TLS."""
        context = ssl.create_default_context()
        opened = (
            smtplib.SMTP_SSL(self.host, self.port, timeout=_TIMEOUT_S, context=context)
            if self.tls
            else smtplib.SMTP(self.host, self.port, timeout=_TIMEOUT_S)
        )
        with opened as server:
            server.ehlo_or_helo_if_needed()
            secure = self.tls
            if not secure and server.has_extn("starttls"):
                server.starttls(context=context)
                secure = True
            if self.username is not None and self.password is not None:
                if not secure:
                    raise OSError("the mail server offers no TLS: the password was not given to it")
                server.login(self.username, self.password)
            server.send_message(message)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address that gets a checkpoint a day."""

    address: str
    server: MailServer
    every_s: float = 86_400.0

    @property
    def name(self) -> str:
        """The address."""
        return self.address

    def send(self, checkpoint: Checkpoint) -> None:
        """The checkpoint as an attachment, with a line on what to do with it."""
        message = EmailMessage()
        message["From"], message["To"] = self.server.sender, self.address
        message["Subject"] = f"straw1530 存证 checkpoint {checkpoint.size}"
        message.set_content(
            "附件是服务器日志的签名存证，请妥善保存；日后可证明日志没有被改写。\n"
            "Please keep the attached signed checkpoint: it will prove that the server's log was not rewritten.\n"
        )
        # Not as text: a changed line ending would break the signature.
        name = f"checkpoint-{checkpoint.size}.txt"
        message.add_attachment(checkpoint.note.encode(), "application", "octet-stream", filename=name)
        self.server.hand_in(message)


def read_places(environ: Mapping[str, str] | None = None) -> list[Place]:
    """Read STRAW1530_PUBLISH (https:// and mailto: addresses with spaces between them; empty for none) and, for mail,
    STRAW1530_SMTP (smtps://user:password@host:port?from=address, or smtp://). Raises SettingsError."""
    env = os.environ if environ is None else environ
    places: list[Place] = []
    for word in env.get("STRAW1530_PUBLISH", "").split():
        parts = urlsplit(word)
        if parts.scheme in ("https", "http") and parts.hostname:
            places.append(Webhook(word))
        elif parts.scheme == "mailto" and "@" in parts.path:
            places.append(Mailbox(parts.path, _mail_server(env.get("STRAW1530_SMTP", ""))))
        else:
            raise SettingsError(f"STRAW1530_PUBLISH holds https:// and mailto: addresses, not {word.split(':')[0]!r}")
    return places


def _mail_server(text: str) -> MailServer:
    parts = urlsplit(text)
    sender = parse_qs(parts.query).get("from", [""])[0]
    try:
        port = parts.port or {"smtps": 465, "smtp": 25}[parts.scheme]
        if not parts.hostname or "@" not in sender or (parts.username is None) != (parts.password is None):
            raise ValueError
    except (KeyError, ValueError):
        raise SettingsError(
            "STRAW1530_SMTP must read smtps://user:password@host:port?from=address for STRAW1530_PUBLISH by mail"
        ) from None
    user, password = (unquote(part) if part is not None else None for part in (parts.username, parts.password))
    return MailServer(parts.hostname, port, parts.scheme == "smtps", sender, user, password)


class Publisher:
    """Keeps the places supplied. Any number may run: a lease keeps them from sending twice at once."""

    def __init__(self, database: Database, clock: Clock, places: Sequence[Place]) -> None:
        self._database = database
        self._clock = clock
        self._places = list(places)

    def step(self) -> int:
        """Send the newest checkpoint wherever it is due; returns how many places took it."""
        return sum(self._supply(place) for place in self._places)

    def forget_others(self) -> None:
        """Places that are no longer in the settings owe nothing."""
        names = [place.name for place in self._places]
        with self._database.write() as session:
            session.execute(delete(Publication).where(Publication.place.not_in(names)))

    def _supply(self, place: Place) -> bool:
        with self._database.write() as session:
            checkpoint = self._claim(session, place)
        if checkpoint is None:
            return False
        try:
            place.send(checkpoint)
            error = None
        except OSError as fault:
            error = (str(fault) or type(fault).__name__)[:300]
            _log.error("checkpoint %d could not be published at %s: %s", checkpoint.size, place.name, error)
        with self._database.write() as session:
            row = session.get_one(Publication, place.name, with_for_update=True)
            _record(row, place, checkpoint.size, error, self._clock.now(session))
        return error is None

    def _claim(self, session: Session, place: Place) -> Checkpoint | None:
        """The newest checkpoint, when the place lacks it and may get it now; held for a while."""
        checkpoint = log.latest(session)
        now = self._clock.now(session)
        row = session.get(Publication, place.name, with_for_update=True)
        if row is None:
            row = Publication(place=place.name, size=0, attempts=0, next_at=now)
            session.add(row)
        if checkpoint is None or checkpoint.size <= row.size or now < row.next_at:
            return None
        row.next_at = now + _LEASE
        return checkpoint


def _record(row: Publication, place: Place, size: int, error: str | None, now: datetime) -> None:
    if error is None:
        row.size, row.published_at, row.attempts = max(size, row.size), now, 0
        row.failing_since = row.error = None
        row.next_at = now + timedelta(seconds=place.every_s)
        return
    row.attempts += 1
    row.failing_since, row.error = row.failing_since or now, error
    row.next_at = now + min(timedelta(seconds=10) * 2 ** min(row.attempts, 20), _LONGEST_WAIT)
