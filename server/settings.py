# SPDX-License-Identifier: AGPL-3.0-or-later
"""The settings of a server process, read once from the environment, failing at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
class Settings:
    """``data_dir`` holds the evidence, the wake-up sockets and, by default, the SQLite database."""

    data_dir: Path
    database_url: str
    secret_key: str | None
    broker: Broker | None

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
    STRAW1530_SECRET_KEY and STRAW1530_MQTT (user:password@host:port). Raises SettingsError."""
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
    )


def parse_broker(text: str) -> Broker:
    """Read ``user:password@host:port``. Raises SettingsError without repeating the password."""
    credentials, at, address = text.rpartition("@")
    username, colon, password = credentials.partition(":")
    host, _, port = address.rpartition(":")
    if not (at and colon and username and password and host and port.isdigit()):
        raise SettingsError("STRAW1530_MQTT must read user:password@host:port")
    return Broker(host, int(port), username, password)
