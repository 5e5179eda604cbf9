# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings of a server process, read once from the environment, failing at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


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
class Settings:
    """``data_dir`` holds the evidence, the wake-up sockets and, by default, the SQLite database."""

    data_dir: Path
    database_url: str
    secret_key: str | None
    broker: Broker | None
    status_reports: StatusReports | None = None
    terrain_dir: Path | None = None  # elevation tiles

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
    of elevation tiles), STRAW1530_TWILIO_TOKEN and STRAW1530_TWILIO_CALLBACK_URL. Raises SettingsError."""
    env = os.environ if environ is None else environ
    if not env.get("STRAW1530_DATA"):
        raise SettingsError("STRAW1530_DATA is not set: give the folder that holds the server's data")
    data_dir = Path(env["STRAW1530_DATA"]).absolute()
    url = env.get("STRAW1530_DATABASE") or f"sqlite:///{data_dir / 'straw1530.sqlite'}"
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    mqtt = env.get("STRAW1530_MQTT")
    return Settings(
        data_dir=data_dir,
        database_url=url,
        secret_key=env.get("STRAW1530_SECRET_KEY"),
        broker=parse_broker(mqtt) if mqtt else None,
        status_reports=_status_reports(env),
        terrain_dir=Path(env["STRAW1530_TERRAIN"]).absolute() if env.get("STRAW1530_TERRAIN") else None,
    )


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
    if not (at and colon and username and password and host and port.isdigit()):
        raise SettingsError("STRAW1530_MQTT must read user:password@host:port")
    return Broker(host, int(port), username, password)
