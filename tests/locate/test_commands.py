# SPDX-License-Identifier: AGPL-3.0-or-later
"""Calibrating a camera and checking tiles from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.admin import cameras
from server.admin.cli import main
from server.models import Camera
from tests.locate.make import write_hgt
from tests.locate.test_calibrate import landmarks
from tests.support.world import World


@pytest.fixture
def run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world's database as the commands' own."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    return world


def points(folder: Path, **changes: str) -> Path:
    """The landmarks as a file; ``changes`` replace what stands in it."""
    lines = ["name,x,y,lat,lon,height_m"]
    lines += [f"{one.name},{one.x:.1f},{one.y:.1f},{one.lat:.6f},{one.lon:.6f},{one.height_m}" for one in landmarks()]
    path = folder / "points.csv"
    text = "\n".join(lines)
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text + "\n", encoding="utf-8")
    return path


_VIEW = ["--width", "1280", "--height", "720", "--pan", "268", "--tilt", "-1", "--hfov", "32"]


def test_a_calibration_is_shown_and_kept_when_asked(
    run: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each landmark's residual, the offsets with their errors; the camera changes with --save only."""
    file = str(points(tmp_path))
    assert main(["camera", "calibrate", "tower-1", file, *_VIEW]) == 0
    shown = capsys.readouterr().out
    assert "p0" in shown
    assert "pan +3.30°" in shown
    assert "nothing was changed" in shown
    with run.database.read() as session:
        assert session.get_one(Camera, "tower-1").calibrated_at is None
    assert main(["camera", "calibrate", "tower-1", file, *_VIEW, "--save"]) == 0
    with run.database.read() as session:
        camera = session.get_one(Camera, "tower-1")
        assert camera.pan_offset == pytest.approx(3.3, abs=0.01)
        assert camera.tilt_error < 0.2
        assert camera.calibrated_at is not None


def test_registering_a_camera_again_keeps_its_calibration(run: World, tmp_path: Path) -> None:
    """What the file does not name stays."""
    assert main(["camera", "calibrate", "tower-1", str(points(tmp_path)), *_VIEW, "--save"]) == 0
    form = {"id": "tower-1", "edge": "edge-1", "county": "330802", "name": "石梁高点", "lat": 28.96, "lon": 118.8}
    looks = {"height_m": 40, "pan": 90, "tilt": -2, "hfov": 40}
    with run.database.write() as session:
        assert not cameras.add_camera(session, cameras.parse_camera(form | looks))
    with run.database.read() as session:
        camera = session.get_one(Camera, "tower-1")
        assert camera.pan_offset == pytest.approx(3.3, abs=0.01)
        assert camera.tilt_error < 0.2


@pytest.mark.parametrize(
    ("name", "changes", "word"),
    [
        ("tower-9", {}, "tower-9"),
        ("tower-1", {"p3,": "p3,1"}, "p3"),
        ("tower-1", {"height_m": "top"}, "height_m"),
        ("tower-1", {"p2,": "p2,east"}, "line 4"),
    ],
)
def test_a_refused_calibration_changes_nothing(
    run: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, changes: dict[str, str], word: str
) -> None:
    """One sentence names the camera, the landmark or the line."""
    assert main(["camera", "calibrate", name, str(points(tmp_path, **changes)), *_VIEW, "--save"]) == 1
    assert word in capsys.readouterr().err
    with run.database.read() as session:
        assert session.get_one(Camera, "tower-1").calibrated_at is None


def test_tiles_are_checked_for_every_camera(run: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A camera without altitude stays on flat ground; an altitude that cannot be is asked about; no tiles, no word."""
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    assert main(["terrain", "check", str(tiles)]) == 1
    assert "no .hgt" in capsys.readouterr().err
    write_hgt(tiles, lambda lats, lons: 100 + 0 * lats * lons)
    assert main(["terrain", "check", str(tiles)]) == 1
    shown = capsys.readouterr().out
    assert "ground 100 m" in shown
    assert "flat ground until" in shown
    assert "is unknown" in shown
    write_hgt(tiles, lambda lats, lons: 100 + 0 * lats * lons, "N29E118")
    for name in ("N28E119", "N29E119"):
        write_hgt(tiles, lambda lats, lons: 100 + 0 * lats * lons, name)
    with run.database.write() as session:
        session.get_one(Camera, "tower-1").altitude_m = 140.0
    assert main(["terrain", "check", str(tiles)]) == 0
    assert "lens 40 m above" in capsys.readouterr().out
    with run.database.write() as session:
        session.get_one(Camera, "tower-1").altitude_m = 1400.0
    assert main(["terrain", "check", str(tiles)]) == 1
    assert "is the altitude right?" in capsys.readouterr().out
