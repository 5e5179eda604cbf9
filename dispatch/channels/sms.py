# SPDX-License-Identifier: AGPL-3.0-or-later
"""Notices by SMS through Twilio's Messages API, with status callbacks."""

from __future__ import annotations

from dispatch.channels import Outgoing
from dispatch.channels.account import TwilioChannel


class SmsChannel(TwilioChannel):
    """Texts. ``settings.sender``: a number, or a messaging service (MG…)."""

    name = "sms"

    def _create(self, notice: Outgoing, phone: str, callback: dict[str, str]) -> str | None:
        by = "messaging_service_sid" if self._settings.sender.startswith("MG") else "from_"
        sender = {by: self._settings.sender}
        text = notice.payload["text"]
        sid: str | None = self._client.messages.create(to=phone, body=text, **sender, **callback).sid
        return sid
