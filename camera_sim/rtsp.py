# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small RTSP 1.0 server (RFC 2326): H.264 interleaved in the connection or over UDP.

One `Connection` per client. A client that reads too slowly loses pictures up to the next keyframe; the
server never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from camera_sim.auth import Credentials
from camera_sim.feed import Feed
from camera_sim.media import AccessUnit
from camera_sim.rtp import Packetizer, describe

log = logging.getLogger(__name__)

BACKLOG_BYTES = 2_000_000
REQUEST_BYTES = 16_384
REPORT_EVERY_S = 2.0
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"
REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
}


@dataclass(frozen=True)
class Request:
    """A parsed request; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]

    @property
    def camera(self) -> str:
        """The first part of the URL's path: the camera's id."""
        return urlsplit(self.url).path.strip("/").split("/")[0]


@dataclass(frozen=True)
class Reply:
    """A status with headers and a body."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class Hub:
    """The cameras, the credentials and the open connections of one server; lives on one event loop."""

    def __init__(self, feeds: Mapping[str, Feed], credentials: Credentials | None) -> None:
        self.feeds = feeds
        self.credentials = credentials
        self.connections: set[Connection] = set()
        self.refused_until: dict[str, float] = {}
        self.udp: asyncio.DatagramTransport | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one client until it leaves."""
        connection = Connection(self, reader, writer)
        self.connections.add(connection)
        try:
            await connection.run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            log.debug("client left: %s", error)
        except asyncio.CancelledError:
            # The server stops. Not passed on: the stream library of Python 3.11 would log it as a fault.
            log.debug("client cut off: the server stops")
        finally:
            self.connections.discard(connection)
            connection.close()

    def drop(self, camera: str) -> int:
        """Cut the connections that watch a camera, without a goodbye; the number cut."""
        cut = [c for c in self.connections if c.feed is not None and c.feed.id == camera]
        for connection in cut:
            connection.abort()
        return len(cut)


@dataclass(eq=False)
class Connection:
    """One client: its requests, and the stream it plays."""

    hub: Hub
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    feed: Feed | None = None
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    playing: bool = False
    channel: int | None = None
    ports: tuple[int, int] | None = None
    _waiting: bool = True
    _reported_s: float = 0.0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _rtp: Packetizer = field(default_factory=lambda: Packetizer(secrets.randbits(32)))

    async def run(self) -> None:
        """Answer requests until TEARDOWN or the end of the connection."""
        while True:
            first = await self.reader.readexactly(1)
            if first == b"$":  # a report from the client, interleaved; nothing in it changes what is sent
                head = await self.reader.readexactly(3)
                await self.reader.readexactly(int.from_bytes(head[1:], "big"))
                continue
            if first in b"\r\n":
                continue
            request = await self._read(first)
            self._send(self._answer(request), request.headers.get("cseq", "0"))
            if request.method == "TEARDOWN":
                return

    def close(self) -> None:
        """Stop the stream and close the connection."""
        self._stop()
        self.writer.close()

    def abort(self) -> None:
        """Stop the stream and cut the connection at once."""
        self._stop()
        self.writer.transport.abort()

    async def _read(self, first: bytes) -> Request:
        raw = first + await self.reader.readuntil(b"\r\n\r\n")
        lines = raw.decode("utf-8", "replace").split("\r\n")
        parts = lines[0].split()
        if len(parts) != 3:
            raise ValueError("not an RTSP request")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:] if line)}
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= REQUEST_BYTES:
            raise ValueError("a body too large")
        await self.reader.readexactly(length)
        return Request(parts[0].upper(), parts[1], headers)

    def _answer(self, request: Request) -> Reply:
        if request.method == "OPTIONS":
            return Reply(200, (("Public", METHODS),))
        credentials = self.hub.credentials
        if credentials and not credentials.accept(request.headers.get("authorization", ""), request.method):
            return Reply(401, tuple(("WWW-Authenticate", c) for c in credentials.challenges()))
        handlers = {
            "DESCRIBE": self._describe,
            "SETUP": self._setup,
            "PLAY": self._play,
            "PAUSE": self._pause,
            "TEARDOWN": self._pause,
            "GET_PARAMETER": self._nothing,
            "SET_PARAMETER": self._nothing,
        }
        handler = handlers.get(request.method)
        return Reply(405, (("Allow", METHODS),)) if handler is None else handler(request)

    def _describe(self, request: Request) -> Reply:
        feed = self._find(request)
        if feed is None or feed.header is None:
            return Reply(404)
        host = self.writer.get_extra_info("sockname")[0]
        body = describe(feed.header, host, feed.id, feed.source.fps)
        base = request.url.rstrip("/") + "/"
        return Reply(200, (("Content-Base", base), ("Content-Type", "application/sdp")), body)

    def _find(self, request: Request) -> Feed | None:
        """The camera asked for, unless it is refusing clients just now."""
        if self._loop.time() < self.hub.refused_until.get(request.camera, 0):
            return None
        return self.hub.feeds.get(request.camera)

    def _setup(self, request: Request) -> Reply:
        feed = self._find(request)
        if feed is None:
            return Reply(404)
        for offer in request.headers.get("transport", "").split(","):
            accepted = self._transport(offer.strip())
            if accepted:
                self.feed = feed
                return Reply(200, (("Transport", accepted), ("Session", f"{self.session};timeout=60")))
        return Reply(461)

    def _transport(self, offer: str) -> str | None:
        """Take one offered transport; the value to answer, or None when it is not ours."""
        fields = dict(part.partition("=")[::2] for part in offer.split(";"))
        if "multicast" in fields:
            return None
        if "RTP/AVP/TCP" in fields:
            self.channel = int(fields.get("interleaved", "0-1").split("-")[0])
            return f"RTP/AVP/TCP;unicast;interleaved={self.channel}-{self.channel + 1};ssrc={self._rtp.ssrc:08X}"
        if fields.keys() & {"RTP/AVP", "RTP/AVP/UDP"} and "client_port" in fields and self.hub.udp:
            low, _, high = fields["client_port"].partition("-")
            self.ports = (int(low), int(high or int(low) + 1))
            port = self.hub.udp.get_extra_info("sockname")[1]
            return (
                f"RTP/AVP;unicast;client_port={low}-{self.ports[1]};server_port={port}-{port};ssrc={self._rtp.ssrc:08X}"
            )
        return None

    def _play(self, request: Request) -> Reply:
        if self.feed is None:
            return Reply(455)
        if request.headers.get("session", self.session).split(";")[0] != self.session:
            return Reply(454)
        if not self.playing:
            self.playing, self._waiting = True, True
            self.feed.watch(self._from_feed)
        return Reply(200, (("Session", self.session), ("Range", "npt=now-")))

    def _pause(self, request: Request) -> Reply:
        self._stop()
        return Reply(200, (("Session", self.session),))

    def _nothing(self, request: Request) -> Reply:
        return Reply(200, (("Session", self.session),))

    def _stop(self) -> None:
        if self.playing and self.feed is not None:
            self.feed.leave(self._from_feed)
        self.playing = False

    def _from_feed(self, unit: AccessUnit) -> None:
        """Called on the feed's thread."""
        try:
            self._loop.call_soon_threadsafe(self._stream, unit)
        except RuntimeError:  # the loop closed between the last picture and this one
            log.debug("a picture came after the server stopped")

    def _stream(self, unit: AccessUnit) -> None:
        """Send one picture, or leave it out when the client is behind."""
        if not self.playing or self.writer.transport.is_closing():
            return
        if self.writer.transport.get_write_buffer_size() > BACKLOG_BYTES:
            self._waiting = True
            return
        if self._waiting and not unit.keyframe:
            return
        self._waiting = False
        packets = [(packet, 0) for packet in self._rtp.packets(unit)]
        if unit.wall_s - self._reported_s >= REPORT_EVERY_S:
            self._reported_s = unit.wall_s
            packets.insert(0, (self._rtp.sender_report(unit.wall_s), 1))
        if self.channel is not None:
            self.writer.write(b"".join(_interleaved(packet, self.channel + kind) for packet, kind in packets))
        elif self.ports is not None and self.hub.udp is not None:
            host = self.writer.get_extra_info("peername")[0]
            for packet, kind in packets:
                self.hub.udp.sendto(packet, (host, self.ports[kind]))

    def _send(self, reply: Reply, cseq: str) -> None:
        body = reply.body.encode()
        headers = [("CSeq", cseq), *reply.headers]
        if body:
            headers.append(("Content-Length", str(len(body))))
        text = f"RTSP/1.0 {reply.status} {REASONS[reply.status]}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers)
        self.writer.write(text.encode() + b"\r\n" + body)


def _interleaved(packet: bytes, channel: int) -> bytes:
    return b"$" + bytes((channel,)) + len(packet).to_bytes(2, "big") + packet
