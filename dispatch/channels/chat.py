# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices to chat robots (DingTalk, WeCom, Feishu and whatever else apprise knows), and to webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Mapping

import apprise
import requests

from dispatch.addresses import Hook
from dispatch.channels import Never, Outcome, Outgoing, Sent, TryAgain
from dispatch.channels.robots import send

_TIMEOUT_S = 8.0


class ChatChannel:
    """To somebody's robots; taken when one of them took it. No robot says who has read it: it is never a receipt."""

    name = "chat"
    parallel = 2

    def __init__(self, robots: Mapping[str, tuple[str, ...]]) -> None:
        logging.getLogger("apprise").setLevel(logging.ERROR)
        self._robots = {
            login: [robot for url in urls if (robot := apprise.Apprise.instantiate(url)) is not None]
            for login, urls in robots.items()
        }

    def ready(self) -> bool:
        """Always: only an attempt can tell."""
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """To each of the addressee's robots."""
        robots = self._robots.get(notice.login)
        if not robots:
            return Never("there is no chat robot for this login")
        title, body = notice.payload["title"], notice.payload["text"]
        outcomes = [send(robot, title, body) for robot in robots]
        return next((one for one in outcomes if isinstance(one, Sent)), outcomes[0])

    def close(self) -> None:
        """Nothing stays open."""


class WebhookChannel:
    """The notice as JSON by POST, signed as standardwebhooks.com has it, so that a receiver may check it by any of its
    libraries. What answers 2xx has taken it; 4xx but 408, 409, 425 and 429 is final."""

    name = "webhook"
    parallel = 4

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = hooks
        self._http = requests.Session()

    def ready(self) -> bool:
        """Always: only an attempt can tell."""
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """POST it; the notice's id is the idempotency key."""
        hook = self._hooks.get(notice.login)
        if hook is None:
            return Never("there is no webhook for this login")
        body = json.dumps(notice.payload, ensure_ascii=False, separators=(",", ":"))
        headers = {"Content-Type": "application/json"} | signed(hook.secret, notice.id, int(time.time()), body)
        try:
            reply = self._http.post(
                hook.url, data=body.encode(), headers=headers, timeout=_TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            return TryAgain(f"the webhook cannot be reached: {type(error).__name__}")
        if 200 <= reply.status_code < 300:
            return Sent()
        reason = f"the webhook answered {reply.status_code}"
        return (
            Never(reason)
            if 400 <= reply.status_code < 500 and reply.status_code not in (401, 403, 408, 409, 425, 429)
            else TryAgain(reason)
        )

    def close(self) -> None:
        """Close the pool of connections."""
        self._http.close()


def signed(secret: str, notice_id: str, at: int, body: str) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    content = f"{notice_id}.{at}.{body}".encode()
    digest = hmac.new(secret.encode(), content, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": notice_id, "webhook-timestamp": str(at), "webhook-signature": signature}
