# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 plan`: whether a box's settings can keep the minute, computed before anybody relies on them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detector.config import EdgeSettings, read_settings
from detector.errors import ConfigError, DetectorError
from detector.planning.plan import LIMIT_S, Allowances, Outcome, compute, mends
from detector.planning.plan_picture import draw


def main(argv: Sequence[str]) -> int:
    """0 when every camera keeps the minute, 1 when one cannot, 2 when the settings cannot be read."""
    parser = argparse.ArgumentParser(prog="straw1530 plan", description=__doc__)
    parser.add_argument("file", type=Path, metavar="EDGE.yaml", help="the box's settings")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the worst cases (.png or .svg)")
    args = parser.parse_args(argv)
    try:
        settings = read_settings(args.file)
        outcomes, refusals = judge_plan(settings)
        if args.picture:
            _draw(outcomes, args.picture)
    except DetectorError as error:
        print(f"straw1530 plan: {error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(_document(settings.plan, outcomes, refusals), indent=1))
    else:
        print("\n".join([*_table(settings.plan, outcomes), *refusals]))
    return 1 if refusals else 0


def judge_plan(settings: EdgeSettings) -> tuple[list[Outcome], list[str]]:
    """The figures of each camera and preset, and for each camera that cannot keep the minute why and what would."""
    outcomes: list[Outcome] = []
    refusals: list[str] = []
    for camera in settings.cameras:
        plan = camera.as_plan()
        found = compute(plan, len(settings.cameras), settings.plan)
        outcomes += found
        if not found[0].kept:
            refusals.append(_refusal(found[0], mends(plan, len(settings.cameras), settings.plan), settings.plan))
    return outcomes, refusals


def slow_cameras(settings: EdgeSettings) -> dict[str, str]:
    """The cameras whose plan cannot keep the minute, each with the reason in one phrase."""
    slow = {}
    for camera in settings.cameras:
        found = compute(camera.as_plan(), len(settings.cameras), settings.plan)[0]
        if not found.kept:
            worst, p95 = _seconds(found.worst_s), _seconds(found.p95_s)
            slow[camera.id] = f"its plan cannot keep one minute: at worst {worst}, p95 {p95}"
    return slow


def _refusal(outcome: Outcome, ways: Sequence[str], allow: Allowances) -> str:
    missed = sum(not seen for _, seen in outcome.worst.looks)
    reason = (
        f"camera {outcome.camera}: cannot keep {LIMIT_S:.0f} s: at worst {_seconds(outcome.worst_s)} "
        f"(looked at once in {outcome.cycle_s:g} s, {missed} of {allow.misses} allowed looks missed, confirmed by look "
        f"{len(outcome.worst.looks)}), p95 {_seconds(outcome.p95_s)}"
    )
    return f"{reason}; would do: {', or '.join(ways) or 'no plan of this kind: use another fixed camera'}"


def _table(allow: Allowances, outcomes: Sequence[Outcome]) -> list[str]:
    rows = [("camera", "preset", "cycle s", "p95 s", "worst s", "")]
    for each in outcomes:
        verdict = "kept" if each.kept else "REFUSED"
        figures = (f"{each.cycle_s:g}", _figure(each.p95_s), _figure(each.worst_s))
        rows.append((each.camera, each.preset or "-", *figures, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    named = ", ".join(f"{name} {value:g}" for name, value in asdict(allow).items())
    note = (
        "A preset's figures do not count a suspicion at another preset of the same camera, which may hold it a minute."
    )
    return [*lines, f"taken for granted: {named}", *([note] if any(_patrols(outcomes)) else [])]


def _patrols(outcomes: Sequence[Outcome]) -> list[bool]:
    names = [each.camera for each in outcomes]
    return [names.count(name) > 1 for name in names]


def _document(allow: Allowances, outcomes: Sequence[Outcome], refusals: Sequence[str]) -> dict[str, Any]:
    """Plain data; a time that never comes is null."""
    return {
        "limit_s": LIMIT_S,
        "taken_for_granted": asdict(allow),
        "presets": [
            {
                "camera": each.camera,
                "preset": each.preset,
                "cycle_s": each.cycle_s,
                "p95_s": _finite(each.p95_s),
                "worst_s": _finite(each.worst_s),
                "kept": each.kept,
            }
            for each in outcomes
        ],
        "refused": list(refusals),
    }


def _finite(seconds: float) -> float | None:
    return round(seconds, 2) if math.isfinite(seconds) else None


def _figure(seconds: float) -> str:
    return f"{seconds:.1f}" if math.isfinite(seconds) else "never"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if math.isfinite(seconds) else "never"


def _draw(outcomes: Sequence[Outcome], path: Path) -> None:
    try:
        draw(outcomes, path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the picture cannot be drawn: {error}") from error
