# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings of a server process, read once from the environment, failing at the start."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError


class SettingsError(Exception):
    """A setting is missing or makes no sense; the sentence names it and the mend."""


@dataclass(frozen=True, slots=True)
class Broker:
    """How to reach the MQTT broker."""

    host: str
    port: int
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class StatusReports:
    """Twilio's reports of what became of a message: the account's token signs them, ``url`` is where they come in, as
    seen from outside."""

    token: str
    url: str


@dataclass(frozen=True, slots=True)
class Push:
    """Web push: the VAPID key (base64url of the raw private key), the address its pushes name as ours (mailto: or
    https:), and origins of push services beside the browsers' own that may be written to."""

    key: str
    contact: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """``data_dir`` holds the evidence, the wake-up sockets and, by default, the SQLite database."""

    data_dir: Path
    database_url: str
    secret_key: str | None
    broker: Broker | None
    status_reports: StatusReports | None = None
    public_url: str | None = None  # where people reach the web process: https://host, without a slash at its end
    push: Push | None = None
    sms_report_secret: str | None = None  # the last part of the address to which a provider of texts reports
    terrain_dir: Path | None = None  # elevation tiles
    zone: ZoneInfo = ZoneInfo("Asia/Shanghai")  # of the times that people read, and of rosters
    country: str = "CN"  # ISO 3166: whose public holidays

    @property
    def evidence_dir(self) -> Path:
        """Where pictures lie under their SHA-256."""
        return self.data_dir / "evidence"

    def require_broker(self) -> Broker:
        """The broker, or SettingsError."""
        if self.broker is None:
            raise SettingsError("STRAW1530_MQTT is not set: give user:password@host:port of the broker")
        return self.broker

    def require_secret_key(self) -> str:
        """The key that signs sessions, or SettingsError."""
        if not self.secret_key or len(self.secret_key) < 32:
            raise SettingsError(
                "STRAW1530_SECRET_KEY is missing or shorter than 32 characters:"
                " make one with `python3 -c 'import secrets; print(secrets.token_hex(32))'`"
            )
        return self.secret_key


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read STRAW1530_DATA (a folder), STRAW1530_DATABASE (a URL; default SQLite in the folder),
    STRAW1530_SECRET_KEY, STRAW1530_MQTT (user:password@host:port), STRAW1530_TERRAIN (a folder
    of elevation tiles), STRAW1530_TIMEZONE (default Asia/Shanghai), STRAW1530_COUNTRY (default CN),
    STRAW1530_TWILIO_TOKEN and STRAW1530_TWILIO_CALLBACK_URL, STRAW1530_PUBLIC_URL (https://host), and for web push
    STRAW1530_PUSH_KEY, _PUSH_CONTACT and _PUSH_SERVICES (origins apart by spaces), and STRAW1530_SMS_REPORT_SECRET.
    Raises SettingsError."""
    env = os.environ if environ is None else environ
    if not env.get("STRAW1530_DATA"):
        raise SettingsError("STRAW1530_DATA is not set: give the folder that holds the server's data")
    data_dir = Path(env["STRAW1530_DATA"]).absolute()
    url = env.get("STRAW1530_DATABASE") or f"sqlite:///{data_dir / 'straw1530.sqlite'}"
    mqtt = env.get("STRAW1530_MQTT")
    return Settings(
        data_dir=data_dir,
        database_url=_database(url),
        secret_key=env.get("STRAW1530_SECRET_KEY"),
        broker=parse_broker(mqtt) if mqtt else None,
        status_reports=_status_reports(env),
        public_url=_origin("STRAW1530_PUBLIC_URL", env.get("STRAW1530_PUBLIC_URL")),
        push=_push(env),
        sms_report_secret=_report_secret(env),
        terrain_dir=Path(env["STRAW1530_TERRAIN"]).absolute() if env.get("STRAW1530_TERRAIN") else None,
        zone=_zone(env.get("STRAW1530_TIMEZONE") or "Asia/Shanghai"),
        country=_country(env.get("STRAW1530_COUNTRY") or "CN"),
    )


def _database(url: str) -> str:
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        known = make_url(url).drivername in ("sqlite", "postgresql+psycopg")
    except (ArgumentError, ValueError):
        known = False
    if not known:
        raise SettingsError("STRAW1530_DATABASE must read postgresql://user:password@host/database, or sqlite:///FILE")
    return url


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise SettingsError(f"STRAW1530_TIMEZONE {name!r} is not known here: give one like Asia/Shanghai") from None


def _country(code: str) -> str:
    if code not in holidays.list_supported_countries():
        raise SettingsError(f"STRAW1530_COUNTRY {code!r} is none whose holidays are known: give one like CN")
    return code


def _origin(name: str, value: str | None) -> str | None:
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise SettingsError(f"{name} must read https://host, not {value!r}")
    return f"{parts.scheme}://{parts.netloc}"


def _push(env: Mapping[str, str]) -> Push | None:
    key = env.get("STRAW1530_PUSH_KEY")
    if not key:
        return None
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", key):
        raise SettingsError("STRAW1530_PUSH_KEY is not a key: make one with `straw1530 admin push-key`")
    contact = env.get("STRAW1530_PUSH_CONTACT") or ""
    if not contact.startswith(("mailto:", "https:")):
        raise SettingsError("STRAW1530_PUSH_CONTACT is not set beside STRAW1530_PUSH_KEY: give mailto:… or https://…")
    others = [_origin("STRAW1530_PUSH_SERVICES", one) for one in (env.get("STRAW1530_PUSH_SERVICES") or "").split()]
    return Push(key, contact, tuple(one for one in others if one))


def _report_secret(env: Mapping[str, str]) -> str | None:
    secret = env.get("STRAW1530_SMS_REPORT_SECRET")
    if secret and not re.fullmatch(r"[A-Za-z0-9_-]{24,}", secret):
        raise SettingsError("STRAW1530_SMS_REPORT_SECRET takes at least 24 letters and digits: it is part of a URL")
    return secret or None


def _status_reports(env: Mapping[str, str]) -> StatusReports | None:
    token, url = env.get("STRAW1530_TWILIO_TOKEN"), env.get("STRAW1530_TWILIO_CALLBACK_URL")
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or not url.endswith("/callbacks/twilio/status"):
        raise SettingsError(f"STRAW1530_TWILIO_CALLBACK_URL must read https://…/callbacks/twilio/status, not {url!r}")
    if not token:
        raise SettingsError(
            "STRAW1530_TWILIO_TOKEN is not set beside STRAW1530_TWILIO_CALLBACK_URL: it signs the reports"
        )
    return StatusReports(token, url)


def parse_broker(text: str) -> Broker:
    """Read ``user:password@host:port``. Raises SettingsError without repeating the password."""
    credentials, at, address = text.rpartition("@")
    username, colon, password = credentials.partition(":")
    host, _, port = address.rpartition(":")
    if not (at and colon and username and password and host and port.isdecimal() and 0 < int(port) < 65536):
        raise SettingsError("STRAW1530_MQTT must read user:password@host:port")
    return Broker(host, int(port), username, password)
