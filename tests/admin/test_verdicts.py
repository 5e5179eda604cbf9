# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a decided incident to pictures that a model learns from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from detector.measure.dataset import pictures as dataset_pictures
from detector.measure.dataset import read_description
from detector.train.review import from_review
from server.admin.cli import main
from server.db import Database
from server.domain.lifecycle import Event
from server.models import Incident, Picture
from server.services import pictures
from tests.support import world as small

EVIDENCE = "evidence"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> small.World:
    """The small region in the database that the command will read."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    monkeypatch.setenv("STRAW1530_DATABASE", f"sqlite:///{tmp_path / 'straw1530.sqlite'}")
    assert main(["init"]) == 0
    database = Database(f"sqlite:///{tmp_path / 'straw1530.sqlite'}")
    return small.World(database, small.seed(database), tmp_path / EVIDENCE)


def seen(world: small.World, shade: int, at: tuple[float, float]) -> str:
    """A dispatched sighting with its stored picture; returns the incident's code."""
    photo = small.jpeg(shade)
    code = world.dispatched(at=at, picture=photo)
    with world.database.write() as session:
        incident = session.scalars(select(Incident).where(Incident.code == code)).one()
        digest = pictures.keep(world.evidence, photo)
        facts = {"sighting_id": incident.sightings[0].id, "sha256": digest, "bytes": len(photo), "stored_at": world.now}
        session.add(Picture(incident_id=incident.id, kind="sighting", **facts))
    return code


def test_what_was_decided_becomes_training_data(
    world: small.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fire that was put out is smoke, fog is none, and what nobody has decided yet is not written."""
    fire = seen(world, 100, small.FIELD)
    for event in (Event.ACCEPT, Event.SET_OFF, Event.ARRIVE):
        world.apply(fire, event, "worker-1")
    world.report_done(fire, "worker-1")
    world.apply(fire, Event.VERIFY, "county")
    fog = seen(world, 150, small.OTHER_FIELD)
    world.apply(fog, Event.MARK_FALSE, "county", reason="fog")
    world.advance(minutes=120)
    seen(world, 200, small.OTHER_FIELD)

    assert main(["verdicts", str(tmp_path / "review")]) == 0
    assert "1 real, 1 false, 0 without picture" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "review/verdicts.jsonl").read_text().splitlines()]
    assert {(line["verdict"], line["reason"], line["camera"]) for line in lines} == {
        ("real", None, "tower-1"),
        ("false", "fog", "tower-1"),
    }

    assert from_review(tmp_path / "review", tmp_path / "set") == {"real": 1, "false": 1}
    read = dataset_pictures(read_description(tmp_path / "set/dataset.yaml"), tmp_path / "set")
    assert sorted(len(picture.labels) for picture in read) == [0, 1]


def test_a_folder_in_use_is_left_alone(world: small.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is mixed into what somebody has there."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("a")
    assert main(["verdicts", str(tmp_path / "mine")]) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_picture_that_never_arrived_is_counted(
    world: small.World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sighting was decided; there is nothing to learn from."""
    code = world.dispatched()
    world.apply(code, Event.MARK_FALSE, "county", reason="cloud")
    assert main(["verdicts", str(tmp_path / "review")]) == 0
    assert "0 real, 0 false, 1 without picture" in capsys.readouterr().out
