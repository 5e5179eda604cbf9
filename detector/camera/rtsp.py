# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP and other live URLs by PyAV, decoding no more than is wanted."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from detector.clock import Clock
from detector.errors import StreamError
from detector.frame import Image

OPEN_S, READ_S = 8.0, 5.0
"""A server that is silent for so long while connecting, or while playing, is gone."""
ANALYSE_S = 0.5
"""How long to look at the stream before its first picture: its format is known at once, its frame rate is not used."""
WHOLE_S = 30.0
"""A stream that gives packets but no whole picture for so long is of no use."""
JUMP_S, LEAP_S = 1.0, 60.0
"""Steps of the camera's timestamps, back and forth, that are none of a stream's own."""
WRAP = 1 << 32
"""Timestamps of RTP begin anew after so many units (RFC 3550)."""
LONGEST_GROUP = 1500
"""Packets kept since the last keyframe: one minute at 25 a second."""


class AvPicture:
    """A picture in the decoder's own format, until its pixels are wanted. Safe to use from several threads: the
    library's own conversion is not."""

    def __init__(self, picture: Any) -> None:
        self._picture = picture
        self._pixels: Image | None = None
        self._lock = threading.Lock()

    def pixels(self) -> Image:
        """BGR uint8, (height, width, 3); converted once, not to be written to."""
        with self._lock:
            if self._pixels is None:
                self._pixels = np.asarray(self._picture.to_ndarray(format="bgr24"), np.uint8)
                self._picture = None
            return self._pixels


class RtspSource:
    """One connection.

    Decodes keyframes alone while these come often enough, which costs a tenth of decoding all; the packets since
    the last keyframe are kept, so that a burst need not wait for the next.
    """

    def __init__(self, url: str, clock: Clock, open_s: float = OPEN_S, read_s: float = READ_S) -> None:
        """Connect; raises StreamError with what is wrong and what to check."""
        self._clock = clock
        self._container = _open(url, clock, open_s, read_s)
        streams = self._container.streams.video
        if not streams:
            self.close()
            raise StreamError("the stream has no video: check the path in the camera's URL")
        self._time_base = float(streams[0].time_base or 0)
        self._decoder: Any = streams[0].codec_context
        self._decoder.thread_count = 1
        # Sound and data too: the library would wait within one call for video that has ended while they go on.
        self._packets: Iterator[Any] = self._container.demux()
        self._video = streams[0].index
        self._group: list[Any] = []
        self._all = False
        self._key_at: float | None = None
        self._spacing_s = 0.0
        self._last_time: float | None = None
        self._whole_at = clock.monotonic()
        self._damaged = 0
        self._faults: list[str] = []

    def read(self, every_s: float) -> AvPicture | None:
        """See detector.camera.stream.Source."""
        packet = self._next_packet()
        now = self._clock.monotonic()
        picture = self._take(packet, every_s, now) if packet.stream_index == self._video else None
        if picture is not None:
            self._whole_at = now
            return AvPicture(picture)
        if now - self._whole_at > WHOLE_S:
            raise StreamError(f"no whole picture for {WHOLE_S:.0f} s ({self._damaged} damaged): check its link")
        return None

    def faults(self) -> list[str]:
        """See detector.camera.stream.Source."""
        faults, self._faults = self._faults, []
        return faults

    def close(self) -> None:
        """See detector.camera.stream.Source."""
        self._container.close()

    def _next_packet(self) -> Any:
        try:
            packet = next(self._packets, None)
        except av.FFmpegError as error:
            raise StreamError(_describe(error)) from error
        if packet is None or packet.dts is None and packet.size == 0:
            raise StreamError("the camera ended the stream")
        return packet

    def _take(self, packet: Any, every_s: float, now: float) -> Any:
        """One packet of the video; see `_decode`."""
        self._watch_time(packet)
        if packet.is_keyframe:
            self._spacing_s = now - self._key_at if self._key_at is not None else 0.0
            self._key_at = now
            self._group = []
        return self._decode(packet, every_s, now)

    def _decode(self, packet: Any, every_s: float, now: float) -> Any:
        """The newest whole picture this packet completes, or None."""
        if self._key_at is None:
            return None
        if self._all and packet.is_keyframe:
            self._all = self._sparse(every_s, now)
        if self._all:
            return self._feed([packet])
        if len(self._group) < LONGEST_GROUP:
            self._group.append(packet)
        if self._sparse(every_s, now):
            self._all = True
            self._decoder.flush_buffers()
            return self._feed(self._group)
        if not packet.is_keyframe:
            return None
        picture = self._feed([packet, None])
        self._decoder.flush_buffers()
        return picture

    def _sparse(self, every_s: float, now: float) -> bool:
        """Whether keyframes come too seldom for pictures every `every_s` seconds."""
        since_key = now - self._key_at if self._key_at is not None else 0.0
        return max(self._spacing_s, since_key) > every_s

    def _feed(self, packets: list[Any]) -> Any:
        newest = None
        for packet in packets:
            try:
                pictures = self._decoder.decode(packet)
            except av.FFmpegError:
                self._damage()
                continue
            for picture in pictures:
                if picture.is_corrupt:
                    self._damage()
                else:
                    newest = picture
        return newest

    def _damage(self) -> None:
        """Count a damaged picture; say so at the first and then at each doubling."""
        self._damaged += 1
        if self._damaged & (self._damaged - 1) == 0:
            self._faults.append(f"damaged video ({self._damaged} pictures so far)")

    def _watch_time(self, packet: Any) -> None:
        if packet.dts is None:
            return
        time = packet.dts * self._time_base
        if self._last_time is not None:
            jump = time - self._last_time
            if jump > WRAP * self._time_base / 2:
                jump -= WRAP * self._time_base  # the library takes a step back for a step around
            if jump < -JUMP_S:
                self._faults.append(f"the camera's timestamps jumped back by {-jump:.1f} s")
            elif jump > LEAP_S:
                self._faults.append(f"the camera's timestamps leapt on by {jump:.1f} s")
        self._last_time = time


def without_password(url: str) -> str:
    """The URL as it may stand in a log. A password may hold an @ of its own, as cameras let it."""
    return re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)


def _open(url: str, clock: Clock, open_s: float, read_s: float) -> Any:
    began = clock.monotonic()
    options = {"analyzeduration": str(int(ANALYSE_S * 1e6))}
    if url.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        return av.open(url, options=options, timeout=(open_s, read_s))
    except (av.FFmpegError, OSError, ValueError) as error:
        # The library calls a server that took the connection and then said nothing invalid data, too.
        silent = isinstance(error, av.error.InvalidDataError) and clock.monotonic() - began >= open_s
        raise StreamError(_describe(TimeoutError() if silent else error)) from error


def _describe(error: Exception) -> str:
    """A library's error as one phrase with the mend."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return "the camera does not answer: check that it is on and that the network reaches it"
    if isinstance(error, ConnectionRefusedError):
        return "the camera refuses the connection: check host and port of its URL"
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return "the camera refuses the password: check user and password in its URL"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "the camera knows no such stream: check the path in its URL"
    if isinstance(error, av.error.InvalidDataError):
        return "the camera sends what is not video: check its URL and its encoder settings"
    return f"the connection was lost ({getattr(error, 'strerror', None) or error})"
