# SPDX-License-Identifier: AGPL-3.0-or-later
"""The project's words for states, events, reasons, rungs and channels, and a journal line as a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from flask_babel import format_datetime
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from server.domain.clocks import Interval, Verdict
from server.domain.lifecycle import Event, State
from server.queries.detail import Line

STATES: Mapping[State, Any] = {
    State.SUSPECTED: _l("疑似"),
    State.REVIEWED: _l("研判为真"),
    State.DISPATCHED: _l("已派单"),
    State.ACCEPTED: _l("已签收"),
    State.ON_SITE: _l("已到场"),
    State.IN_HAND: _l("处置中"),
    State.REPORTED: _l("已反馈"),
    State.VERIFIED: _l("已核查"),
    State.CLOSED: _l("已结案"),
    State.FALSE_ALARM: _l("误报"),
    State.EXCUSED: _l("免责"),
}
EVENTS: Mapping[Event, Any] = {
    Event.OPEN: _l("发现"),
    Event.SIGHTING: _l("再次发现"),
    Event.PICTURE: _l("图片"),
    Event.DISPATCH: _l("派单"),
    Event.SENT: _l("发出通知"),
    Event.DELIVERED: _l("通知送达"),
    Event.UNREACHED: _l("未能通知"),
    Event.REMIND: _l("催办"),
    Event.ESCALATE: _l("升级"),
    Event.BREACH: _l("超时"),
    Event.REVIEW_REAL: _l("研判为真"),
    Event.ACCEPT: _l("签收"),
    Event.SET_OFF: _l("出发"),
    Event.ARRIVE: _l("到场"),
    Event.START_DISPOSAL: _l("开始处置"),
    Event.REPORT_DONE: _l("处置完成"),
    Event.REPORT_FALSE: _l("不是火"),
    Event.TRANSFER: _l("转派"),
    Event.VERIFY: _l("核查通过"),
    Event.REJECT: _l("退回"),
    Event.CLOSE: _l("结案"),
    Event.MARK_FALSE: _l("误报"),
    Event.EXCUSE: _l("免责"),
    Event.REOPEN: _l("重开"),
    Event.APPEAL: _l("申诉"),
    Event.UNDO: _l("撤销"),
}
REASONS: Mapping[str, Any] = {
    "fog": _l("晨雾"),
    "cloud": _l("白云"),
    "chimney": _l("烟囱"),
    "dust": _l("扬尘"),
    "glare": _l("反光"),
    "cooking": _l("炊烟"),
    "ritual": _l("祭祀"),
    "steam": _l("水汽"),
    "other": _l("其他"),
}
EXCUSES: Mapping[str, Any] = {
    "permitted": _l("批准的焚烧"),
    "ritual": _l("祭祀"),
    "chimney": _l("烟囱"),
    "other": _l("其他"),
}
RUNGS: Mapping[str, Any] = {
    "owner": _l("网格员"),
    "deputy": _l("副网格员"),
    "township": _l("乡镇负责人"),
    "county": _l("县级值班"),
    "city": _l("市级值班"),
}
CHANNELS: Mapping[str, Any] = {
    "mqtt": _l("推送"),
    "sms": _l("短信"),
    "voice": _l("电话"),
    "chat": _l("工作群"),
    "console": _l("本页"),
}
NOTICE_STATES: Mapping[str, Any] = {
    "pending": _l("待发"),
    "sent": _l("已发出"),
    "delivered": _l("已送达"),
    "failed": _l("失败"),
    "skipped": _l("不必再发"),
}
CLOCKS: Mapping[str, Any] = {"discover": _l("发现"), "respond": _l("响应"), "dispose": _l("处置")}
VERDICTS: Mapping[Verdict, Any] = {
    Verdict.RUNNING: _l("计时中"),
    Verdict.KEPT: _l("按时"),
    Verdict.BROKEN: _l("超时"),
    Verdict.DISPUTED: _l("存疑"),
    Verdict.NONE: _l("不适用"),
}
CAMERA_STATES: Mapping[str, Any] = {
    "ok": _l("正常"),
    "starting": _l("启动中"),
    "stream_down": _l("无画面"),
    "frozen": _l("画面停住"),
    "resized": _l("画面尺寸变了"),
    "offline": _l("离线"),
    "unknown": _l("未上报"),
}
ROLES: Mapping[str, Any] = {"worker": _l("网格员"), "supervisor": _l("督查"), "admin": _l("管理员")}
_PARTS: Mapping[str, Any] = {"engine": _l("系统"), "clock": _l("时钟"), "dispatch": _l("调度")}
_LIMITS: Mapping[str, Any] = {
    "respond": _l("响应时限"),
    "dispose": _l("处置时限"),
    "verify": _l("核查时限"),
    "close": _l("结案时限"),
}
_COMPASS = [_l("北"), _l("东北"), _l("东"), _l("东南"), _l("南"), _l("西南"), _l("西"), _l("西北")]
_FAULTS: Mapping[str, Any] = {
    "a photograph of the extinguished fire is needed": _l("要有一张火已扑灭的照片。"),
    "there is nothing of yours to undo": _l("没有可以撤销的操作。"),
    "this answer's id was used for another incident": _l("这个答复编号已用于别的火点。"),
}


def fault(text: str) -> str:
    """An Invalid's sentence in the reader's language where there is a translation, else as it is."""
    if text.startswith("the picture"):
        return str(_("照片读不出来，请重拍一张 JPEG 照片。"))
    return str(_FAULTS.get(text, text))


def compass(bearing: float) -> str:
    """One of eight directions."""
    return str(_COMPASS[round(bearing / 45) % 8])


def span(seconds: float) -> str:
    """A duration as 4:05 or 1:02:33, never negative."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def distance(metres: float) -> str:
    """850 m, 1.2 km."""
    return f"{round(metres / 10) * 10} m" if metres < 1000 else f"{metres / 1000:.1f} km"


def why(clock: Interval) -> str:
    """The verdict's reason in words."""
    if clock.name != "discover":
        if clock.elapsed_s is not None:
            return str(_("报警后 %(span)s", span=span(clock.elapsed_s)))
        return str(_("超过时限仍未完成") if clock.verdict is Verdict.BROKEN else _("计时中"))
    if clock.verdict is Verdict.NONE:
        return str(_("没有镜头看到它起烟"))
    if clock.best_s is not None and clock.elapsed_s is None:
        return str(_("至少 %(best)s 秒；起烟前没有干净画面", best=f"{clock.best_s:.1f}"))
    if clock.verdict is Verdict.KEPT:
        return str(_("起烟到报警最多 %(worst)s 秒", worst=f"{clock.elapsed_s:.1f}"))
    return str(_("起烟到报警 %(best)s–%(worst)s 秒", best=f"{clock.best_s:.1f}", worst=f"{clock.elapsed_s:.1f}"))


def who(line: Line) -> str:
    """Who wrote a line."""
    return line.person or str(_PARTS.get(line.system or "", line.system or ""))


def describe(line: Line) -> str:
    """A journal line as a short sentence, without its time and its author."""
    say = _DESCRIBED.get(line.event)
    text = say(line) if say else str(EVENTS[line.event])
    note = str(line.data.get("note") or "").strip()
    return f"{text}：{note}" if note and language_is_chinese() else f"{text}: {note}" if note else text


def language_is_chinese() -> bool:
    """Which punctuation to use."""
    from server.web.i18n import language

    return language() == "zh"


def _opened(line: Line) -> str:
    if not line.data.get("camera"):
        return str(
            _("重开前次火点 %(code)s", code=line.data["reopens"]) if line.data.get("reopens") else EVENTS[line.event]
        )
    sure = float(line.data.get("confidence") or 0)
    return str(_("镜头 %(camera)s 发现烟，把握 %(sure)s%%", camera=line.data.get("camera", ""), sure=round(sure * 100)))


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
    step = str(line.data.get("step", "")).partition("@")[0]
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
    return str(_("收到现场照片") if line.data.get("kind") == "disposal" else _("收到镜头图片"))


def _false(line: Line) -> str:
    reason = REASONS.get(str(line.data.get("reason")), str(line.data.get("reason") or ""))
    texts = {Event.REPORT_FALSE: _("现场不是火（%(reason)s）", reason=reason)}
    return str(texts.get(line.event) or _("判为误报（%(reason)s）", reason=reason))


def _excuse(line: Line) -> str:
    reason = EXCUSES.get(str(line.data.get("reason")), str(line.data.get("reason") or ""))
    return str(_("免责（%(reason)s）", reason=reason)) if reason else str(EVENTS[Event.EXCUSE])


_DESCRIBED: Mapping[Event, Callable[[Line], str]] = {
    Event.OPEN: _opened,
    Event.SIGHTING: lambda line: str(_("镜头 %(camera)s 再次看到", camera=line.data.get("camera", ""))),
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
    Event.UNDO: lambda line: str(_("撤销第 %(seq)s 行", seq=line.data.get("undoes", ""))),
}
