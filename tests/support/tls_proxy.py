# SPDX-License-Identifier: AGPL-3.0-or-later
"""A local proxy that answers for any https host, with a certificate of its own authority: what goes to a provider's
real address over ``HTTPS_PROXY`` ends here, with nothing of the sender changed."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.http_peer import Request


@dataclass
class TlsProxy:
    """``answers``: the bodies of the next answers, in turn, all with status 200; then ``usual``."""

    usual: bytes
    url: str = ""
    authority: str = ""
    answers: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, Request]] = field(default_factory=list)  # (host, what it was sent)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a client of ours come here."""
        return {"HTTPS_PROXY": self.url, "REQUESTS_CA_BUNDLE": self.authority, "NO_PROXY": "", "no_proxy": ""}


@contextmanager
def tls_proxy(folder: Path, hosts: list[str], usual: bytes) -> Iterator[TlsProxy]:
    """Serve one on a free port, for these hosts."""
    proxy = TlsProxy(usual, authority=str(folder / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(folder, hosts))

    class Inner(BaseHTTPRequestHandler):
        """The provider."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Keeps and answers."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            proxy.requests.append((headers["host"], Request(self.command, self.path, headers, body)))
            answer = proxy.answers.pop(0) if proxy.answers else proxy.usual
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Quietly."""

    class Outer(BaseHTTPRequestHandler):
        """The way there."""

        def do_CONNECT(self) -> None:
            """Say yes and be the provider."""
            self.send_response_only(200)
            self.end_headers()
            with context.wrap_socket(self.connection, server_side=True) as secure:
                Inner(secure, self.client_address, self.server)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Outer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()


def _certificate(folder: Path, hosts: list[str]) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
