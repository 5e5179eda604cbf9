# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices by web push (RFC 8030, 8291, 8292): to every browser in which the person asked for them, encrypted for it."""

from __future__ import annotations

import json
import time
from typing import Any

import requests
from py_vapid import Vapid
from pywebpush import WebPushException, webpush
from sqlalchemy import select

from dispatch.channels import SEND_LIMIT_S, Never, Outcome, Outgoing, Sent, TryAgain
from server.db import Database
from server.models import Person, PushSubscription
from server.services import push, tickets
from server.settings import Push

_TIMEOUT_S = 6.0  # to connect, and to be answered
_BEGIN_S = SEND_LIMIT_S - 2 * _TIMEOUT_S  # a push that begins in this time ends within the channel's
_KEPT_S = 1800  # by the service, for a phone that is away: so long an alert may still be acted on
_GONE = frozenset({404, 410})


class WebPushChannel:
    """Pushes. A browser that is gone (404, 410) is forgotten."""

    name = "webpush"
    parallel = 4

    def __init__(self, database: Database, settings: Push, secret_key: str | None) -> None:
        self._database = database
        self._settings = settings
        self._secret_key = secret_key
        self._key = Vapid.from_string(settings.key)
        self._http = requests.Session()

    def ready(self) -> bool:
        """Always: only an attempt can tell."""
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """To all the person's browsers; taken when one of their services took it."""
        with self._database.read() as session:
            mine = select(PushSubscription).join(Person).where(Person.login == notice.login)
            browsers = session.scalars(mine.order_by(PushSubscription.id.desc())).all()
        outcomes: list[Outcome] = []
        began = time.monotonic()
        for browser in browsers:
            if time.monotonic() - began < _BEGIN_S:
                outcomes.append(self._push(browser, notice))
        if not outcomes:
            return Never("no browser of the person asks for push messages")
        return min(outcomes, key=lambda outcome: (Sent, TryAgain, Never).index(type(outcome)))

    def _push(self, browser: PushSubscription, notice: Outgoing) -> Outcome:
        info = {"endpoint": browser.endpoint, "keys": {"p256dh": browser.p256dh, "auth": browser.auth}}
        try:
            webpush(
                info,
                json.dumps(self._content(notice), ensure_ascii=False),
                vapid_private_key=self._key,
                vapid_claims={"sub": self._settings.contact},
                timeout=_TIMEOUT_S,
                ttl=_KEPT_S,
                headers={"Urgency": "high"},
                requests_session=self._http,
            )
        except WebPushException as error:
            return self._refused(browser, error)
        except requests.RequestException as error:
            return TryAgain(f"the push service cannot be reached: {type(error).__name__}")
        except ValueError as error:
            return Never(f"the browser's keys are no keys: {error}")
        return Sent()

    def _refused(self, browser: PushSubscription, error: WebPushException) -> Outcome:
        status = error.response.status_code if error.response is not None else 0
        if status in _GONE:
            with self._database.write() as session:
                push.unsubscribe(session, browser.endpoint)
            return Never(f"the browser is gone: the push service answered {status}")
        if status in (400, 413):
            return Never(f"the push service answered {status}")
        return TryAgain(f"the push service answered {status or 'nothing'}")

    def _content(self, notice: Outgoing) -> dict[str, Any]:
        """What the page's service worker shows (static/sw.js)."""
        code = notice.payload["incident"]
        content = {
            "id": notice.id,
            "title": notice.payload["title"],
            "text": notice.payload["text"],
            "kind": notice.payload["kind"],
            "url": f"/w/{code}" if code else "/w",
        }
        return content | ({"receipt": f"/r/{tickets.receipt(self._secret_key, notice.id)}"} if self._secret_key else {})

    def close(self) -> None:
        """Close the pool of connections."""
        self._http.close()
