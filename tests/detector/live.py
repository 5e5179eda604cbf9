# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera that does exactly what it is told: real H.264 in MPEG-TS over a real connection, packet by packet."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import av
import numpy as np

from detector.frame import Image

Script = Callable[["Camera"], None]


def noise(seed: int, size: tuple[int, int] = (320, 240)) -> Image:
    """A picture unlike any other: coarse noise that survives encoding."""
    width, height = size
    small = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return np.repeat(np.repeat(small, 16, axis=0), 16, axis=1)


class Camera:
    """One client's connection, as the script sees it."""

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self._connection = connection
        self._closing = closing
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")

    def send(self, pictures: Sequence[Image], group: int = 5, start: int = 0, damage: bool = False) -> None:
        """Encode and send pictures at 25 a second of stream time, a keyframe every `group`; then return."""
        data = bytearray(encode(pictures, group, start))
        if damage:
            for at in range(2000, len(data), 97):
                data[at] ^= 0x5A
        self.send_bytes(bytes(data))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._connection.sendall(data)

    def hold(self) -> None:
        """Say nothing more, but stay connected until the test is over."""
        self._closing.wait(60)


def encode(pictures: Sequence[Image], group: int, start: int = 0) -> bytes:
    """H.264 in MPEG-TS; `start` is the number of the first picture's time stamp."""
    height, width = pictures[0].shape[:2]
    target = io.BytesIO()
    with av.open(target, "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "x264-params": f"keyint={group}:scenecut=0"}
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts = start + number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


class LiveServer:
    """Runs the script for each client that connects, one after the other."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._closing = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}/live.ts"

    def _serve(self) -> None:
        while not self._closing.is_set():
            connection, _ = self._server.accept()
            with connection:
                if self._closing.is_set():
                    return
                connection.recv(4096)
                try:
                    self._script(Camera(connection, self._closing))
                except OSError:
                    continue

    def __enter__(self) -> LiveServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        socket.create_connection(self._server.getsockname()).close()
        self._thread.join(10)
        self._server.close()


@contextmanager
def live(script: Script) -> Iterator[str]:
    """The URL of a camera that follows `script`."""
    with LiveServer(script) as server:
        yield server.url
