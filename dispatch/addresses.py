# SPDX-License-Identifier: AGPL-3.0-or-later
"""The file of secret addresses: who has a chat robot or a webhook, and the account at a provider of texts.

    chat: {group-330802: "dingtalk://SECRET@TOKEN", leader-330802100: ["wecombot://KEY"]}  # apprise's addresses
    webhook: {agriculture-330800: {url: "https://…", secret: "…"}}
    sms: {provider: aliyun, key: …, secret: …, sign: 秸秆禁烧, templates: {dispatch: {id: SMS_1, text: "${code} …"}}}

By login: a group or a department is a person like any other in people.csv, only without a telephone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apprise
import yaml

from dispatch.texts import room
from server.settings import SettingsError

# The shortest that a parameter can be, to see whether a template can ever fit.
_SHORTEST = {"code": "K7F3", "time": "19:52", "minutes": "10", "limit": "30", "left": "10", "bearing": "271"}


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a webhook goes, and the secret that signs what is sent there."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Template:
    """A text that a provider has approved: its number there, and its words with ${code} and the like."""

    id: str
    text: str

    def render(self, params: Mapping[str, str]) -> str:
        """The words as the phone shows them."""
        text = self.text
        for name, value in params.items():
            text = text.replace(f"${{{name}}}", value)
        return text


@dataclass(frozen=True, slots=True)
class Account:
    """At a provider of texts by template. ``url``: None for the provider itself. ``sign`` stands before each text."""

    provider: str
    key: str
    secret: str
    sign: str
    templates: Mapping[str, Template]
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """What the file says, by login."""

    chat: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    webhook: Mapping[str, Hook] = field(default_factory=dict)
    account: Account | None = None


def read_addresses(path: Path) -> Addresses:
    """Read the file. Raises SettingsError with one sentence that names the place and repeats no secret."""
    try:
        if path.stat().st_mode & 0o007:
            raise SettingsError(f"{path} holds secrets and can be read by everybody: chmod 640 it")
        data = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise SettingsError(f"STRAW1530_CHANNELS {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is no YAML: {str(error).splitlines()[0]}") from None
    known = {"chat", "webhook", "sms"}
    if not isinstance(data, dict) or not set(data) <= known:
        raise SettingsError(f"{path} holds {', '.join(sorted(known))} and nothing else")
    chat = {str(login): _chat(path, login, one) for login, one in (data.get("chat") or {}).items()}
    hooks = {str(login): _hook(path, login, one) for login, one in (data.get("webhook") or {}).items()}
    return Addresses(chat, hooks, _account(path, data["sms"]) if data.get("sms") else None)


def _chat(path: Path, login: Any, urls: Any) -> tuple[str, ...]:
    found = tuple(map(str, urls if isinstance(urls, list) else [urls]))
    if not all(apprise.Apprise.instantiate(url, suppress_exceptions=True) for url in found):
        raise SettingsError(f"{path}: chat: {login}: is no address that apprise knows (dingtalk://, wecombot://, …)")
    return found


def _hook(path: Path, login: Any, one: Any) -> Hook:
    if not isinstance(one, dict) or set(one) != {"url", "secret"} or len(str(one["secret"])) < 16:
        raise SettingsError(f"{path}: webhook: {login}: takes url and a secret of at least 16 characters")
    if not str(one["url"]).startswith(("https://", "http://")):
        raise SettingsError(f"{path}: webhook: {login}: url must begin with https://")
    return Hook(str(one["url"]), str(one["secret"]))


def _account(path: Path, one: Any) -> Account:
    wanted = {"provider", "key", "secret", "sign", "templates"}
    if not isinstance(one, dict) or not wanted <= set(one) <= wanted | {"url"}:
        raise SettingsError(f"{path}: sms: takes {', '.join(sorted(wanted))}, and perhaps url")
    templates = {}
    for what, template in dict(one["templates"]).items():
        if not isinstance(template, dict) or set(template) != {"id", "text"}:
            raise SettingsError(f"{path}: sms: templates: {what}: takes id and text")
        made = Template(str(template["id"]), str(template["text"]))
        over = -room(f"【{one['sign']}】{made.render(_SHORTEST | {'place': '某', 'lead': '某'})}")
        if over > 0:
            raise SettingsError(
                f"{path}: sms: templates: {what}: {over} signs more than one text holds, even with the shortest names:"
                " have a shorter one approved"
            )
        templates[str(what)] = made
    if "dispatch" in templates and "bundle" not in templates:
        raise SettingsError(
            f"{path}: sms: templates: bundle: is missing: first calls that wait together share that text"
        )
    url = str(one["url"]).rstrip("/") if one.get("url") else None
    return Account(str(one["provider"]), str(one["key"]), str(one["secret"]), str(one["sign"]), templates, url)
