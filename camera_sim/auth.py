# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP authentication: digest (RFC 7616 with MD5, what cameras speak) and basic."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

REALM = "camera-sim"


@dataclass(frozen=True)
class Credentials:
    """The one user who may watch, and the nonce of this run."""

    user: str
    password: str = field(repr=False)
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    def challenges(self) -> list[str]:
        """The values of the WWW-Authenticate headers."""
        return [f'Digest realm="{REALM}", nonce="{self.nonce}"', f'Basic realm="{REALM}"']

    def accept(self, header: str, method: str) -> bool:
        """Whether an Authorization header proves the user and password for a request."""
        scheme, _, rest = header.partition(" ")
        if scheme.lower() == "basic":
            return self._basic(rest)
        if scheme.lower() == "digest":
            return self._digest(rest, method)
        return False

    def _basic(self, token: str) -> bool:
        try:
            given = base64.b64decode(token.strip(), validate=True)
        except binascii.Error:
            return False
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode())

    def _digest(self, rest: str, method: str) -> bool:
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if said.get("username") != self.user or said.get("nonce") != self.nonce:
            return False
        secret = _md5(f"{self.user}:{REALM}:{self.password}")
        asked = _md5(f"{method}:{said.get('uri', '')}")
        expected = _md5(f"{secret}:{self.nonce}:{asked}")
        return hmac.compare_digest(expected, said.get("response", ""))


def _md5(text: str) -> str:
    # The protocol fixes the hash; nothing but a camera's login rests on it.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
