# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts that the record can keep, and what people type, however they type it."""

from __future__ import annotations

import unicodedata

from server.domain.errors import Invalid


def check_texts(value: object) -> None:
    """Raise Invalid where a text in parsed JSON holds NUL (PostgreSQL keeps none) or half a surrogate pair (no database
    does)."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise Invalid("a text holds NUL or half a character")
    elif isinstance(value, dict):
        for pair in value.items():
            check_texts(pair)
    elif isinstance(value, list | tuple):
        for each in value:
            check_texts(each)


def plain(written: str) -> str:
    """A text as an ordinary keyboard has it: full-width signs narrow, digits of every script as 0 to 9, and without the
    invisible marks that come along when something is copied from a chat."""
    narrow = unicodedata.normalize("NFKC", written)
    return "".join(str(unicodedata.decimal(sign, sign)) for sign in narrow if unicodedata.category(sign) != "Cf")
