# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts through a provider that takes approved templates with parameters, as those in mainland China do.

A provider is one small class: ``Vendor.request`` says what to send, ``Vendor.outcome`` what its answer means. One works
here, Alibaba Cloud's SendSms; add another to ``VENDORS``, try it against a local peer as tests/dispatch/test_vendor.py
does, and name it in the file of addresses.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import requests

from dispatch.addresses import Account, Template
from dispatch.channels import Never, Outcome, Outgoing, Sent, TryAgain
from dispatch.texts import room
from server.settings import SettingsError

_TIMEOUT_S = 8.0


class Vendor(Protocol):
    """A provider's own way."""

    def request(self, notice_id: str, phone: str, template: str, params: Mapping[str, str]) -> requests.Request:
        """What to send, signed."""

    def outcome(self, reply: requests.Response) -> Outcome:
        """What the answer means for the notice."""


class Aliyun:
    """Alibaba Cloud, SendSms of 2017-05-25, signature version 1.0 (HMAC-SHA1 over the sorted query)."""

    # Answers that speak of the number or the text; all others are about the account, the hour or the network.
    _FINAL = frozenset(
        {
            "isv.MOBILE_NUMBER_ILLEGAL",
            "isv.INVALID_PARAMETERS",
            "isv.TEMPLATE_MISSING_PARAMETERS",
            "isv.TEMPLATE_PARAMS_ILLEGAL",
            "isv.PARAM_LENGTH_LIMIT",
            "isv.BLACK_KEY_CONTROL_LIMIT",
            "isv.DAY_LIMIT_CONTROL",
            "isv.SMS_TEMPLATE_ILLEGAL",
        }
    )

    def __init__(self, account: Account) -> None:
        self._account = account
        self._url = account.url or "https://dysmsapi.aliyuncs.com"

    def request(self, notice_id: str, phone: str, template: str, params: Mapping[str, str]) -> requests.Request:
        """A GET with its signature; ``OutId`` carries the notice's id into the delivery reports."""
        query = {
            "AccessKeyId": self._account.key,
            "Action": "SendSms",
            "Format": "JSON",
            "OutId": notice_id,
            "PhoneNumbers": phone.removeprefix("+86"),
            "RegionId": "cn-hangzhou",
            "SignName": self._account.sign,
            "SignatureMethod": "HMAC-SHA1",
            "SignatureNonce": str(uuid.uuid4()),
            "SignatureVersion": "1.0",
            "TemplateCode": template,
            "TemplateParam": json.dumps(dict(params), ensure_ascii=False),
            "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Version": "2017-05-25",
        }
        query["Signature"] = signature(query, self._account.secret)
        return requests.Request("GET", f"{self._url}/?{urlencode(query, quote_via=quote)}")

    def outcome(self, reply: requests.Response) -> Outcome:
        """``Code`` OK, or one of the documented words."""
        try:
            answer: dict[str, Any] = reply.json()
            code = str(answer["Code"])
        except (ValueError, KeyError, TypeError):
            return TryAgain(f"the provider answered {reply.status_code} without a code")
        if code == "OK":
            return Sent(str(answer.get("BizId") or "") or None)
        reason = f"the provider answered {code}: {answer.get('Message', '')}"
        return Never(reason) if code in self._FINAL else TryAgain(reason)


def signature(query: Mapping[str, str], secret: str) -> str:
    """Signature 1.0 of a GET: the query sorted and escaped (RFC 3986), escaped again, under HMAC-SHA1."""
    sorted_query = "&".join(f"{quote(key, safe='~')}={quote(query[key], safe='~')}" for key in sorted(query))
    content = f"GET&%2F&{quote(sorted_query, safe='~')}"
    digest = hmac.new(f"{secret}&".encode(), content.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


VENDORS: Mapping[str, Callable[[Account], Vendor]] = {"aliyun": Aliyun}


class VendorSmsChannel:
    """Texts by template."""

    name = "sms"
    parallel = 4

    def __init__(self, account: Account) -> None:
        if account.provider not in VENDORS:
            raise SettingsError(f"sms: there is no provider {account.provider!r} (known: {', '.join(VENDORS)})")
        self._account = account
        self._vendor = VENDORS[account.provider](account)
        self._http = requests.Session()

    def ready(self) -> bool:
        """Always: only an attempt can tell."""
        return True

    def send(self, notice: Outgoing) -> Outcome:
        """Hand it over by its template; names are cut so that it stays one text."""
        if not notice.phone:
            return Never("the person has no phone number")
        wanted = notice.payload["template"]
        template = self._account.templates.get(wanted["what"])
        if template is None:
            return Never(f"the provider has no template for {wanted['what']!r}")
        params = fitted(template, wanted["params"], self._account.sign)
        request = self._vendor.request(notice.id, notice.phone, template.id, params)
        try:
            reply = self._http.send(self._http.prepare_request(request), timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            return TryAgain(f"the provider cannot be reached: {type(error).__name__}")
        return self._vendor.outcome(reply)

    def close(self) -> None:
        """Close the pool of connections."""
        self._http.close()


def fitted(template: Template, given: Mapping[str, str], sign: str) -> dict[str, str]:
    """The parameters the template names, its longest cut until the text is one segment."""
    params = {name: value for name, value in given.items() if f"${{{name}}}" in template.text}
    while room(f"【{sign}】{template.render(params)}") < 0:
        longest = max(params, key=lambda name: len(params[name]), default="")
        if not longest or len(params[longest]) <= 2:
            break
        params[longest] = params[longest].removesuffix("…")[:-1] + "…"
    return params
