# SPDX-License-Identifier: AGPL-3.0-or-later
"""The set-up commands, as an operator types them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from sqlalchemy import select
from werkzeug.security import check_password_hash

from demo.region import FOLDER
from server.admin.cli import main
from server.db import Database
from server.domain.place import distance_m
from server.models import Camera, EdgeBox, Person, PolicyVersion
from tests.support.brokers import may_connect, mosquitto_with

CAMERA = (
    "--id west --edge edge-9 --county 330802 --name 石梁"
    " --lat 28.97 --lon 118.8 --height-m 40 --pan 270 --tilt -2 --hfov 32"
)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database of a fresh data folder, as the environment names it."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    for name in ("STRAW1530_DATABASE", "STRAW1530_MQTT", "STRAW1530_TWILIO_CALLBACK_URL"):
        monkeypatch.delenv(name, raising=False)
    return Database(f"sqlite:///{tmp_path / 'straw1530.sqlite'}")


def run(text: str) -> int:
    """``straw1530 admin …``."""
    return main(text.split())


def test_from_nothing_to_a_working_installation(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """init, region, people, camera, password, list: each once and again without harm."""
    for _ in range(2):
        assert run("init") == 0
    assert run(f"region check {FOLDER}") == 0
    assert run(f"region import {FOLDER}") == 0
    assert "1771 added" in capsys.readouterr().out
    people = tmp_path / "people.csv"
    people.write_text("login,name,phone,language,role,area\nchief,某,13800138000,zh,admin,330800\n")
    assert run(f"people import {people} --dry-run") == 0
    with database.read() as session:
        assert session.scalars(select(Person)).all() == []
    assert run(f"people import {people}") == 0
    assert run(f"camera add {CAMERA}") == 0
    assert run(f"camera add {CAMERA.replace('270', '90')}") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert run("password chief") == 0
    capsys.readouterr()
    assert run("list") == 0
    shown = capsys.readouterr().out
    assert "village: 1664" in shown
    assert "SYNTHETIC" in shown
    with database.read() as session:
        person = session.scalars(select(Person)).one()
        assert person.password_hash is not None
        assert person.password_hash.startswith("scrypt:")
        assert check_password_hash(person.password_hash, "correct horse")
        assert person.session_epoch == 1
        assert [camera.pan for camera in session.scalars(select(Camera))] == [90]
        assert len(session.scalars(select(PolicyVersion)).all()) == 1
    assert run("preflight --limit 5000") == 1
    assert "330802 柯城区: nobody is duty" in capsys.readouterr().out
    assert run(f"preflight --area 330802 --limit 1 --json {tmp_path / 'gaps.json'}") == 1
    assert "… and" in capsys.readouterr().out
    listed = json.loads((tmp_path / "gaps.json").read_text())["gaps"]
    assert {gap["division"][:6] for gap in listed} == {"330802"}
    database.dispose()


def test_a_generated_password_is_printed_once_and_works(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--generate makes one, and only its hash is kept."""
    run("init")
    people = tmp_path / "people.csv"
    (tmp_path / "region").mkdir()
    people.write_text("login,name,phone,language,role,area\nchief,某,13800138000,zh,admin,330800\n")
    run(f"region import {FOLDER}")
    run(f"people import {people}")
    capsys.readouterr()
    assert run("password chief --generate") == 0
    word = capsys.readouterr().out.split()[-1]
    with database.read() as session:
        assert check_password_hash(session.scalars(select(Person.password_hash)).one() or "", word)
    database.dispose()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("list", "straw1530 admin init"),
        ("password nobody --generate", "straw1530 admin init"),
        ("people import nowhere.csv", "nowhere.csv: cannot be read"),
        ("region import nowhere", "divisions.csv: cannot be read"),
        ("camera import nowhere.yaml", "nowhere.yaml: cannot be read"),
        (f"camera add {CAMERA.replace('28.97', '118.97')}", "lat: input should be less than or equal to 90"),
        (f"camera add {CAMERA.replace('28.97', 'x')}", "lat: input should be a valid number"),
    ],
)
def test_a_wrong_call_says_what_to_do(
    database: Database, capsys: pytest.CaptureFixture[str], command: str, sentence: str
) -> None:
    """One sentence, status 1, no traceback."""
    if "init" not in sentence:
        run("init")
    capsys.readouterr()
    assert run(command) == 1
    assert sentence in capsys.readouterr().err
    database.dispose()


def test_without_a_data_folder_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """STRAW1530_DATA."""
    monkeypatch.delenv("STRAW1530_DATA", raising=False)
    assert run("list") == 1
    assert "STRAW1530_DATA is not set" in capsys.readouterr().err


def test_cameras_come_from_yaml_and_csv_all_or_none(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad one among good ones is named and none is written."""
    run("init")
    run(f"region import {FOLDER}")
    place = "lat: 28.9, lon: 118.8, height_m: 40, pan: 0, tilt: -1, hfov: 30"
    good = f"  - {{id: one, edge: e, county: '330802', name: 一, {place}}}\n"
    (tmp_path / "bad.yaml").write_text(
        "cameras:\n"
        + good
        + good
        + good.replace("one", "two").replace("330802", "330800").replace("-1", "x")
        + good.replace("one", "three").replace("28.9", "29.8")
    )
    (tmp_path / "good.yaml").write_text("cameras:\n" + good)
    (tmp_path / "good.csv").write_text(
        "id,edge,county,name,lat,lon,height_m,pan,tilt,hfov,pan_error\ntwo,e,330802,二,28.9,118.8,40,0,-1,30,\n"
    )
    capsys.readouterr()
    assert run(f"camera import {tmp_path / 'bad.yaml'}") == 1
    refused = capsys.readouterr().err
    assert "camera 2: the camera 'one' is there twice" in refused
    assert "camera 3: tilt: input should be a valid number" in refused
    assert "camera 4: 29.8, 118.8 is more than 20 km outside 柯城区" in refused
    with database.read() as session:
        assert session.scalars(select(EdgeBox)).all() == []
    assert run(f"camera import {tmp_path / 'good.yaml'}") == 0
    assert run(f"camera import {tmp_path / 'good.csv'}") == 0
    with database.read() as session:
        assert [camera.id for camera in session.scalars(select(Camera).order_by(Camera.id))] == ["one", "two"]
    (tmp_path / "good.yaml").write_text("cameras:\n" + good.replace("lat:", "crs: gcj02, lat:"))
    assert run(f"camera import {tmp_path / 'good.yaml'}") == 0
    with database.read() as session:
        moved = session.get_one(Camera, "one")
        assert 500 < distance_m(28.9, 118.8, moved.lat, moved.lon) < 650
    for content in ("5", "cameras: [5]", "cameras: [", "{}"):
        (tmp_path / "no.yaml").write_text(content)
        assert run(f"camera import {tmp_path / 'no.yaml'}") == 1
    database.dispose()


def test_the_brokers_users_and_rules_are_files_that_mosquitto_takes(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine's printed password opens a real mosquitto with the printed rules; a stranger gets none."""
    assert run("init") == 0
    assert run(f"region import {FOLDER}") == 0
    assert run(f"camera add {CAMERA}") == 0
    capsys.readouterr()
    file = tmp_path / "users"
    passwords = {}
    for name in ("engine", "edge-9", "engine"):
        assert run(f"broker password {name} {file}") == 0
        passwords[name] = capsys.readouterr().out.strip()
    assert file.stat().st_mode & 0o077 == 0
    assert run(f"broker password stranger {file}") == 1
    assert "neither a part of the system" in capsys.readouterr().err
    assert run("broker rules") == 0
    rules = capsys.readouterr().out
    with mosquitto_with(tmp_path / "mosquitto", file.read_text(), rules) as broker:
        assert may_connect(broker, "engine", passwords["engine"])
        assert may_connect(broker, "edge-9", passwords["edge-9"])
        assert not may_connect(broker, "edge-9", "another")
