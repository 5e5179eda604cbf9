# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices by telephone through Twilio: the text is spoken twice, and a key accepts."""

from __future__ import annotations

from twilio.twiml.voice_response import Gather, VoiceResponse

from dispatch.channels import Outgoing
from dispatch.channels.account import TwilioChannel, callback_url

# Twilio's <Say> languages.
_SAY = {"zh": "zh-CN", "en": "en-US"}
_PRESS = {"zh": "。签收请按一。", "en": ". Press one to accept."}
_RINGS_S = 30


def twiml(notice: Outgoing, keys_url: str | None) -> str:
    """What Twilio is to say, and where the key goes; nobody is asked for one who has nothing to accept."""
    language = _SAY[notice.language]
    response = VoiceResponse()
    text = notice.payload["text"]
    if keys_url is None or not notice.payload.get("accepts"):
        response.say(text, language=language, loop=2)
        return str(response)
    gather = Gather(num_digits=1, action=keys_url, method="POST", timeout=8)
    gather.say(f"{text}{_PRESS[notice.language]}", language=language, loop=2)
    response.append(gather)
    return str(response)


class VoiceChannel(TwilioChannel):
    """Calls, from ``settings.voice_sender``."""

    name = "voice"

    def _create(self, notice: Outgoing, phone: str, callback: dict[str, str]) -> str | None:
        sid: str | None = self._client.calls.create(
            to=phone,
            from_=self._settings.voice_sender,
            twiml=twiml(notice, callback_url(self._settings, notice.id, "keys")),
            timeout=_RINGS_S,
            **callback,
        ).sid
        return sid
