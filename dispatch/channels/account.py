# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the channels through Twilio share: the client, the callbacks' addresses, and what an error means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import requests
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from dispatch.channels import Never, Outcome, Outgoing, Sent, TryAgain
from dispatch.settings import Twilio

_TIMEOUT_S = 8.0
# Answers that say nothing about the notice: request timeout, too many requests, and what concerns our own account.
_NOT_THE_NOTICE = frozenset({401, 403, 408, 429})


class ElsewhereHttpClient(TwilioHttpClient):  # type: ignore[misc]
    """Sends Twilio's requests to another scheme and host: a local peer, or a proxy that speaks for Twilio."""

    def __init__(self, base_url: str, timeout: float) -> None:
        super().__init__(timeout=timeout)
        self._base = urlsplit(base_url)

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        """As the parent, with the scheme and the host of ``url`` replaced."""
        parts = urlsplit(url)._replace(scheme=self._base.scheme, netloc=self._base.netloc)
        return super().request(method, urlunsplit(parts), *args, **kwargs)


def twilio_client(settings: Twilio) -> Client:
    """The client, pointed where the settings say."""
    if settings.base_url:
        http: TwilioHttpClient = ElsewhereHttpClient(settings.base_url, _TIMEOUT_S)
    else:
        http = TwilioHttpClient(timeout=_TIMEOUT_S)
    return Client(settings.sid, settings.token, http_client=http)


def callback_url(settings: Twilio, notice_id: str, what: str) -> str | None:
    """Where Twilio reports the notice's fate ("status") or the key pressed ("keys"). The notice's id is in the (signed)
    address, because a report may come before our own record of the message's SID."""
    if not settings.callback_url:
        return None
    return f"{settings.callback_url.rpartition('/')[0]}/{what}?{urlencode({'notice': notice_id})}"


def close_client(client: Client) -> None:
    """Close a client's pool of connections."""
    http = client.http_client
    if isinstance(http, TwilioHttpClient) and http.session is not None:
        http.session.close()


def outcome_of(error: Exception) -> Outcome:
    """What an exception of the Twilio client means for the notice."""
    if isinstance(error, TwilioRestException):
        reason = f"Twilio answered {error.status}, code {error.code}: {error.msg}"
        if 400 <= error.status < 500 and error.status not in _NOT_THE_NOTICE:
            return Never(reason)
        return TryAgain(reason)
    return TryAgain(f"Twilio cannot be reached: {type(error).__name__}")


class TwilioChannel(ABC):
    """A channel to a person's phone number. A subclass says what is created at Twilio."""

    parallel = 4

    def __init__(self, settings: Twilio) -> None:
        self._settings = settings
        self._client = twilio_client(settings)

    def ready(self) -> bool:
        """Always: only an attempt can tell."""
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """Hand the notice to Twilio; what became of it is reported by callback."""
        if not notice.phone:
            return Never("the person has no phone number")
        status = callback_url(self._settings, notice.id, "status")
        try:
            return Sent(self._create(notice, notice.phone, {"status_callback": status} if status else {}))
        except (TwilioException, requests.RequestException) as error:
            return outcome_of(error)

    @abstractmethod
    def _create(self, notice: Outgoing, phone: str, callback: dict[str, str]) -> str | None:
        """Create it at Twilio and return its SID; the client's exceptions propagate."""

    def close(self) -> None:
        """Close the pool of connections."""
        close_client(self._client)
