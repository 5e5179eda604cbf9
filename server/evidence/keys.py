# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server's signing key and signed notes (the form of C2SP's signed-note and tlog-checkpoint)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.settings import SettingsError

EVIDENCE = "evidence"
"""Signs the log's checkpoints. Each purpose has a key of its own, in `<purpose>.key`."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key with the name it signs under."""

    name: str
    private: Ed25519PrivateKey

    @property
    def _raw(self) -> bytes:
        public = self.private.public_key()
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return b"\x01" + raw

    @property
    def _number(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self._raw).digest()[:4]

    def public_text(self) -> str:
        """The line to publish: name+number+key. Whoever verifies needs it, from a source they trust."""
        return f"{self.name}+{self._number.hex()}+{base64.b64encode(self._raw).decode()}\n"

    def sign(self, body: str) -> str:
        """A signed note over ``body``, which ends with a newline."""
        signature = base64.b64encode(self._number + self.private.sign(body.encode())).decode()
        return f"{body}\n— {self.name} {signature}\n"


def load(data_dir: Path, purpose: str = EVIDENCE) -> SigningKey:
    """The server's key for a purpose from its data folder, made on the first call. Several engines must share one:
    copy the file.

    Raises SettingsError when the file is there and is not a key.
    """
    path = data_dir / f"{purpose}.key"
    with contextlib.suppress(FileExistsError):
        _make(path)
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is not a key ({error}): put the server's key back from its copy") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"{path} is not an Ed25519 key: put the server's key back from its copy")
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    key = SigningKey(f"straw1530/{hashlib.sha256(raw).hexdigest()[:8]}", private)
    public = data_dir / f"{purpose}.pub"
    if not public.exists():
        public.write_text(key.public_text(), encoding="utf-8")
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    content = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Whole or not at all: another process may be making one at the same moment, and the first wins.
    temporary = path.with_suffix(f".{os.getpid()}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink()
