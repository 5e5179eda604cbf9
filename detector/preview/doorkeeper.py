# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may see the box's page: whoever knows its token, by a form and a cookie, or as a bearer (Prometheus)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque

from werkzeug.wrappers import Request, Response

from detector.clock import Clock

COOKIE = "straw1530-box"
MOST_WRONG, WRONG_S = 5, 60.0
"""So many wrong tokens are taken in so many seconds, from all visitors together; then nobody may try."""


class Doorkeeper:
    """Holds the token. Sessions end with the process."""

    def __init__(self, token: str, clock: Clock) -> None:
        self._token = token
        self._clock = clock
        self._cookie = hmac.new(secrets.token_bytes(32), b"session", hashlib.sha256).hexdigest()
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG)

    def lets_in(self, request: Request) -> bool:
        """Whether the visitor has shown the token."""
        if _same(request.cookies.get(COOKIE, ""), self._cookie):
            return True
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts(given.strip())

    def accepts(self, given: str) -> bool:
        """Whether this is the token; after too many wrong ones nothing is, for a minute."""
        now = self._clock.monotonic()
        if len(self._wrong) == MOST_WRONG and now - self._wrong[0] < WRONG_S:
            return False
        right = _same(given, self._token)
        if not right:
            self._wrong.append(now)
        return right

    def admit(self, response: Response) -> None:
        """Give the visitor the cookie: not for scripts, not for other sites."""
        response.set_cookie(COOKIE, self._cookie, httponly=True, samesite="Strict")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
