# SPDX-License-Identifier: AGPL-3.0-or-later
"""A line of the journal as a sentence, and who wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask_babel import format_datetime
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from server.domain.lifecycle import Event
from server.queries.detail import Line, onset_times
from server.web.i18n import language
from server.web.words import CHANNELS, EVENTS, EXCUSES, REASONS, RUNGS, SOURCES

_PARTS: Mapping[str, Any] = {"engine": _l("系统"), "clock": _l("时钟"), "dispatch": _l("调度")}
_LIMITS: Mapping[str, Any] = {
    "respond": _l("响应时限"),
    "dispose": _l("处置时限"),
    "verify": _l("核查时限"),
    "close": _l("结案时限"),
}


def who(line: Line) -> str:
    """Who wrote a line."""
    return line.person or str(_PARTS.get(line.system or "", line.system or ""))


def describe(line: Line) -> str:
    """A journal line as a short sentence, without its time and its author."""
    say = _DESCRIBED.get(line.event)
    text = say(line) if say else str(EVENTS[line.event])
    note = str(line.data.get("note") or "").strip()
    return f"{text}{'：' if language() == 'zh' else ': '}{note}" if note else text


def _source(line: Line) -> str:
    return str(SOURCES.get(str(line.data.get("source")), line.data.get("source")))


def _again(line: Line) -> str:
    if line.data.get("source"):
        return str(_("%(source)s也报告了这里", source=_source(line)))
    return str(_("镜头 %(camera)s 再次看到", camera=line.camera or ""))


def _opened(line: Line) -> str:
    if line.data.get("source"):
        return str(_("%(source)s报告火点", source=_source(line)))
    if not line.data.get("camera"):
        return str(
            _("重开前次火点 %(code)s", code=line.data["reopens"]) if line.data.get("reopens") else EVENTS[line.event]
        )
    sure = float(line.data.get("confidence") or 0)
    return str(_("镜头 %(camera)s 发现烟，把握 %(sure)s%%", camera=line.camera or "", sure=round(sure * 100)))


def _notice(line: Line) -> str:
    rung = RUNGS.get(str(line.data.get("rung")), "")
    about = f"{rung} {line.about}" if line.about else str(rung)
    channel = CHANNELS.get(str(line.data.get("channel")), str(line.data.get("channel") or ""))
    if line.event is Event.SENT:
        return str(_("通知 %(about)s（%(channel)s）", about=about, channel=channel))
    if line.event is Event.DELIVERED:
        return str(_("%(about)s 已收到（%(channel)s）", about=about, channel=channel))
    reason = str(line.data.get("reason") or "")
    if reason == "nobody holds this post":
        reason = str(_("没有人在岗"))
    elif reason.startswith("no channel reaches"):
        reason = str(_("没有能用的渠道"))
    return str(_("未能通知 %(about)s：%(reason)s", about=about, reason=reason))


def _clock(line: Line) -> str:
    rungs = _("、").join(str(RUNGS.get(rung, rung)) for rung in line.data.get("rungs", ()))
    step = str(line.data.get("step", ""))
    limit = _LIMITS.get(step.partition(".")[0], step)
    texts = {
        Event.REMIND: _("%(limit)s：催办%(rungs)s", limit=limit, rungs=rungs),
        Event.ESCALATE: _("%(limit)s：升级告知%(rungs)s", limit=limit, rungs=rungs),
        Event.BREACH: _("%(limit)s已过，告知%(rungs)s", limit=limit, rungs=rungs),
    }
    text = str(texts[line.event])
    if line.due_at is not None:
        text += str(_("（应于 %(due)s）", due=_exact(line.due_at)))
    return text


def _exact(value: datetime) -> str:
    return str(format_datetime(value, "HH:mm:ss.SSS"))


def _picture(line: Line) -> str:
    kind = line.data.get("kind")
    if kind in ("clean", "first"):
        return str(_("收到起烟前后的画面"))
    return str(_("收到现场照片") if kind == "disposal" else _("收到镜头图片"))


def _onset(line: Line) -> str:
    clean, first = onset_times(line.data)
    if clean is None:
        return str(_("回看：%(first)s 已见烟，留存的画面里没有更早的无烟画面", first=_exact(first)))
    return str(_("回看：%(clean)s 还没有烟，%(first)s 已见烟", clean=_exact(clean), first=_exact(first)))


def _false(line: Line) -> str:
    reason = REASONS.get(str(line.data.get("reason")), str(line.data.get("reason") or ""))
    texts = {Event.REPORT_FALSE: _("现场不是火（%(reason)s）", reason=reason)}
    return str(texts.get(line.event) or _("判为误报（%(reason)s）", reason=reason))


def _excuse(line: Line) -> str:
    reason = EXCUSES.get(str(line.data.get("reason")), str(line.data.get("reason") or ""))
    return str(_("免责（%(reason)s）", reason=reason)) if reason else str(EVENTS[Event.EXCUSE])


def _appeal(line: Line) -> str:
    if "upheld" not in line.data:
        return str(EVENTS[Event.APPEAL])
    return str(_("申诉成立，免责") if line.data["upheld"] else _("申诉驳回"))


def _clock_back(line: Line) -> str:
    if "set_back_s" in line.data:
        seconds = round(float(line.data["set_back_s"]))
        return str(_("服务器时钟被拨回 %(seconds)s 秒，计时照常，不受影响", seconds=seconds))
    return str(_("停机期间服务器时钟被拨回；此后的按时记为存疑"))


_DESCRIBED: Mapping[Event, Callable[[Line], str]] = {
    Event.OPEN: _opened,
    Event.SIGHTING: _again,
    Event.ONSET: _onset,
    Event.PICTURE: _picture,
    Event.SENT: _notice,
    Event.DELIVERED: _notice,
    Event.UNREACHED: _notice,
    Event.REMIND: _clock,
    Event.ESCALATE: _clock,
    Event.BREACH: _clock,
    Event.REOPEN: lambda line: str(_("重开，新编号 %(code)s", code=line.data.get("opened", ""))),
    Event.TRANSFER: lambda line: str(_("转派给 %(place)s", place=line.to_place or line.data.get("to", ""))),
    Event.REPORT_FALSE: _false,
    Event.MARK_FALSE: _false,
    Event.EXCUSE: _excuse,
    Event.APPEAL: _appeal,
    Event.CLOCK_BACK: _clock_back,
    Event.UNDO: lambda line: str(_("撤销：%(event)s", event=EVENTS[line.undoes] if line.undoes else "")),
}
