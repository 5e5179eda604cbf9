# SPDX-License-Identifier: AGPL-3.0-or-later
"""The incident's story on paper, in Chinese and English, for whoever decides and does not read JSON."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.platypus import Image as Picture
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from server.domain.clocks import Interval, Verdict, intervals, stamps
from server.domain.policy import parse_policy
from server.models import Incident, JournalEntry

# Every PDF reader has this font for Chinese by its name; no font file is needed or embedded.
_FONT = "STSong-Light"
_ZONE = timezone(timedelta(hours=8), "UTC+8")  # China has one time and no summer time

_EVENTS = {
    "open": "火情生成 Alert opened (T2)",
    "sighting": "再次发现 Seen again",
    "onset": "回看起烟时刻 Onset found by looking back (T0)",
    "picture": "图片入库 Picture stored",
    "dispatch": "派单 Dispatched",
    "sent": "通知发出 Notice sent (T3)",
    "delivered": "通知送达 Notice delivered",
    "unreached": "未能送达 Not reached",
    "remind": "提醒 Reminder",
    "escalate": "升级 Escalated",
    "breach": "超时 Limit passed",
    "clock_back": "服务器时钟被拨回 Server clock set back",
    "review_real": "研判属实 Reviewed: real",
    "accept": "签收 Accepted (T4)",
    "set_off": "出发 Under way (T5)",
    "arrive": "到场 On site (T6)",
    "start_disposal": "开始处置 Disposal begun",
    "report_done": "处置完成 Reported done (T7)",
    "report_false": "报告无火 Reported: no fire (T7)",
    "transfer": "转派 Handed over",
    "verify": "核查通过 Verified",
    "reject": "核查不通过 Rejected",
    "close": "结案 Closed (T8)",
    "mark_false": "误报 False alarm",
    "excuse": "免责 Excused",
    "reopen": "重开 Reopened",
    "appeal": "申诉 Appeal",
    "undo": "撤销 Taken back",
}
_CLOCKS = {"discover": "1 分钟发现 Discover", "respond": "5 分钟响应 Respond", "dispose": "30 分钟处置 Dispose"}
_PICTURES = {"sighting": "发现时 When seen", "disposal": "处置后 After disposal"}
_VERDICTS = {
    "kept": "按时 Kept",
    "broken": "超时 Broken",
    "disputed": "存疑 Disputed",
    "running": "计时中 Running",
    "none": "不适用 Not applicable",
}


def pdf(incident: Incident, rows: Sequence[JournalEntry], pictures: Mapping[str, bytes], now: datetime) -> bytes:
    """An A4 document: the three clocks, the two pictures of when smoke first showed, every journal line with the
    beginning of its hash, and the other pictures. ``pictures``: JPEG by SHA-256, as far as they are there."""
    pdfmetrics.registerFont(UnicodeCIDFont(_FONT))
    title = ParagraphStyle("title", fontName=_FONT, fontSize=15, leading=20, alignment=TA_CENTER)
    text = ParagraphStyle("text", fontName=_FONT, fontSize=8.5, leading=11, wordWrap="CJK")
    policy = parse_policy(incident.policy.body)
    clocks = intervals(stamps([row.to_entry() for row in rows], policy), policy, now)
    story: list[Any] = [
        Paragraph(f"火情时间线 Incident timeline {escape(incident.code)}", title),
        Spacer(1, 4 * mm),
        Paragraph(
            f"导出 Exported {_when(now)}；区县 County {escape(incident.county_code)}；网格 Grid "
            f"{escape(incident.grid_code or '—')}；规则版本 Policy version {incident.policy.version}。"
            "时间为北京时间。Times are UTC+8.",
            text,
        ),
        Spacer(1, 3 * mm),
        _table(_clock_rows(clocks, text), (45, 25, 32, 30, 48)),
        Spacer(1, 5 * mm),
        *_onset(rows, pictures, text),
        _table(_journal_rows(rows, text), (9, 37, 42, 24, 48, 20)),
        Spacer(1, 5 * mm),
        *_album(rows, pictures, text),
        Paragraph(
            "本页由同一证据包中的 journal.jsonl 生成；以可验证的记录为准。"
            "This page is made from journal.jsonl in the same bundle; the verifiable record is what counts.",
            text,
        ),
    ]
    buffer = io.BytesIO()
    SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=15 * mm,
        rightMargin=15 * mm,
        topMargin=15 * mm,
        bottomMargin=15 * mm,
        title=f"Incident {incident.code}",
        invariant=1,
    ).build(story, onFirstPage=_foot, onLaterPages=_foot)
    return buffer.getvalue()


def _onset(rows: Sequence[JournalEntry], pictures: Mapping[str, bytes], style: ParagraphStyle) -> list[Any]:
    """The frames between which the smoke of the opening sighting first showed, beside each other; [] when nobody looked
    back, or neither has arrived."""
    opening = rows[0].data.get("sighting") if rows else None
    found = [row.data for row in rows if row.event == "onset" and row.data.get("sighting") == opening]
    if not found or not pictures.keys() & {found[-1]["clean"], found[-1]["first"]}:
        return []
    offset = timedelta(milliseconds=found[-1].get("clock_offset_ms") or 0.0)
    cells = []
    for kind, bound, text in (
        ("clean", "t0_earliest", "还没有烟 No smoke yet"),
        ("first", "t0_latest", "第一次见烟 First smoke (T0)"),
    ):
        at, jpeg = found[-1][bound], pictures.get(found[-1][kind] or "")
        when = _when(datetime.fromisoformat(at) + offset) if at else "—"
        cells.append([_picture(jpeg, 86 * mm) if jpeg else "", Paragraph(f"{text}<br/>{when}", style)])
    return [_columns(cells, 90), Spacer(1, 5 * mm)]


def _album(rows: Sequence[JournalEntry], pictures: Mapping[str, bytes], style: ParagraphStyle) -> list[Any]:
    """The other pictures the journal names, as far as they are there, two beside each other."""
    cells = []
    for row in rows:
        kind, sha256 = row.data.get("kind"), row.data.get("sha256", "")
        if row.event == "picture" and kind in _PICTURES and sha256 in pictures:
            caption = f"#{row.seq} {_PICTURES[kind]}<br/>{_when(row.at)} · {sha256[:10]}"
            cells.append([_picture(pictures[sha256], 86 * mm), Paragraph(caption, style)])
    pairs = [cells[start : start + 2] for start in range(0, len(cells), 2)]
    return [flowable for pair in pairs for flowable in (_columns(pair, 90), Spacer(1, 4 * mm))]


def _picture(jpeg: bytes, width: float) -> Picture:
    columns, rows = ImageReader(io.BytesIO(jpeg)).getSize()
    return Picture(io.BytesIO(jpeg), width, width * rows / columns)


def _columns(cells: Sequence[Any], width_mm: float) -> Table:
    style = [("VALIGN", (0, 0), (-1, -1), "TOP")]
    return Table([cells], colWidths=[width_mm * mm] * len(cells), style=style, hAlign="LEFT")


def _clock_rows(clocks: Sequence[Interval], style: ParagraphStyle) -> list[list[Paragraph]]:
    rows = [["时限 Clock", "限值 Limit", "用时 Elapsed", "结论 Verdict", "依据 Reason"]]
    for clock in clocks:
        elapsed = "—" if clock.elapsed_s is None else f"{clock.elapsed_s:.1f} s"
        if clock.best_s is not None and clock.best_s != clock.elapsed_s:
            elapsed = f"{clock.best_s:.1f} – {'?' if clock.elapsed_s is None else f'{clock.elapsed_s:.1f}'} s"
        verdict = _VERDICTS[clock.verdict.value] + ("；已免责 excused" if clock.excused else "")
        rows.append([_CLOCKS[clock.name], f"{clock.limit_s} s", elapsed, verdict, f"{_why(clock)} {clock.reason}"])
    return _paragraphs(rows, style)


def _why(clock: Interval) -> str:
    """The verdict's reason in Chinese; the record's own is English."""
    if clock.verdict is Verdict.NONE:
        return "没有镜头看到它起烟" if clock.name == "discover" else "时限前已结束，不用再做"
    if clock.best_s is None:
        return "计时中" if clock.verdict is Verdict.RUNNING else "时限内没有完成"
    if clock.name != "discover":
        return "其间服务器时钟被拨回" if clock.verdict is Verdict.DISPUTED else f"报警后 {clock.best_s:.1f} 秒"
    if clock.verdict is Verdict.BROKEN:
        return f"起烟到报警至少 {clock.best_s:.1f} 秒"
    if clock.elapsed_s is None:
        return "起烟前没有干净画面"
    if clock.verdict is Verdict.DISPUTED:
        return f"起烟到报警 {clock.best_s:.1f}–{clock.elapsed_s:.1f} 秒，限值在其间"
    return f"起烟到报警最多 {clock.elapsed_s:.1f} 秒"


def _journal_rows(rows: Sequence[JournalEntry], style: ParagraphStyle) -> list[list[Paragraph]]:
    table = [["#", "时间 Time", "事件 Event", "谁 Who", "内容 Content", "摘要 Hash"]]
    for row in rows:
        table.append(
            [str(row.seq), _when(row.at), _EVENTS[row.event], row.actor, _content(row.readable()), row.hash[:10]]
        )
    return _paragraphs(table, style)


def _content(data: dict[str, Any]) -> str:
    """The short, plain values of a line."""
    parts = []
    for name, value in data.items():
        if not isinstance(value, str | int | float):
            continue
        shown = f"{str(value)[:12]}…" if name == "sha256" else str(value)
        if name.endswith("_at") and isinstance(value, str):
            shown = _when(datetime.fromisoformat(value))
        parts.append(f"{name}: {shown}")
    return "; ".join(parts)


def _paragraphs(rows: Sequence[Sequence[str]], style: ParagraphStyle) -> list[list[Paragraph]]:
    return [[Paragraph(escape(cell), style) for cell in row] for row in rows]


def _table(rows: list[list[Paragraph]], widths_mm: Sequence[float]) -> Table:
    table = Table(rows, colWidths=[width * mm for width in widths_mm], repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.3, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


def _when(at: datetime) -> str:
    return at.astimezone(_ZONE).isoformat(sep=" ", timespec="milliseconds").removesuffix("+08:00")


def _foot(canvas: Any, document: Any) -> None:
    canvas.setFont(_FONT, 8)
    canvas.drawCentredString(A4[0] / 2, 8 * mm, f"{document.page}")
