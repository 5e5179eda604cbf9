# SPDX-License-Identifier: AGPL-3.0-or-later
"""The project's words for states, events, reasons, rungs and channels, and for spans and distances."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from server.domain.clocks import Verdict
from server.domain.lifecycle import Event, State
from server.domain.policy import RUNGS as HELD

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
    Event.ONSET: _l("回看起烟时刻"),
    Event.PICTURE: _l("图片"),
    Event.DISPATCH: _l("派单"),
    Event.SENT: _l("发出通知"),
    Event.DELIVERED: _l("通知送达"),
    Event.UNREACHED: _l("未能通知"),
    Event.REMIND: _l("催办"),
    Event.ESCALATE: _l("升级"),
    Event.BREACH: _l("超时"),
    Event.CLOCK_BACK: _l("服务器时钟被拨回"),
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
    "departments": _l("部门"),
}
SOURCES: Mapping[str, Any] = {
    "hotline": _l("热线"),
    "satellite": _l("卫星"),
    "patrol": _l("巡查"),
    "inspection": _l("督查"),
}
CHANNELS: Mapping[str, Any] = {
    "mqtt": _l("推送"),
    "sms": _l("短信"),
    "voice": _l("电话"),
    "webpush": _l("浏览器提醒"),
    "chat": _l("工作群"),
    "webhook": _l("部门系统"),
    "console": _l("本页"),
}
NOTICE_STATES: Mapping[str, Any] = {
    "pending": _l("待发"),
    "sent": _l("已发出"),
    "delivered": _l("已送达"),
    "failed": _l("失败"),
    "skipped": _l("不必再发"),
}
# What is told to people who need do nothing.
KINDS: Mapping[str, Any] = {"taken": _l("告知：已签收"), "released": _l("告知：签收已撤回")}
# Reasons of ours why a notice did not go; those of providers stay in their own words.
_OUTCOMES: Mapping[str, Any] = {
    "the incident was over before this could be sent": _l("火点已了结"),
    "somebody accepted": _l("已有人签收"),
    "it is not so any more": _l("情况已变"),
    "the number's texts for today are used up": _l("这个号码今天的短信额度已用完"),
    "the person has no phone number": _l("没有号码"),
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
    "dark": _l("太暗"),
    "covered": _l("镜头被遮"),
    "blurred": _l("画面模糊"),
    "moved": _l("镜头移位"),
    "manual": _l("人工操作"),
    "away": _l("停在别的预置位"),
    "lost": _l("位置不明"),
    "overloaded": _l("盒子太慢"),
    "slow": _l("看着，但计划做不到一分钟"),
    "offline": _l("离线"),
    "unknown": _l("未上报"),
}
# Why a box sees nothing, by the beginning of its own sentence (detector/camera); what is not here stays as it says it.
_BLIND: Mapping[str, Any] = {
    "the camera does not answer": _l("镜头没有应答：查电源和网络"),
    "the camera refuses the connection": _l("镜头拒绝连接：查地址和端口"),
    "the camera refuses the password": _l("镜头不认用户名或密码"),
    "the camera knows no such stream": _l("镜头没有这路视频：查路径"),
    "the camera knows no such picture": _l("镜头没有这张图：查路径"),
    "the camera sends what is not video": _l("镜头送来的不是视频：查地址和编码"),
    "the camera ended the stream": _l("镜头断开了视频"),
    "the camera takes too long": _l("镜头出图太慢：查线路"),
    "the connection was lost": _l("连接断了"),
    "no whole picture": _l("画面不完整：查线路"),
    "not looked at for": _l("太久没有看：镜头被占用，或盒子太慢"),
}
ROLES: Mapping[str, Any] = {
    "worker": _l("网格员"),
    "supervisor": _l("督查"),
    "admin": _l("管理员"),
    "department": _l("部门"),
}
_COMPASS = [_l("北"), _l("东北"), _l("东"), _l("东南"), _l("南"), _l("西南"), _l("西"), _l("西北")]
_FAULTS: Mapping[str, Any] = {
    "a photograph of the extinguished fire is needed": _l("要有一张火已扑灭的照片。"),
    "there is nothing of yours to undo": _l("没有可以撤销的操作。"),
    "this appeal was already decided": _l("这个申诉已有结论。"),
    "this answer's id was used for another incident": _l("这个答复编号已用于别的火点。"),
    "a hand-over names the village or grid that it goes to": _l("请选择接手的村或网格。"),
    "that village lies in another county: ask the county's duty to hand over to it": _l(
        "那个村在别的县区，请县级值班转派。"
    ),
}
# Why landmarks are refused (server.locate.calibrate, server.web.calibration), by how the sentence begins.
_UNSOLVED: tuple[tuple[str, Any], ...] = (
    (r"(?P<number>\d+) landmarks are too few", _l("地标只有 %(number)s 个：至少要 3 个，最好 5 个以上。")),
    (r"landmark .(?P<name>.*).: pixel .* is outside", _l("地标“%(name)s”点在画面外。")),
    (r"landmark .(?P<name>.*). is at the camera itself", _l("地标“%(name)s”就在镜头脚下。")),
    (
        r"landmark .(?P<name>.*). does not fit the others",
        _l("地标“%(name)s”与其他地标不合：改它的像素或位置，或者去掉它。"),
    ),
    (
        r"the landmarks (do not fix the camera|leave pan open)",
        _l("这些地标定不住镜头：要分布在整个画面上，不在一条线上。"),
    ),
    (
        r"the landmarks do not agree \(off by (?P<pixels>\d+) pixels",
        _l("地标彼此不合（差 %(pixels)s 像素）：查镜头的位置和高度；有 5 个以上地标才能指出错的那个。"),
    ),
    (r"point (?P<name>.*): give its height", _l("点 %(name)s 那里没有高程数据：请填它的海拔。")),
)


def post(level: str, name: str) -> str:
    """What a post is called: that of its rung."""
    rung = next((rung for rung, held in HELD.items() if held == (level, name)), name)
    return str(RUNGS.get(rung, rung))


def fault(text: str) -> str:
    """An Invalid's sentence in the reader's language where there is a translation, else as it is."""
    if text.startswith("the picture"):
        return str(_("照片读不出来，请重拍一张 JPEG 照片。"))
    for known, sentence in _UNSOLVED:
        if found := re.match(known, text):
            return str(sentence) % found.groupdict()
    return str(_FAULTS.get(text, text))


def blind(reason: str) -> str:
    """Why a camera sees nothing, in the reader's language where there is a translation, else as its box says it."""
    return next((str(text) for known, text in _BLIND.items() if reason.startswith(known)), reason)


def compass(bearing: float) -> str:
    """One of eight directions."""
    return str(_COMPASS[round(bearing / 45) % 8])


def span(seconds: float) -> str:
    """A duration as 4:05 or 1:02:33, never negative."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def lasting(seconds: float) -> str:
    """How long something lasted, in words, so that it is not taken for a time of day."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return str(_("%(hours)s 小时 %(minutes)s 分", hours=whole // 3600, minutes=whole % 3600 // 60))
    if whole >= 60:
        return str(_("%(minutes)s 分 %(seconds)s 秒", minutes=whole // 60, seconds=whole % 60))
    return str(_("%(seconds)s 秒", seconds=whole))


def distance(metres: float) -> str:
    """850 m, 1.2 km."""
    return f"{round(metres / 10) * 10} m" if metres < 1000 else f"{metres / 1000:.1f} km"


def outcome(error: str | None) -> str:
    """Why a notice did not go, or need not."""
    if error is None:
        return ""
    if error.startswith("it arrived by "):
        channel = error.removeprefix("it arrived by ")
        return str(_("已由%(channel)s送达", channel=CHANNELS.get(channel, channel)))
    return str(_OUTCOMES.get(error, error))
