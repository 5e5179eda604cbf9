# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts that the record can keep."""

from __future__ import annotations

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
