# SPDX-License-Identifier: AGPL-3.0-or-later
"""Telephone numbers as people write them, to E.164 (ITU-T E.164: a plus and at most fifteen digits)."""

from __future__ import annotations

import re

from server.domain.errors import Invalid
from server.domain.texts import plain

_SEPARATORS = re.compile(r"^tel:|[\s\-\u2010-\u2015().·_/]+", re.IGNORECASE)
_GENERIC = re.compile(r"\+[1-9]\d{7,14}")
# Mainland mobile numbers have eleven digits beginning with 1; 12… is assigned to nobody and serves as fiction.
_CHINESE_MOBILE = re.compile(r"\+861[2-9]\d{9}")
_BARE_CHINESE_MOBILE = re.compile(r"(?:86|0086)?(1[2-9]\d{9})")


def to_e164(written: str) -> str:
    """The number in E.164. A number without a country is taken for a mainland mobile one. Raises Invalid."""
    # "(0)" is dialled within the country only.
    number = _SEPARATORS.sub("", plain(written).replace("(0)", "").strip())
    if match := _BARE_CHINESE_MOBILE.fullmatch(number):
        return f"+86{match[1]}"
    if number.startswith("00"):
        number = f"+{number[2:]}"
    if number.startswith("+86"):
        if _CHINESE_MOBILE.fullmatch(number):
            return number
        raise Invalid(f"{written!r} is not a mainland mobile number (11 digits beginning with 1): texts reach no other")
    if _GENERIC.fullmatch(number):
        return number
    raise Invalid(f"{written!r} is not a telephone number: write +86 and 11 digits, or + country and number")
