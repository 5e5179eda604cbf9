# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras that give single pictures: a JPEG for each request, by HTTP with basic or digest authentication."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import cv2
import numpy as np

from detector.clock import Clock
from detector.errors import StreamError
from detector.frame import Image

READ_S = 5.0
"""A server that is silent for so long is gone, and so is one that takes so long over one picture."""
MOST_BYTES = 20_000_000
CHUNK = 1 << 16
FAULTS_RUNNING = 5
"""So many damaged pictures running are no stream."""
SINGLE = re.compile(r"snap|picture|image|(?<!m)jpe?g", re.IGNORECASE)
OFTEN_S = 0.5
"""No camera is asked more often."""


class JpegPicture:
    """A picture as the camera coded it."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def pixels(self) -> Image:
        """BGR uint8, (height, width, 3)."""
        return self._image


class SnapshotSource:
    """See detector.camera.stream.Source. Each `read` asks for one picture, or waits until one is wanted."""

    def __init__(self, url: str, clock: Clock, read_s: float = READ_S) -> None:
        """`url` may hold user and password."""
        self._url, opener = _with_password(url)
        self._opener = opener
        self._clock = clock
        self._read_s = read_s
        self._asked_at: float | None = None
        self._damaged = 0
        self._faults: list[str] = []

    def read(self, every_s: float) -> JpegPicture | None:
        """See detector.camera.stream.Source."""
        now = self._clock.monotonic()
        every_s = max(every_s, OFTEN_S)
        if self._asked_at is not None and now - self._asked_at < every_s:
            time.sleep(min(0.1, every_s - (now - self._asked_at)))
            return None
        self._asked_at = now
        data = self._fetch()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is not None and data.rstrip(b"\0\r\n").endswith(b"\xff\xd9"):
            self._damaged = 0
            return JpegPicture(np.asarray(image, np.uint8))
        self._damaged += 1
        if self._damaged >= FAULTS_RUNNING:
            raise StreamError(f"{self._damaged} damaged pictures running: check the address of the snapshot")
        self._faults.append(f"damaged picture ({len(data)} bytes)")
        return None

    def faults(self) -> list[str]:
        """See detector.camera.stream.Source."""
        faults, self._faults = self._faults, []
        return faults

    def close(self) -> None:
        """Nothing stays open between two pictures."""

    def _fetch(self) -> bytes:
        begun = time.monotonic()
        try:
            with self._opener.open(self._url, timeout=self._read_s) as answer:
                parts: list[bytes] = []
                while part := answer.read1(CHUNK):
                    parts.append(part)
                    if time.monotonic() - begun > self._read_s:
                        raise StreamError("the camera takes too long over one picture: check its link")
                    if sum(map(len, parts)) > MOST_BYTES:
                        raise StreamError("what the camera sends has no end: is this the address of a snapshot?")
                return b"".join(parts)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StreamError(_describe(error)) from error


def gives_pictures(url: str) -> bool:
    """Whether an HTTP address is that of single pictures, by what makers call them; #snapshot says so too."""
    parts = urlsplit(url)
    return SINGLE.search(f"{parts.path}?{parts.query}#{parts.fragment}") is not None


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Asked first; the library would leave the refused answer's connection open."""

    def http_error_401(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        fp.close()
        return super().http_error_401(req, fp, code, msg, headers)


def _with_password(url: str) -> tuple[str, urllib.request.OpenerDirector]:
    """The address without its user, and what opens it with that user, directly."""
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    known.add_password(None, plain, unquote(parts.username or ""), unquote(parts.password or ""))
    handlers = urllib.request.ProxyHandler({}), _Digest(known), urllib.request.HTTPBasicAuthHandler(known)
    return plain, urllib.request.build_opener(*handlers)


def _describe(error: Exception) -> str:
    """A library's error as one phrase with the mend."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    code = getattr(error, "code", None)
    reason = getattr(error, "reason", error)
    if code in {401, 403} or "401" in str(error):
        return "the camera refuses the password: check user and password in its URL"
    if code == 404:
        return "the camera knows no such picture: check the path in its URL"
    if code is not None:
        return f"the camera answers {code}: check it on its own page"
    if isinstance(error, TimeoutError) or isinstance(reason, TimeoutError):
        return "the camera does not answer: check that it is on and that the network reaches it"
    if isinstance(reason, ConnectionRefusedError):
        return "the camera refuses the connection: check host and port of its URL"
    return f"the connection was lost ({reason})"
