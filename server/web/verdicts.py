# SPDX-License-Identifier: AGPL-3.0-or-later
"""Verdicts, excuses, appeals and steps in words: what was found, why, and what follows from a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from server.domain.clocks import Interval, Verdict
from server.domain.lifecycle import FINAL_STATES, Event, State
from server.web.words import span

# What a supervisor's step brings about, said before it is confirmed.
_CONSEQUENCES: Mapping[Event, Any] = {
    Event.REVIEW_REAL: _l("照常派单和计时。"),
    Event.VERIFY: _l("认可处置；之后还要结案。"),
    Event.REJECT: _l("退回现场继续处置；30 分钟仍从报警起算。"),
    Event.CLOSE: _l("结案后不再改动；复燃请重开。"),
    Event.TRANSFER: _l("新的村从现在起有自己的响应时限；从报警起算的时限不变。"),
    Event.MARK_FALSE: _l("本火点就此结束，停止催办；已经超时的仍算超时。"),
    Event.REOPEN: _l("另开一个新火点，重新派单和计时，与本火点互相链接；本火点的记录不变。"),
}


def consequence(event: Event, state: State) -> str:
    """What follows from a step taken in a state; empty where it needs no words."""
    if event is Event.EXCUSE:
        if state in FINAL_STATES or state is State.VERIFIED:
            return str(_("只在判定旁注明免责；时间和判定都不变。由督查决定，理由记入日志。"))
        return str(_("本火点就此结束；判定旁注明免责，已经超时的仍算超时。由督查决定，理由记入日志。"))
    return str(_CONSEQUENCES.get(event, ""))


def why(clock: Interval) -> str:
    """The verdict's reason in words."""
    if clock.name == "discover":
        return _why_discover(clock)
    if clock.verdict is Verdict.DISPUTED and clock.elapsed_s is not None:
        passed = span(clock.elapsed_s)
        return str(_("记录为报警后 %(span)s，但其间服务器时钟被拨回，不能证明按时", span=passed))
    if clock.elapsed_s is not None:
        return str(_("报警后 %(span)s", span=span(clock.elapsed_s)))
    if clock.verdict is Verdict.NONE:
        return str(_("时限前已结束，不用再做"))
    return str(_("超过时限仍未完成") if clock.verdict is Verdict.BROKEN else _("计时中"))


def _why_discover(clock: Interval) -> str:
    if clock.verdict is Verdict.NONE:
        return str(_("没有镜头看到它起烟"))
    best = f"{clock.best_s:.1f}" if clock.best_s is not None else ""
    if clock.elapsed_s is None:
        if clock.verdict is Verdict.BROKEN:
            return str(_("至少 %(best)s 秒；起烟前没有干净画面", best=best))
        return str(
            _(
                "至少 %(best)s 秒；起烟前没有干净画面，判不了是否超过 %(limit)s 秒",
                best=best,
                limit=clock.limit_s,
            )
        )
    worst = f"{clock.elapsed_s:.1f}"
    if clock.verdict is Verdict.KEPT:
        return str(_("起烟到报警最多 %(worst)s 秒", worst=worst))
    if clock.verdict is Verdict.DISPUTED:
        return str(
            _(
                "起烟到报警 %(best)s–%(worst)s 秒（帧间隔和时钟误差），%(limit)s 秒在其间，判不了",
                best=best,
                worst=worst,
                limit=clock.limit_s,
            )
        )
    return str(_("起烟到报警 %(best)s–%(worst)s 秒", best=best, worst=worst))
