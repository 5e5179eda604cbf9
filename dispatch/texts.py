# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people are told, in their language: short, unlike any other text (by the incident's code), in one segment.

Providers reject a text repeated within a day. A segment holds 160 septets of the GSM alphabet, or 70 units of UCS-2 as
soon as one sign is not in it (3GPP TS 23.038).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

SEGMENT_UNITS = 70
SEGMENT_SEPTETS = 160
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("\f^{}\\[~]|€")  # escaped: two septets each
_SIGN = {"zh": "【秸秆禁烧】", "en": "[Straw1530] "}
_DRILL = {"zh": "演练 ", "en": "DRILL "}

# (language, what) -> the sentence. {minutes}: since the alert; {limit}: of the interval; {left}: until its limit.
SENTENCES = {
    ("zh", "dispatch"): "{code} {place} 疑似焚烧，{time}发现，请{limit}分钟内签收",
    ("zh", "neighbour"): "{code} {place}边界 疑似焚烧，{time}发现，请协助查看，由{lead}牵头",
    ("zh", "transfer"): "{code} {place} 疑似焚烧已转派给您，{time}发现，请{limit}分钟内签收",
    ("zh", "unplaced"): "{code} {place}方位{bearing}° 疑似焚烧，{time}发现，位置未定，请研判转派",
    ("zh", "nowhere"): "{code} {place} 疑似焚烧，{time}发现，镜头转动中，方位未定，请看图研判转派",
    ("zh", "respond.remind"): "提醒 {code} {place} 疑似焚烧{minutes}分钟未签收，请立即签收",
    ("zh", "respond.breach"): "超时 {code} {place} 疑似焚烧{minutes}分钟无人签收，请督促",
    ("zh", "respond.escalate"): "升级 {code} {place} 疑似焚烧{minutes}分钟无人签收，请介入",
    ("zh", "arrive.remind"): "提醒 {code} {place} 疑似焚烧{minutes}分钟未到场，请立即赶赴现场",
    ("zh", "arrive.breach"): "超时 {code} {place} 疑似焚烧{minutes}分钟无人到场，请督促",
    ("zh", "arrive.escalate"): "升级 {code} {place} 疑似焚烧{minutes}分钟无人到场，请介入",
    ("zh", "dispose.remind"): "提醒 {code} {place} 距处置时限还有{left}分钟，请尽快处置并反馈",
    ("zh", "dispose.breach"): "超时 {code} {place} {minutes}分钟未处置完毕，请督促",
    ("zh", "dispose.escalate"): "升级 {code} {place} {minutes}分钟仍未处置完毕，请介入",
    ("zh", "dispose.again"): "催办 {code} {place} 报警已{minutes}分钟未处置完毕，请尽快扑灭并反馈",
    ("zh", "verify.remind"): "提醒 {code} {place} 处置反馈已{minutes}分钟，请尽快核查",
    ("zh", "verify.escalate"): "升级 {code} {place} 处置反馈{minutes}分钟无人核查，请介入",
    ("zh", "close.remind"): "提醒 {code} {place} 已核查未结案，请尽快结案",
    ("zh", "close.escalate"): "升级 {code} {place} 已核查，久未结案，请督促",
    ("zh", "taken"): "{code} {place} 已由{lead}签收前往，您不必再签收",
    ("zh", "released"): "{code} {place} {lead}撤回了签收，仍待签收，请处理",
    ("zh", "fault"): "{code} {place} {lead}，{time}起已{minutes}分钟无法监看，请派人检修",
    ("zh", "well"): "{code} {place} 已于{time}恢复监看（此前{lead}）",
    ("en", "fault"): "{code} {place}: {lead} since {time}, {minutes} min",
    ("en", "well"): "{code} {place}: well since {time} (was: {lead})",
    ("zh", "drill"): "{code} 通知测试，{time}发出，收到即可，无需行动",
    ("en", "drill"): "{code} test notice of {time}. Nothing to do",
    ("en", "dispatch"): "{code} {place} smoke seen {time}. Accept within {limit} min",
    ("en", "neighbour"): "{code} {place} border, smoke seen {time}. {lead} leads, please help",
    ("en", "transfer"): "{code} {place} smoke seen {time}, yours now. Accept in {limit} min",
    ("en", "unplaced"): "{code} {place} bearing {bearing}, smoke {time}, no position: review",
    ("en", "nowhere"): "{code} {place} smoke {time}, direction unknown: review",
    ("en", "respond.remind"): "REMINDER {code} {place} not accepted for {minutes} min. Accept now",
    ("en", "respond.breach"): "OVERDUE {code} {place} nobody accepted in {minutes} min",
    ("en", "respond.escalate"): "ESCALATED {code} {place} nobody accepted in {minutes} min",
    ("en", "arrive.remind"): "REMINDER {code} {place} not reached for {minutes} min. Go now",
    ("en", "arrive.breach"): "OVERDUE {code} {place} nobody on site in {minutes} min",
    ("en", "arrive.escalate"): "ESCALATED {code} {place} nobody on site in {minutes} min",
    ("en", "dispose.remind"): "REMINDER {code} {place} {left} min left to put it out",
    ("en", "dispose.breach"): "OVERDUE {code} {place} not out after {minutes} min",
    ("en", "dispose.escalate"): "ESCALATED {code} {place} not out after {minutes} min",
    ("en", "taken"): "{code} {place} {lead} has taken it, you need not accept",
    ("en", "released"): "{code} {place} {lead} gave it back: still to be accepted",
    ("en", "dispose.again"): "STILL OPEN {code} {place} {minutes} min after alert. Report it out",
    ("en", "verify.remind"): "REMINDER {code} {place} reported out {minutes} min ago. Verify it",
    ("en", "verify.escalate"): "ESCALATED {code} {place} not verified {minutes} min after report",
    ("en", "close.remind"): "REMINDER {code} {place} is verified. Close it",
    ("en", "close.escalate"): "ESCALATED {code} {place} verified and still not closed",
}
# Why a camera is not watched, by its state (docs/wire.md); "": any other.
CAUSES = {
    "zh": {
        "stream_down": "摄像机无画面",
        "frozen": "画面卡住不动",
        "dark": "画面全黑",
        "covered": "镜头被遮挡",
        "blurred": "画面模糊",
        "moved": "镜头移位",
        "overloaded": "边缘盒子过载",
        "lost": "云台失联",
        "away": "云台巡航中断",
        "offline": "边缘盒子离线",
        "": "摄像机故障",
    },
    "en": {
        "stream_down": "no picture",
        "frozen": "picture stands still",
        "dark": "picture is black",
        "covered": "lens is covered",
        "blurred": "picture is blurred",
        "moved": "camera was moved",
        "overloaded": "box is overloaded",
        "lost": "mount does not answer",
        "away": "patrol is interrupted",
        "offline": "box is offline",
        "": "camera fault",
    },
}
_BUNDLES = {
    "zh": ("{count}处疑似焚烧 {codes}，请尽快逐一签收", "等"),
    "en": ("{count} fires: {codes}. Accept each", "…"),
}
_TITLES = {
    "zh": {
        "dispatch": "疑似焚烧",
        "remind": "提醒",
        "breach": "超时",
        "escalate": "升级",
        "taken": "已签收",
        "released": "撤回签收",
        "drill": "通知测试",
        "fault": "瞭望故障",
        "well": "瞭望恢复",
    },
    "en": {
        "dispatch": "Smoke",
        "remind": "Reminder",
        "breach": "Overdue",
        "escalate": "Escalated",
        "taken": "Taken",
        "released": "Given back",
        "drill": "Test",
        "fault": "Camera fault",
        "well": "Camera well",
    },
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a text can say. ``what`` is the second half of a sentence's key, ``place`` the names from the largest
    division to the smallest, ``time`` local, minutes whole; ``lead`` whoever leads or has accepted."""

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
    """The length of a text in UTF-16 code units, as SMS counts what is not in the GSM alphabet."""
    return len(text.encode("utf-16-le")) // 2


def room(text: str) -> int:
    """How much more goes into the same segment, in that text's own units; negative when it does not fit."""
    if all(sign in _GSM or sign in _GSM_TWICE for sign in text):
        return SEGMENT_SEPTETS - len(text) - sum(sign in _GSM_TWICE for sign in text)
    return SEGMENT_UNITS - units(text)


def sentence(language: str, facts: Facts) -> str:
    """The whole sentence with the whole place, for channels without a limit."""
    return _render(language, facts, _join(language, facts.place))


def params(language: str, facts: Facts) -> dict[str, str]:
    """What a sentence's template is filled with, as words."""
    return {
        "code": facts.code,
        "place": _join(language, facts.place[-2:]),
        "time": facts.time,
        "minutes": str(facts.minutes),
        "limit": str(facts.limit),
        "left": str(facts.left),
        "bearing": "" if facts.bearing is None else str(facts.bearing),
        "lead": facts.lead,
    }


def sms(language: str, facts: Facts, tails: Sequence[str] = ()) -> str:
    """The sentence within one segment, with the first of the tails that fits whole behind the last two names, or the
    last; without one, names are dropped from the largest division down, then cut, then left out."""
    for tail in tails:
        for first in range(max(0, len(facts.place) - 2), len(facts.place)):
            text = _SIGN[language] + _render(language, facts, _join(language, facts.place[first:])) + tail
            if room(text) >= 0:
                return text
    for first in range(max(0, len(facts.place) - 2), len(facts.place)):
        text = _SIGN[language] + _render(language, facts, _join(language, facts.place[first:]))
        if room(text) >= 0:
            return text
    place, lead = facts.place[-1] if facts.place else "", facts.lead
    while True:
        text = _SIGN[language] + _render(language, replace(facts, lead=lead), place)
        if room(text) >= 0:
            return text
        if len(place) + len(lead) <= 2:  # the code tells which fire
            return " ".join((_SIGN[language] + _render(language, replace(facts, lead=lead), "")).split())
        # The longer of the two names loses its last sign.
        place, lead = (_cut(place), lead) if len(place) >= len(lead) else (place, _cut(lead))


def bundle(language: str, codes: Sequence[str]) -> str:
    """Several fires for one person in one segment: how many, and the codes of as many as fit."""
    template, more = _BUNDLES[language]
    for shown in range(len(codes), 0, -1):
        listed = " ".join(codes[:shown]) + (more if shown < len(codes) else "")
        text = _SIGN[language] + template.format(count=len(codes), codes=listed)
        if room(text) >= 0:
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
