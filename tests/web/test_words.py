# SPDX-License-Identifier: AGPL-3.0-or-later
"""The words: none missing, in either language."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import server.web
from server.domain.clocks import Verdict
from server.domain.lifecycle import Event, State
from server.domain.policy import CALLED
from server.models.notice import NOTICE_STATES
from server.models.region import ROLES
from server.queries.places import village_name
from server.services.incidents import FALSE_REASONS
from server.web import translations, words

WEB = Path(server.web.__file__).parent


def _catalogue() -> Catalog:
    with (translations.FOLDER / "en/LC_MESSAGES/messages.po").open("rb") as file:
        return read_po(file, locale="en")


def test_every_word_of_the_domain_has_a_label() -> None:
    """A new state, event, reason, rung or verdict cannot come without its word."""
    assert set(words.STATES) == set(State)
    assert set(words.EVENTS) == set(Event)
    assert set(words.VERDICTS) == set(Verdict)
    assert set(words.RUNGS) == set(CALLED)
    assert set(words.ROLES) == set(ROLES)
    assert set(words.REASONS) == set(FALSE_REASONS)
    assert set(words.NOTICE_STATES) == set(NOTICE_STATES)


def test_every_sentence_is_translated() -> None:
    """Each source string of code and templates stands in the English catalogue, and nothing else does."""
    found = extract_from_dir(
        WEB,
        method_map=[("**.py", "python"), ("**/templates/**.html", "jinja2")],
        keywords={"_": None, "_l": None, "gettext": None},
    )
    used = {message for _, _, message, _, _ in found if isinstance(message, str)}
    english = {message.id: message.string for message in _catalogue() if message.id}
    assert used == set(english)
    assert [source for source, text in english.items() if not text] == []


def test_translations_keep_their_fields() -> None:
    """A translation names the same values as its source."""
    wrong = [message.id for message in _catalogue() if message.id and any(True for _ in message.check())]
    assert wrong == []


def test_catalogues_are_compiled_when_missing_or_old(tmp_path: Path) -> None:
    """Compiled once, and again only when the source is newer."""
    folder = tmp_path / "en/LC_MESSAGES"
    folder.mkdir(parents=True)
    source = folder / "messages.po"
    source.write_bytes((translations.FOLDER / "en/LC_MESSAGES/messages.po").read_bytes())
    assert translations.compile_catalogues(tmp_path) == [folder / "messages.mo"]
    assert translations.compile_catalogues(tmp_path) == []


@pytest.mark.parametrize(
    ("register", "spoken"),
    [
        ("荞麦坞村委会", "荞麦坞村"),
        ("张家埠村村民委员会", "张家埠村"),
        ("宝山村村委会", "宝山村"),
        ("书香社区居委会", "书香社区"),
        ("金桂社区", "金桂社区"),
        ("东村", "东村"),
    ],
)
def test_villages_are_called_as_people_call_them(register: str, spoken: str) -> None:
    """The register's committee is left off."""
    assert village_name(register) == spoken


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3753, "1:02:33"), (-3, "0:00")])
def test_spans_read_like_a_clock(seconds: float, text: str) -> None:
    """Minutes and seconds, hours when there are any."""
    assert words.span(seconds) == text
