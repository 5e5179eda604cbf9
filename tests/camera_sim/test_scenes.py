# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scene files, and the pictures and truth that come of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import Point, shape

from camera_sim.noise import U8
from camera_sim.scene import Scene
from camera_sim.spec import DisturbanceKind, SceneError, builtin_scenes, load_spec
from camera_sim.truth import Truth
from tests.camera_sim.make import spec

GOOD = """\
camera:
  id: a
  name: A
  lat: 28.98
  lon: 118.85
  height_m: 45
  pan_deg: 281
  tilt_deg: -2.5
  hfov_deg: 32
fires:
  - at_s: 30
    bearing_deg: 280
    range_m: 1500
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("hfov_deg: 32", "hfov_deg: 320", 9, "camera.hfov_deg"),
        ("    range_m: 1500", "    range_m: -4", 13, "fires.0.range_m"),
        ("    range_m: 1500\n", "", 11, "placed by lat and lon"),
        ("  name: A\n", "", 1, "camera.name"),
        ("  lon: 118.85", "  lon: 118.85\n  zoom: 3", 6, "camera.zoom"),
        ("fires:", "fires: [", 11, ""),
        (
            "    range_m: 1500",
            "    range_m: 1500\n    growth: [{t_s: 5, straw_kg_s: 1}, {t_s: 5, straw_kg_s: 2}]",
            11,
            "t_s must rise",
        ),
    ],
)
def test_a_broken_scene_is_told_by_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    """A mistake is one sentence with the file, the line and the field."""
    path = tmp_path / "scene.yaml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(SceneError) as caught:
        load_spec(path)
    assert str(caught.value).startswith(f"{path}, line {line}:")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_scene_is_the_same_every_time() -> None:
    """Two scenes of one file give the same bytes at the same time, in any order; another time differs."""
    given = spec(fires=[{"at_s": 1, "bearing_deg": 280, "range_m": 1500}])
    one, two = Scene(given), Scene(given)
    later = one.frame(20.0)
    assert np.array_equal(two.frame(3.0), one.frame(3.0))
    assert np.array_equal(two.frame(20.0), later)
    assert not np.array_equal(one.frame(3.0), later)


@pytest.fixture(scope="module")
def wide() -> Scene:
    """A full-size scene without noise, drawn once; tests put their own fires into it."""
    return Scene(spec(camera={"width": 1280, "height": 720}, noise=0))


def _smoke(scene: Scene, t_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that a scene's fires change."""
    fires, scene.fires = scene.fires, ()
    quiet = scene.frame(t_s).astype(int)
    scene.fires = fires
    return np.nonzero(np.abs(scene.frame(t_s).astype(int) - quiet).max(axis=2) > 12)


@pytest.mark.parametrize(("bearing", "range_m"), [(281, 1200), (275, 1800), (290, 2400)])
def test_smoke_rises_from_where_the_truth_says(wide: Scene, bearing: float, range_m: float) -> None:
    """The lowest smoke of a young fire is drawn at the projected place, to a few pixels of 1280."""
    wide.fires = ()
    fire = wide.ignite(5, bearing_deg=bearing, range_m=range_m)
    base = wide.base(fire)
    assert base is not None
    rows, columns = _smoke(wide, 9)
    lowest = columns[rows >= np.quantile(rows, 0.9)]
    assert rows.max() == pytest.approx(base[1] * 720, abs=6)
    assert lowest.mean() == pytest.approx(base[0] * 1280, abs=12)


def test_a_fire_grows_and_then_thins_away(wide: Scene) -> None:
    """Smoke covers more as the fire grows, and is all but gone 40 s after it was put out."""
    wide.fires = ()
    wide.ignite(0, bearing_deg=281, range_m=1200)
    young, grown = _smoke(wide, 5)[0].size, _smoke(wide, 60)[0].size
    assert 0 < young * 4 < grown
    wide.extinguish(60)
    assert _smoke(wide, 100)[0].size < grown / 50


def test_the_truth_tells_when_smoke_can_first_be_seen() -> None:
    """The first visible frame is soon after the ignition, later for a farther fire, and never for one too far."""
    scene = Scene(spec(camera={"width": 1280, "height": 720}))
    near, far, lost = (scene.ignite(10, bearing_deg=281, range_m=r) for r in (1000, 4000, 19_000))
    seen = [scene.first_visible_s(fire) for fire in (near, far)]
    assert seen[0] is not None
    assert seen[1] is not None
    assert 10 < seen[0] < seen[1] < 70
    assert scene.first_visible_s(replace(lost, stop_s=14)) is None


def test_the_truth_tells_where_the_smoke_is(wide: Scene) -> None:
    """The box holds what the fire changed in the picture, and little more; nothing is there before."""
    wide.fires = ()
    fire = wide.ignite(0, bearing_deg=281, range_m=1200)
    rows, columns = _smoke(wide, 40)
    box = wide.smoke_box(fire, 40)
    assert box is not None
    left, top, right, bottom = box
    assert left <= columns.min() / 1280 + 0.01
    assert right >= columns.max() / 1280 - 0.01
    assert top <= rows.min() / 720 + 0.01
    assert bottom >= rows.max() / 720 - 0.01
    assert (right - left) * (bottom - top) < 2 * np.ptp(columns) * np.ptp(rows) / (1280 * 720)
    assert wide.smoke_box(fire, 0) is None


def test_the_truth_is_written_whole(tmp_path: Path) -> None:
    """The truth file holds the camera and each fire with its place, pixel and times."""
    scene = Scene(spec(fires=[{"at_s": 30, "lat": 28.985, "lon": 118.835}]))
    document = json.loads(Truth(scene, 1_000_000.0).write(tmp_path).read_text(encoding="utf-8"))
    (fire,) = document["fires"]
    assert document["camera"]["id"] == "test-tower"
    assert (fire["lat"], fire["lon"]) == (28.985, 118.835)
    assert fire["ignited_at"] == "1970-01-12T13:47:10.000Z"
    assert fire["in_view"] is True
    assert 0 < fire["base"]["x"] < 1
    assert fire["extinguished_at"] is None


@pytest.mark.parametrize("kind", list(DisturbanceKind.__args__))
def test_each_disturbance_shows_and_ends(kind: DisturbanceKind) -> None:
    """A disturbance changes the picture while it lasts and leaves nothing behind."""
    scene = Scene(spec(noise=0))
    plain = Scene(spec(noise=0))
    scene.disturb(kind, 0, 40)
    assert _differs(scene.frame(20), plain.frame(20))
    assert not _differs(scene.frame(41), plain.frame(41))


def _differs(a: U8, b: U8) -> bool:
    return bool((np.abs(a.astype(int) - b.astype(int)) > 6).any())


def test_another_view_can_be_asked_for() -> None:
    """A turned camera shows another picture of its own size, and the first view is unchanged by it."""
    scene = Scene(spec())
    before = scene.frame(1)
    turned = scene.frame(1, replace(scene.view, pan_deg=300, hfov_deg=20))
    assert turned.shape == before.shape
    assert _differs(turned, before)
    assert np.array_equal(scene.frame(1), before)


# A camera that turns does not yet look at its fire where it starts.
FIXED = [name for name, path in sorted(builtin_scenes().items()) if load_spec(path).ptz is None]


@pytest.mark.parametrize("name", FIXED)
def test_builtin_fires_lie_in_the_village_their_note_names(name: str, shared: Path) -> None:
    """Each fire of a built-in scene is in view, 1.5 to 2.5 km away, well inside the village in its note."""
    scene = Scene(load_spec(builtin_scenes()[name]))
    text = (shared / "data/geo/villages_synthetic.geojson").read_text(encoding="utf-8")
    villages = {f["properties"]["code"]: shape(f["geometry"]) for f in json.loads(text)["features"]}
    for fire in scene.fires:
        code = fire.note.split()[1]
        assert villages[code].buffer(-0.005).contains(Point(fire.lon, fire.lat))
        assert 1500 < fire.range_m < 2500
        base = scene.base(fire)
        assert base is not None
        assert all(0.05 < share < 0.95 for share in base)
    assert bool(scene.fires) == (name != "quzhou-look-alikes")
