# SPDX-License-Identifier: AGPL-3.0-or-later
"""SOAP 1.2 as an ONVIF device speaks it: envelopes, faults, and WS-UsernameToken digests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

from camera_sim.auth import Credentials

SOAP = "http://www.w3.org/2003/05/soap-envelope"
SCHEMA = "http://www.onvif.org/ver10/schema"
_SECURITY = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
CLOCKS_APART = timedelta(minutes=5)


class Refused(Exception):
    """A SOAP fault: its ONVIF subcode, and a sentence."""

    def __init__(self, subcode: str, text: str) -> None:
        super().__init__(text)
        self.subcode = subcode


def read(body: bytes) -> tuple[ET.Element, ET.Element]:
    """A request's envelope and its operation; raises Refused."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - a simulator that listens where it is told to
        return root, next(iter(root.find(f"{{{SOAP}}}Body") or ()))
    except (ET.ParseError, StopIteration):
        raise Refused("ter:WellFormed", "this is no SOAP request") from None


def authenticate(root: ET.Element, credentials: Credentials) -> None:
    """Raises Refused unless the envelope's digest proves the user and password, and is fresh."""
    token = root.find(f".//{{{_SECURITY}}}UsernameToken")
    said = {child.tag.rpartition("}")[2]: child.text or "" for child in (token if token is not None else ())}
    try:
        nonce = base64.b64decode(said.get("Nonce", ""), validate=True)
        created = datetime.fromisoformat(said.get("Created", ""))
    except ValueError:
        raise Refused("ter:NotAuthorized", "the sender is not authorized") from None
    secret = nonce + said["Created"].encode() + credentials.password.encode()
    digest = base64.b64encode(hashlib.sha1(secret, usedforsecurity=False).digest()).decode()  # the profile's own
    known = said.get("Username") == credentials.user and hmac.compare_digest(digest, said.get("Password", ""))
    fresh = created.tzinfo is not None and abs(datetime.now(UTC) - created) < CLOCKS_APART
    if not (known and fresh):
        raise Refused("ter:NotAuthorized", "the sender is not authorized")


def envelope(inner: str) -> bytes:
    """A whole answer around its body."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{SOAP}" xmlns:tt="{SCHEMA}">'
        f"<s:Body>{inner}</s:Body></s:Envelope>"
    ).encode()


def fault(subcode: str, text: str) -> bytes:
    """A whole answer that says no."""
    return envelope(
        '<s:Fault xmlns:ter="http://www.onvif.org/ver10/error"><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>'
        f"{subcode}</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang='en'>{escape(text)}</s:Text></s:Reason>"
        "</s:Fault>"
    )
