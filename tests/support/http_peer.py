# SPDX-License-Identifier: AGPL-3.0-or-later
"""A local HTTP server that keeps what it is sent and answers as told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpPeer:
    """``answers``: (status, body) of the next requests, in turn; then 200 and ``usual``."""

    url: str = ""
    usual: bytes = b"{}"
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@contextmanager
def http_peer(usual: bytes = b"{}") -> Iterator[HttpPeer]:
    """Serve one on a free port."""
    peer = HttpPeer(usual=usual)

    class Handler(BaseHTTPRequestHandler):
        """Keeps and answers."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Any path."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            peer.requests.append(Request(self.command, self.path, headers, body))
            status, answer = peer.answers.pop(0) if peer.answers else (200, peer.usual)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Quietly."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    peer.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
