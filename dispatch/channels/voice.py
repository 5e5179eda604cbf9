# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices by telephone through Twilio: the text is spoken twice, and a key accepts."""

from __future__ import annotations

import requests
from twilio.base.exceptions import TwilioException
from twilio.twiml.voice_response import Gather, VoiceResponse

from dispatch.channels import Never, Outcome, Outgoing, Sent
from dispatch.channels.sms import callback_url, close_client, outcome_of, twilio_client
from dispatch.settings import Twilio

# Twilio's <Say> languages.
_SAY = {"zh": "zh-CN", "en": "en-US"}
_PRESS = {"zh": "签收请按一。", "en": "Press one to accept."}
_RINGS_S = 30


def twiml(notice: Outgoing, keys_url: str | None) -> str:
    """What Twilio is to say, and where the key goes."""
    language = _SAY[notice.language]
    response = VoiceResponse()
    text = notice.payload["text"]
    if keys_url is None or notice.payload["drill"]:
        response.say(text, language=language, loop=2)
        return str(response)
    gather = Gather(num_digits=1, action=keys_url, method="POST", timeout=8)
    gather.say(f"{text}{_PRESS[notice.language]}", language=language, loop=2)
    response.append(gather)
    return str(response)


class VoiceChannel:
    """The channel to a person's telephone."""

    name = "voice"
    parallel = 4

    def __init__(self, settings: Twilio) -> None:
        self._settings = settings
        self._client = twilio_client(settings)

    def ready(self) -> bool:
        """Always: only an attempt can tell."""
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """Have Twilio call; how the call ended is reported by callback."""
        if not notice.phone:
            return Never("the person has no phone number")
        status = callback_url(self._settings, notice.id, "status")
        extra = {"status_callback": status} if status else {}
        try:
            call = self._client.calls.create(
                to=notice.phone,
                from_=self._settings.voice_sender,
                twiml=twiml(notice, callback_url(self._settings, notice.id, "keys")),
                timeout=_RINGS_S,
                **extra,
            )
        except (TwilioException, requests.RequestException) as error:
            return outcome_of(error)
        return Sent(call.sid)

    def close(self) -> None:
        """Close the pool of connections."""
        close_client(self._client)
