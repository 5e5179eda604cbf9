# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checkpoints reach a real mail server and a real web server, now or once those are back."""

from __future__ import annotations

import email
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default as policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from server.audit.checks import audit
from server.evidence import publish, verify
from server.evidence.keys import load
from server.evidence.notary import Notary
from server.models import Publication
from server.settings import SettingsError
from tests.evidence.test_bundle import Clock
from tests.support.brokers import free_port
from tests.support.world import World


@dataclass
class Archive:
    """A web server that keeps what is posted to it, and answers as it is told."""

    port: int
    status: int = 204
    kept: list[bytes] = field(default_factory=list)


@contextmanager
def archive(port: int) -> Iterator[Archive]:
    """One on this port."""
    found = Archive(port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if found.status == 204:
                found.kept.append(content)
            self.send_response(found.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Box:
    """What a mail server took."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Keep a message."""
        self.messages.append(email.message_from_bytes(envelope.content, policy=policy))
        return "250 taken"


def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    """One user with one password."""
    well = isinstance(given, LoginPassword) and (given.login, given.password) == (b"straw", b"p@ss word")
    return AuthResult(success=well)


@contextmanager
def mail_server(port: int, context: ssl.SSLContext | None = None) -> Iterator[Box]:
    """A real mail server, with STARTTLS and a password when it has a certificate."""
    box = Box()
    secure = {"tls_context": context, "require_starttls": True, "authenticator": authenticate} if context else {}
    controller = Controller(box, hostname="127.0.0.1", port=port, **secure)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for localhost that this test's clients trust, as an operator's own authority would be."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context


def sign(world: World, folder: Path) -> bytes:
    """The notary's work; the newest checkpoint as published in the folder."""
    Notary(world.database, Clock(world), load(folder), folder / "checkpoints", lambda _t, _c: None).step()
    return (folder / "checkpoints" / "checkpoint.txt").read_bytes()


def publisher(world: World, **environ: str) -> publish.Publisher:
    """As the engine makes it from its settings."""
    places = publish.read_places({f"STRAW1530_{name}": value for name, value in environ.items()})
    return publish.Publisher(world.database, Clock(world), places)


def findings(world: World) -> list[str]:
    """What the auditor says of publishing."""
    with world.database.read() as session:
        return [one.sentence for one in audit(session, world.now) if one.check == "unpublished"]


def test_every_checkpoint_is_posted_once_as_it_was_signed(world: World, tmp_path: Path) -> None:
    """The bytes are the signed note, which the public key opens; nothing new, nothing sent."""
    with archive(free_port()) as web:
        sender = publisher(world, PUBLISH=f"http://127.0.0.1:{web.port}/keep?token=secret")
        assert sender.step() == 0  # nothing is signed yet
        world.dispatched()
        first = sign(world, tmp_path)
        assert (sender.step(), sender.step()) == (1, 0)
        world.advance(minutes=3)
        second = sign(world, tmp_path)
        assert publisher(world, PUBLISH=f"http://127.0.0.1:{web.port}/keep?token=secret").step() == 1  # another engine
        assert web.kept == [first, second]
    key = verify.Key.parse(load(tmp_path).public_text())
    assert verify.Note.parse(web.kept[1].decode(), key).size > verify.Note.parse(web.kept[0].decode(), key).size


def test_a_place_that_was_away_gets_the_newest_once_it_is_back_and_the_auditor_complains_meanwhile(
    world: World, tmp_path: Path
) -> None:
    """Refused, redirected, answered with an error: tried again less and less often; secrets are told to nobody."""
    port = free_port()
    sender = publisher(world, PUBLISH=f"http://127.0.0.1:{port}/keep?token=secret")
    world.dispatched()
    sign(world, tmp_path)
    assert (sender.step(), sender.step()) == (0, 0)
    world.now += timedelta(seconds=21)
    with archive(port) as web:
        for web.status in (500, 302):
            assert sender.step() == 0
            world.now += timedelta(minutes=10)
        assert findings(world) == ["1 places outside take no checkpoints: see the table publications for the reason"]
        with world.database.read() as session:
            row = session.scalars(select(Publication)).one()
            assert (row.attempts, row.error) == (3, "it answered 302")
            assert "secret" not in row.place
        web.status = 204
        newest = sign(world, tmp_path)
        assert sender.step() == 1
        assert web.kept == [newest]
        assert findings(world) == []


def test_a_mailbox_gets_one_a_day_with_the_checkpoint_attached(world: World, tmp_path: Path) -> None:
    """Byte for byte, in a message that says in both languages what to do with it."""
    port = free_port()
    settings = {"PUBLISH": "mailto:archive@example.org", "SMTP": f"smtp://127.0.0.1:{port}?from=straw@example.org"}
    world.dispatched()
    first = sign(world, tmp_path)
    with mail_server(port) as box:
        sender = publisher(world, **settings)
        assert sender.step() == 1
        for hours in (3, 22):
            world.advance(minutes=hours * 60)
            newest = sign(world, tmp_path)
            sender.step()
        assert [[part.get_content() for part in one.iter_attachments()] for one in box.messages] == [
            [first],
            [newest],
        ]
        body = box.messages[0].get_body()
        assert body is not None
        assert "妥善保存" in body.get_content()
        assert box.messages[0]["To"] == "archive@example.org"


def test_the_password_goes_only_to_a_server_with_tls(world: World, tmp_path: Path, certificate: ssl.SSLContext) -> None:
    """With STARTTLS and a trusted certificate the mail goes; without TLS it waits, and a wrong password waits too."""
    world.dispatched()
    sign(world, tmp_path)
    port, plain = free_port(), free_port()

    def settings(host: str, port: int, password: str) -> dict[str, str]:
        smtp = f"smtp://straw:{password}@{host}:{port}?from=straw@example.org"
        return {"PUBLISH": "mailto:archive@example.org", "SMTP": smtp}

    with mail_server(plain) as box:
        assert publisher(world, **settings("127.0.0.1", plain, "p%40ss%20word")).step() == 0
        assert box.messages == []
    with world.database.read() as session:
        assert "no TLS" in str(session.scalars(select(Publication.error)).one())
    with mail_server(port, certificate) as box:
        for password, taken in (("wrong", 0), ("p%40ss%20word", 1)):
            world.now += timedelta(minutes=30)
            assert publisher(world, **settings("localhost", port, password)).step() == taken
        assert len(box.messages) == 1


def test_a_place_taken_out_of_the_settings_is_forgotten(world: World, tmp_path: Path) -> None:
    """Its failure is nobody's concern any more."""
    world.dispatched()
    sign(world, tmp_path)
    publisher(world, PUBLISH=f"http://127.0.0.1:{free_port()}/").step()
    world.now += timedelta(minutes=20)
    assert findings(world)
    publisher(world).forget_others()
    assert findings(world) == []


@pytest.mark.parametrize(
    ("publish_to", "smtp", "sentence"),
    [
        ("ftp://example.org", "", "not 'ftp'"),
        ("mailto:nobody", "", "not 'mailto'"),
        ("mailto:a@example.org", "", "STRAW1530_SMTP must read"),
        ("mailto:a@example.org", "smtps://mail.example.org", "STRAW1530_SMTP must read"),
        ("mailto:a@example.org", "smtps://u@mail.example.org?from=a@example.org", "STRAW1530_SMTP must read"),
        ("mailto:a@example.org", "smtps://mail.example.org:x?from=a@example.org", "STRAW1530_SMTP must read"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(publish_to: str, smtp: str, sentence: str) -> None:
    """By name, without repeating what may be secret."""
    with pytest.raises(SettingsError, match=sentence):
        publish.read_places({"STRAW1530_PUBLISH": publish_to, "STRAW1530_SMTP": smtp})
