# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dispatcher's settings, read once from the environment beside the server's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dispatch.addresses import Addresses, read_addresses
from server.settings import Settings, SettingsError, read_settings


@dataclass(frozen=True, slots=True)
class Twilio:
    """An account. ``sender``: a number or a messaging service; ``base_url``: None for Twilio itself;
    ``callback_url``: where status reports reach ``server.web.callbacks`` from outside, None for no reports;
    ``voice_sender``: the number that calls, None for no calls."""

    sid: str
    token: str
    sender: str
    base_url: str | None = None
    callback_url: str | None = None
    voice_sender: str | None = None


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """What ``straw1530 dispatch`` runs with. ``daily_texts``: at most so many to one number in 24 hours, None for no
    bound; ``texts_per_s``: at most so many a second in all, None for no bound."""

    server: Settings
    twilio: Twilio | None
    addresses: Addresses = field(default_factory=Addresses)
    daily_texts: int | None = None
    texts_per_s: float | None = None


def read_dispatch_settings(environ: Mapping[str, str] | None = None) -> DispatchSettings:
    """Read the server's settings; STRAW1530_TWILIO_SID, _TOKEN, _FROM (all absent: no SMS), _BASE_URL, _CALLBACK_URL,
    _VOICE_FROM (absent: no calls); STRAW1530_SMS_DAILY and STRAW1530_SMS_PER_SECOND; STRAW1530_CHANNELS (a
    file, see ``dispatch.addresses``). Raises SettingsError."""
    env = os.environ if environ is None else environ
    path = env.get("STRAW1530_CHANNELS")
    settings = DispatchSettings(
        read_settings(env),
        _twilio(env),
        read_addresses(Path(path)) if path else Addresses(),
        daily_texts=int(daily) if (daily := _number(env, "STRAW1530_SMS_DAILY")) is not None else None,
        texts_per_s=_number(env, "STRAW1530_SMS_PER_SECOND"),
    )
    if settings.twilio is not None and settings.addresses.account is not None:
        raise SettingsError("texts are set up twice: drop STRAW1530_TWILIO_… or sms in the file of STRAW1530_CHANNELS")
    return settings


def _twilio(env: Mapping[str, str]) -> Twilio | None:
    names = ("STRAW1530_TWILIO_SID", "STRAW1530_TWILIO_TOKEN", "STRAW1530_TWILIO_FROM")
    given = [name for name in names if env.get(name)]
    if not given:
        return None
    missing = [name for name in names if name not in given]
    if missing:
        raise SettingsError(f"{', '.join(missing)} is not set beside {given[0]}: SMS needs all three, or none")
    sid, token, sender = (env[name] for name in names)
    return Twilio(
        sid,
        token,
        sender,
        base_url=_base_url(env),
        callback_url=env.get("STRAW1530_TWILIO_CALLBACK_URL") or None,
        voice_sender=env.get("STRAW1530_TWILIO_VOICE_FROM") or None,
    )


def _number(env: Mapping[str, str], name: str) -> float | None:
    text = env.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise SettingsError(f"{name} must be a positive number, not {text!r}")
    return value


def _base_url(env: Mapping[str, str]) -> str | None:
    value = env.get("STRAW1530_TWILIO_BASE_URL")
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError(f"STRAW1530_TWILIO_BASE_URL must be an http(s) address, not {value!r}")
    return value
