# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people read: short, each unlike the others, without a link."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.texts import SENTENCES, Facts, room, sms, title

FACTS = Facts("K7F3", "dispatch", "dispatch", ("柯城区", "石梁镇", "东村"), "19:52", 10, 30, 271, "东村")
KEYS = sorted(SENTENCES)


def test_the_first_text_says_where_when_and_what_to_do() -> None:
    """Township, village, time and the five minutes in one short sentence."""
    text = sms("zh", replace(FACTS, limit=5))
    assert text == "【秸秆禁烧】K7F3 石梁镇东村 疑似焚烧，19:52发现，请5分钟内签收"


@pytest.mark.parametrize(("language", "what"), KEYS)
def test_every_text_fits_one_segment_and_has_no_link(language: str, what: str) -> None:
    """Long names are shortened, the code (of up to eight signs) and what to do are not, after days either."""
    long = ("衢江区", "某某某某街道办事处", "某某某某某某某某某某某某某某某某社区居民委员会")
    longest = replace(FACTS, code="K7F3QWER", what=what, minutes=14_400, place=long, lead=long[-1])
    text = sms(language, longest)
    assert room(text) >= 0
    assert "K7F3QWER" in text
    assert "http" not in text
    # A name that cannot be cut any further.
    assert room(sms(language, replace(longest, place=("𠮷村",), lead=""))) >= 0


def test_a_segment_is_counted_as_the_network_counts_it() -> None:
    """160 signs of the GSM alphabet, some of which count twice; 70 units as soon as one sign is of another."""
    assert room("x" * 160) == 0
    assert room("[" + "x" * 158) == 0
    assert room("x" * 161) == -1
    assert room("烧" * 70) == 0
    assert room("x" * 69 + "𠮷") == -1


@pytest.mark.parametrize("language", ["zh", "en"])
def test_no_two_occasions_read_the_same(language: str) -> None:
    """Providers reject a text repeated within a day: each occasion of one fire has its own words."""
    texts = [sms(language, replace(FACTS, what=what)) for known, what in KEYS if known == language]
    assert len(set(texts)) == len(texts)


def test_a_drill_is_marked_everywhere() -> None:
    """Nobody drives out for a drill by mistake."""
    drill = replace(FACTS, drill=True)
    assert "演练" in sms("zh", drill)
    assert "演练" in title("zh", drill)
    assert "DRILL" in sms("en", drill)


@given(st.sampled_from(KEYS), st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=3), st.text(max_size=80))
def test_names_in_any_script_leave_the_code_readable_and_the_text_short(
    key: tuple[str, str], names: list[str], lead: str
) -> None:
    """Whatever a division is called, even in signs beyond the basic plane or with braces."""
    language, what = key
    text = sms(language, replace(FACTS, what=what, place=tuple(names), lead=lead))
    assert room(text) >= 0
    assert "K7F3" in text
