# SPDX-License-Identifier: AGPL-3.0-or-later
"""An update as the server offers it: signed, for one box, of one kind, with the digests of its files."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from detector.errors import DetectorError
from detector.wire import UpdateKind

CONTEXT = b"straw1530 edge update v1\n"
"""Signed before the body, so that nothing else the key may sign passes for an update."""
MOST_FILE_BYTES = 64 * 1024 * 1024


class UpdateError(DetectorError):
    """An update that is not taken; one phrase."""


class UpdateFile(BaseModel):
    """One file: its name has no folder."""

    model_config = ConfigDict(frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
    bytes: Annotated[int, Field(ge=1, le=MOST_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Update(BaseModel):
    """What was signed. Unknown fields are left for later versions to add."""

    model_config = ConfigDict(frozen=True)

    edge: str
    kind: UpdateKind
    version: Annotated[int, Field(ge=1)]
    files: Annotated[tuple[UpdateFile, ...], Field(min_length=1, max_length=4)]


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True)

    v: Literal[1]
    body: str
    signature: str


def public_key(text: str) -> Ed25519PublicKey:
    """The key as settings hold it: 32 bytes in base64. Raises ValueError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("is no key: copy what `straw1530 admin edge key` prints on the server") from error


def read_update(payload: bytes, key: Ed25519PublicKey, edge: str) -> Update:
    """The update that an offer holds, its signature verified before anything in it is believed. Raises UpdateError."""
    try:
        envelope = _Envelope.model_validate_json(payload)
        signature = base64.b64decode(envelope.signature, validate=True)
    except (ValidationError, binascii.Error) as error:
        raise UpdateError(f"the update is none of version 1: {_first(error)}") from error
    try:
        key.verify(signature, CONTEXT + envelope.body.encode())
    except InvalidSignature:
        raise UpdateError(
            "the update's signature is not by updates.public_key: have the server's operator compare "
            "`straw1530 admin edge key` with this box's settings"
        ) from None
    try:
        update = Update.model_validate_json(envelope.body)
    except ValidationError as error:
        raise UpdateError(f"the update cannot be read: {_first(error)}") from error
    if update.edge != edge:
        raise UpdateError(f"the update is for {update.edge}")
    return update


def model_in(folder: Path) -> Path | None:
    """The model file of a folder that holds one model with its card; None when there is none, or more than one."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix in {".onnx", ".xml", ".pt"}]
    return found[0] if len(found) == 1 else None


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc'])) or 'message'}: {fault['msg']}"
    return str(error)
