# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people are told, in their language: short, unlike any other text (by the incident's code), without a link.

Mainland providers take no link and reject a text repeated within a day; one segment of UCS-2 holds 70 units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

SEGMENT_UNITS = 70
_SIGN = {"zh": "【秸秆禁烧】", "en": "[Straw1530] "}
_DRILL = {"zh": "演练 ", "en": "DRILL "}

# (language, what) -> the sentence. {minutes}: since the alert; {limit}: of the interval; {left}: until its limit.
SENTENCES = {
    ("zh", "dispatch"): "{code} {place} 疑似焚烧，{time}发现，请{limit}分钟内签收",
    ("zh", "neighbour"): "{code} {place}边界 疑似焚烧，{time}发现，请协助查看，由{lead}牵头",
    ("zh", "transfer"): "{code} {place} 疑似焚烧已转派给您，{time}发现，请{limit}分钟内签收",
    ("zh", "unplaced"): "{code} {place}方位{bearing}° 疑似焚烧，{time}发现，位置未定，请研判转派",
    ("zh", "respond.remind"): "提醒 {code} {place} 疑似焚烧{minutes}分钟未签收，请立即签收",
    ("zh", "respond.breach"): "超时 {code} {place} 疑似焚烧{minutes}分钟无人签收，请督促",
    ("zh", "respond.escalate"): "升级 {code} {place} 疑似焚烧{minutes}分钟无人签收，请介入",
    ("zh", "arrive.remind"): "提醒 {code} {place} 疑似焚烧{minutes}分钟未到场，请立即赶赴现场",
    ("zh", "arrive.breach"): "超时 {code} {place} 疑似焚烧{minutes}分钟无人到场，请督促",
    ("zh", "arrive.escalate"): "升级 {code} {place} 疑似焚烧{minutes}分钟无人到场，请介入",
    ("zh", "dispose.remind"): "提醒 {code} {place} 距处置时限还有{left}分钟，请尽快处置并反馈",
    ("zh", "dispose.breach"): "超时 {code} {place} {minutes}分钟未处置完毕，请督促",
    ("zh", "dispose.escalate"): "升级 {code} {place} {minutes}分钟仍未处置完毕，请介入",
    ("zh", "drill"): "{code} 通知测试，{time}发出，收到即可，无需行动",
    ("en", "drill"): "{code} test notice of {time}. Nothing to do",
    ("en", "dispatch"): "{code} {place} smoke seen {time}. Accept within {limit} min",
    ("en", "neighbour"): "{code} {place} border, smoke seen {time}. {lead} leads, please help",
    ("en", "transfer"): "{code} {place} smoke seen {time}, handed to you. Accept in {limit} min",
    ("en", "unplaced"): "{code} {place} bearing {bearing}, smoke {time}, no position: review",
    ("en", "respond.remind"): "REMINDER {code} {place} not accepted for {minutes} min. Accept now",
    ("en", "respond.breach"): "OVERDUE {code} {place} nobody accepted in {minutes} min",
    ("en", "respond.escalate"): "ESCALATED {code} {place} nobody accepted in {minutes} min",
    ("en", "arrive.remind"): "REMINDER {code} {place} not reached for {minutes} min. Go now",
    ("en", "arrive.breach"): "OVERDUE {code} {place} nobody on site in {minutes} min",
    ("en", "arrive.escalate"): "ESCALATED {code} {place} nobody on site in {minutes} min",
    ("en", "dispose.remind"): "REMINDER {code} {place} {left} min left to put it out",
    ("en", "dispose.breach"): "OVERDUE {code} {place} not out after {minutes} min",
    ("en", "dispose.escalate"): "ESCALATED {code} {place} not out after {minutes} min",
}
_BUNDLES = {
    "zh": ("{count}处疑似焚烧 {codes}，请尽快逐一签收", "等"),
    "en": ("{count} fires: {codes}. Accept each", "…"),
}
_TITLES = {
    "zh": {"dispatch": "疑似焚烧", "remind": "提醒", "breach": "超时", "escalate": "升级", "drill": "通知测试"},
    "en": {"dispatch": "Smoke", "remind": "Reminder", "breach": "Overdue", "escalate": "Escalated", "drill": "Test"},
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a text can say. ``what`` is the second half of a sentence's key, ``place`` the names from the largest
    division to the smallest, ``time`` local, minutes whole."""

    code: str
    what: str
    kind: str
    place: tuple[str, ...]
    time: str
    minutes: int
    limit: int
    bearing: int | None = None
    lead: str = ""
    drill: bool = False

    @property
    def left(self) -> int:
        """Minutes until the limit."""
        return max(0, self.limit - self.minutes)


def units(text: str) -> int:
    """The length of a text as SMS counts it, in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


def sentence(language: str, facts: Facts) -> str:
    """The whole sentence with the whole place, for channels without a limit."""
    return _render(language, facts, _join(language, facts.place))


def sms(language: str, facts: Facts) -> str:
    """The sentence within one segment: names are dropped from the largest division down, then cut."""
    for first in range(max(0, len(facts.place) - 2), len(facts.place)):
        text = _SIGN[language] + _render(language, facts, _join(language, facts.place[first:]))
        if units(text) <= SEGMENT_UNITS:
            return text
    place, lead = facts.place[-1] if facts.place else "", facts.lead
    while True:
        text = _SIGN[language] + _render(language, replace(facts, lead=lead), place)
        if units(text) <= SEGMENT_UNITS or len(place) + len(lead) <= 2:
            return text
        # The longer of the two names loses its last sign.
        place, lead = (_cut(place), lead) if len(place) >= len(lead) else (place, _cut(lead))


def bundle(language: str, codes: Sequence[str]) -> str:
    """Several fires for one person in one segment: how many, and the codes of as many as fit."""
    template, more = _BUNDLES[language]
    for shown in range(len(codes), 0, -1):
        listed = " ".join(codes[:shown]) + (more if shown < len(codes) else "")
        text = _SIGN[language] + template.format(count=len(codes), codes=listed)
        if units(text) <= SEGMENT_UNITS:
            break
    return text


def title(language: str, facts: Facts) -> str:
    """A few words for a list or a notification."""
    mark = _DRILL[language] if facts.drill else ""
    return f"{mark}{_TITLES[language][facts.kind]} {_join(language, facts.place[-2:])}".strip()


def _cut(name: str) -> str:
    return name.removesuffix("…")[:-1] + "…"


def _join(language: str, names: tuple[str, ...]) -> str:
    return ("" if language == "zh" else " ").join(names)


def _render(language: str, facts: Facts, place: str) -> str:
    text = SENTENCES[language, facts.what].format(
        code=facts.code,
        place=place,
        time=facts.time,
        minutes=facts.minutes,
        limit=facts.limit,
        left=facts.left,
        bearing=facts.bearing,
        lead=facts.lead,
    )
    return _DRILL[language] + text if facts.drill else text
