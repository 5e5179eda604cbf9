# SPDX-License-Identifier: AGPL-3.0-or-later
"""The measurement of discovery measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import discovery, plumes
from benchmarks.plumes import Plume
from detector.confirm import ConfirmParams
from detector.model import load_model
from detector.plan import Allowances, CameraPlan, compute

ALWAYS = Plume("made", 0.0, 1000.0, tuple([(0.4, 0.5, 0.43, 0.54, 0.8)] for _ in range(60)))
NEVER = Plume("made", 0.0, 1000.0, tuple([] for _ in range(60)))


@pytest.mark.parametrize("case", discovery.CASES, ids=lambda case: case.name)
def test_a_plain_plume_is_found_as_planned(case: discovery.Case) -> None:
    """What the model always sees is found within the plan's worst case; the wait for the next look is part of it."""
    run = discovery.measure(case, [ALWAYS], 60, 1.0, 1)
    plan = CameraPlan("west", case.interval_s, case.burst_s, ConfirmParams().for_interval(case.interval_s), case.patrol)
    sure = Allowances(capture_s=0, look_s=0, delivery_s=0, confidence=0.8, misses=0)
    assert run["seconds"]["n"] == 60
    assert run["seconds"]["max"] <= compute(plan, 1, sure)[0].worst_s + discovery.TICK_S
    assert run["seconds"]["max"] > case.burst_s


def test_what_is_never_seen_is_never_found() -> None:
    """And is counted as such, by its place."""
    run = discovery.measure(discovery.CASES[1], [NEVER, ALWAYS], 10, 1.0, 1)
    assert run["not_found"] == {"made 1000 m": 5}
    assert not run["kept"]


def test_lost_looks_cost_time() -> None:
    """With half of the looks lost the mean grows."""
    whole, half = (discovery.measure(discovery.CASES[0], [ALWAYS], 60, recall, 1) for recall in (1.0, 0.5))
    assert half["seconds"]["mean"] > whole["seconds"]["mean"] + 5


def test_the_command_writes_every_run(tmp_path: Path) -> None:
    """All cases, since each of the three moments, with and without lost looks."""
    discovery.main(["--onsets", "12", "--json", str(tmp_path / "figures.json")])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["runs"]) == 3 * 2 * len(discovery.CASES)
    assert figures["patrol_plan_accepted"] is True


def test_the_recording_is_the_shipped_models() -> None:
    """A new model needs a new recording: python -m benchmarks.plumes."""
    recorded, digest = plumes.read()
    assert digest == load_model().card.sha256
    assert sum(plume.steady_s is not None for plume in recorded) >= 8
