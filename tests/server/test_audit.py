# SPDX-License-Identifier: AGPL-3.0-or-later
"""The auditor and the heartbeat: silence where there is nothing, a sentence where there is."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from server.admin.policy import read_policy
from server.audit import beat, cli
from server.audit.checks import audit
from server.domain.errors import Invalid
from server.domain.lifecycle import Event
from server.evidence.keys import load
from server.evidence.notary import Notary
from straw1530.cli import main
from tests.support.world import START, World


class Clock:
    """The world's clock."""

    def __init__(self, world: World) -> None:
        self.world = world

    def now(self, _session: object) -> Any:
        """The world's time."""
        return self.world.now


def findings(world: World) -> list[str]:
    """The names of what the auditor finds now."""
    with world.database.read() as session:
        return [finding.check for finding in audit(session, world.now)]


def expand(world: World) -> None:
    """The dispatcher did its part."""
    with world.database.write() as session:
        session.execute(text("UPDATE callouts SET expanded_at = created_at WHERE expanded_at IS NULL"))


def prove(world: World, folder: Path) -> None:
    """The notary did its part."""
    Notary(world.database, Clock(world), load(folder), folder / "checkpoints", lambda _topic, _content: None).step()


def test_a_system_that_works_is_found_well_at_every_step_of_a_fire(world: World, tmp_path: Path) -> None:
    """From the first alert through every state to the close and the day after."""
    fire = world.dispatched()
    for minutes in (1, 3, 6, 12):
        world.advance(minutes=minutes)
        expand(world)
        prove(world, tmp_path)
        assert findings(world) == []
    world.apply(fire, Event.ACCEPT, "worker-1")
    world.advance(minutes=120)
    expand(world)
    prove(world, tmp_path)
    assert findings(world) == []  # all steps have fired and nothing more is to come: that is no fault of the clock
    world.apply(fire, Event.ARRIVE, "worker-1")
    world.report_done(fire, "worker-1")
    world.apply(fire, Event.VERIFY, "county")
    world.apply(fire, Event.CLOSE, "county")
    prove(world, tmp_path)
    assert findings(world) == []


def test_a_clock_that_stopped_is_found(world: World, tmp_path: Path) -> None:
    """Nobody swept for three minutes: the overdue step is named, and call-outs that wait."""
    world.dispatched()
    prove(world, tmp_path)
    world.now = START + timedelta(minutes=3)
    assert findings(world) == ["late_steps", "waiting_callouts"]


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE deadlines SET cancelled_at = due_at", "no_next_step"),
        ("UPDATE incidents SET state = 'closed', ended_at = opened_at", "ended_but_armed"),
        ("UPDATE incidents SET last_at = '2027-01-01 00:00:00+00:00'", "times_ahead"),
    ],
)
def test_a_record_that_somebody_bent_is_found(world: World, tmp_path: Path, statement: str, check: str) -> None:
    """Straight in the tables, past all services."""
    world.dispatched()
    expand(world)
    prove(world, tmp_path)
    world.now += timedelta(seconds=1)
    with world.database.write() as session:
        session.execute(text(statement))
    assert findings(world) == [check]


def test_a_journal_that_nobody_signs_is_found(world: World) -> None:
    """After a quarter of an hour without a checkpoint."""
    world.dispatched()
    world.advance(minutes=16)
    expand(world)
    assert findings(world) == ["unproved_lines"]


def test_the_heart_beats_while_the_clock_does_and_stops_with_it(world: World, tmp_path: Path) -> None:
    """File and retained message; a clock that hangs gives no beat, so that the file grows old."""
    sent: list[tuple[str, bytes]] = []
    age = [0.5]
    path = tmp_path / "heartbeat.json"
    heart = beat.Heart(world.database, Clock(world), path, lambda: age[0], lambda *message: sent.append(message))
    assert heart.step() == []
    assert json.loads(path.read_bytes())["well"] is True
    assert sent == [("straw1530/v1/server/heartbeat", path.read_bytes())]
    age[0] = 60.0
    assert heart.step() is None
    assert len(sent) == 1
    assert beat.age_s(path, world.now + timedelta(minutes=5)) == (300.0, [])


def test_an_old_or_missing_heartbeat_is_an_alarm_on_any_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The watcher needs the file and nothing else."""
    path = tmp_path / "beat.json"
    assert cli.main(["--beat", str(path)]) == 1
    path.write_bytes(beat.message(datetime.now(UTC), []))
    assert cli.main(["--beat", str(path)]) == 0
    path.write_bytes(beat.message(datetime.now(UTC) - timedelta(minutes=2), []))
    assert cli.main(["--beat", str(path)]) == 1
    assert "stopped beating" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_by_its_status(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 and a sentence for an overdue step; 2 when it cannot tell."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    assert main(["audit"]) == 0
    assert capsys.readouterr().out == "all is well\n"
    world.dispatched()  # long ago, by the real clock
    assert main(["audit", "--json"]) == 1
    assert "late_steps" in capsys.readouterr().out
    monkeypatch.setenv("STRAW1530_DATABASE", f"sqlite:///{tmp_path}/empty.sqlite")
    assert main(["audit"]) == 2


# Policy files, refused with the line

GOOD = """\
respond_limit_s: 240
ladder:
  - {key: r, after_s: 240, until: accept, event: breach, rungs: [township]}
  - {key: d, after_s: 1800, until: report, event: breach, rungs: [county]}
  - {key: v, after_s: 600, until: verify, event: remind, rungs: [county]}
  - {key: c, after_s: 600, until: close, event: remind, rungs: [county]}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("respond_limit_s: 240", "respond_limit_s: 300", 3, "a breach at 240 s contradicts respond_limit_s = 300"),
        ("rungs: [county]}\n  - {key: c", "rungs: [mayor]}\n  - {key: c", 5, "are among owner"),
        ("key: v", "key: r", 5, "'r' is used twice"),
        ("until: close", "until: never", 6, "until: is one of"),
        ("ladder:\n", "speed: 3\nladder:\n", 2, "there is no such field"),
        ("ladder:\n", "respond_limit_s: 240\nladder:\n", 2, "is given twice"),
        ("key: r,", "key: [r,", 3, ""),
    ],
)
def test_a_contradictory_policy_file_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, sentence: str
) -> None:
    """The sentence names file, line and fault."""
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(Invalid) as refused:
        read_policy(path)
    assert f"line {line}" in str(refused.value)
    assert sentence in str(refused.value)


def test_a_county_publishes_its_policy_by_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Versions count up per county, what is shown can be published again, and a city is no county."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    assert main(["admin", "policy", "publish", str(path), "--county", "330802"]) == 0
    assert "version 1 for 330802: discover 60 s, respond 240 s" in capsys.readouterr().out
    assert main(["admin", "policy", "show", "--county", "330802"]) == 0
    path.write_text(capsys.readouterr().out)
    assert main(["admin", "policy", "publish", str(path), "--county", "330802"]) == 0
    assert main(["admin", "policy", "check", str(path)]) == 0
    assert main(["admin", "policy", "show", "--county", "330802", "--history"]) == 0
    assert "330802, version 2" in capsys.readouterr().out
    assert main(["admin", "policy", "publish", str(path), "--county", "3308"]) == 1
    assert "there is no county '3308'" in capsys.readouterr().err
