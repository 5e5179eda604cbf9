# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plan: what it promises, what it refuses, and that it is the box's own behaviour."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from detector import cli
from detector.judgement.params import ConfirmParams
from detector.planning import plan_cli
from detector.planning.plan import LIMIT_S, Allowances, CameraPlan, Patrol, Rhythm, compute, mends
from detector.wire import Sighting
from tests.detector.make import START
from tests.detector.test_box import SMOKE, Bench, camera

HEAD = """edge: edge-1
data_dir: data
broker: {host: 127.0.0.1, port: 1, username: edge-1, password_file: password}
cameras:
"""
SURE = Allowances(capture_s=0, look_s=0, delivery_s=0, confidence=0.7, recall=1, misses=0)


def fixed(interval_s: float, burst_s: float = 2) -> CameraPlan:
    return CameraPlan("west", interval_s, burst_s, ConfirmParams().for_interval(interval_s))


def rounds(number: int, dwell_s: float = 4, interval_s: float = 10) -> CameraPlan:
    presets = tuple(f"p{each}" for each in range(number))
    return replace(fixed(interval_s), patrol=Patrol(presets, dwell_s, 1.5, 1))


@pytest.mark.parametrize(("interval_s", "burst_s"), [(10, 2), (5, 1), (20, 3), (10, 10)])
def test_the_plan_is_what_the_box_does(interval_s: float, burst_s: float) -> None:
    """The worst case is the delay of the box's own looker when smoke comes just after a look."""
    bench = Bench(camera("west", interval_s=interval_s, burst_interval_s=burst_s))
    while not bench.watches[0].spot.gaze.settled:
        bench.run(0.5)
    looked_s = bench.times()[-1]
    bench.model.sees = [SMOKE]
    bench.run(120)
    sighting: Sighting = bench.kept[0][0]
    bench_s = (sighting.t1 - START).total_seconds() - looked_s
    assert compute(fixed(interval_s, burst_s), 1, SURE)[0].worst_s == bench_s


def test_more_is_asked_more_is_needed() -> None:
    """Raising what confirms raises the plan: the rule has no second copy."""
    strict = replace(fixed(10), confirm=replace(fixed(10).confirm, least_hits=6))
    assert compute(strict, 1, SURE)[0].worst_s == compute(fixed(10), 1, SURE)[0].worst_s + 8


def test_each_allowance_counts() -> None:
    """Capture and delivery once, a look for each camera that may be looked at first, a miss by an interval."""
    base = compute(fixed(10), 1, SURE)[0].worst_s
    assert compute(fixed(10), 1, replace(SURE, capture_s=1, delivery_s=3))[0].worst_s == base + 4
    assert compute(fixed(10), 4, replace(SURE, look_s=0.5))[0].worst_s == base + 2
    assert compute(fixed(10), 1, replace(SURE, misses=1))[0].worst_s == base + 10


def test_a_visit_ends_when_its_time_is_over_and_nothing_is_suspected() -> None:
    """Looks at 0, 10 and 20 s of a visit of 25 s, then away for 30 s; a suspicion holds the camera."""
    rhythm = Rhythm(10, 2, 25, 30)
    assert rhythm.after(10, 0, False) == (20, 0)
    assert rhythm.after(20, 0, False) == (55, 55)
    assert rhythm.after(24, 0, True) == (26, 0)
    assert rhythm.after(40, 0, False) == (70, 70)


@pytest.mark.parametrize("plan", [fixed(40), fixed(30, 30), rounds(8), rounds(6, 12)])
def test_what_is_refused_gets_plans_that_are_kept(plan: CameraPlan) -> None:
    """At least one way is named, and a slightly slower one than it would not do."""
    assert not compute(plan, 1, Allowances())[0].kept
    assert mends(plan, 1, Allowances())
    if plan.patrol and plan.patrol.dwell_s == 4:
        assert "4 presets instead of 8, and fixed cameras for the other 4" in mends(plan, 1, Allowances())
        assert compute(rounds(4), 1, Allowances())[0].kept
        assert not compute(rounds(5), 1, Allowances())[0].kept


def test_smoke_that_never_confirms_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rule that the assumed plume can never meet gives no figure, no endless loop, and no promise."""
    path = tmp_path / "edge.yaml"
    path.write_text(HEAD + "  - {id: west, url: 'rtsp://127.0.0.1/x', interval_s: 60, confirm: {evidence: 900}}\n")
    assert plan_cli.main([str(path), "--picture", str(tmp_path / "plan.png")]) == 1
    assert "at worst never" in capsys.readouterr().out


def write(folder: Path, *cameras: str) -> Path:
    path = folder / "edge.yaml"
    path.write_text(HEAD + "".join(f"  - {{{each}, url: 'rtsp://127.0.0.1:1/x'}}\n" for each in cameras))
    return path


def test_the_command_says_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status, table, JSON and both kinds of picture."""
    good = write(
        tmp_path, "id: west", "id: tower, patrol: {dwell_s: 4, settle_s: 2, presets: [{name: p1}, {name: p2}]}"
    )
    assert plan_cli.main([str(good), "--picture", str(tmp_path / "plan.svg")]) == 0
    out = capsys.readouterr().out
    assert "REFUSED" not in out
    assert "delivery_s 2" in out
    assert "p1 p2" in (tmp_path / "plan.svg").read_text()
    bad = write(tmp_path, "id: west, interval_s: 40")
    assert plan_cli.main([str(bad), "--json", "--picture", str(tmp_path / "plan.png")]) == 1
    document = json.loads(capsys.readouterr().out)
    [preset] = document["presets"]
    assert preset["worst_s"] > LIMIT_S
    assert preset["kept"] is False
    assert "would do: interval_s: " in document["refused"][0]
    assert cv2.imread(str(tmp_path / "plan.png")) is not None
    assert plan_cli.main([str(bad), "--picture", str(tmp_path / "plan.gif")]) == 2
    assert "must end in .svg or .png" in capsys.readouterr().err


def test_a_strict_box_does_not_start_on_a_refused_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence with the reason and what would do."""
    path = write(tmp_path, "id: west, interval_s: 40")
    assert cli.main(["run", "--strict", str(path)]) == 2
    assert "the plan is refused: camera west: cannot keep 60 s" in capsys.readouterr().err
