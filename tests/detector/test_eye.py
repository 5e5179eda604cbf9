# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known of a view: masks, the sky, places of false alarms, and the light."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.config import read_settings
from detector.errors import ConfigError
from detector.frame import Image
from detector.judgement.eye import NOTHING_KNOWN, Eye, Knowledge, Thresholds
from detector.judgement.hits import Box, Hit
from detector.judgement.masks import Area, Stencil, ViewMasks
from detector.judgement.places import MOST, STEP, Places, extra_at
from detector.vision.light import LightMeter, Profile, Profiles, light_of
from detector.vision.model import Detection
from tests.detector.live import noise
from tests.detector.make import START
from tests.detector.test_box import SMOKE, Bench, camera
from tests.detector.test_config import GOOD, write

CHIMNEY = Area(name="brickworks", kind="chimney", polygon=((0.40, 0.30), (0.44, 0.30), (0.44, 0.50), (0.40, 0.50)))
LAKE = Area(name="lake", kind="exclude", polygon=((0.0, 0.6), (0.5, 0.6), (0.5, 1.0), (0.0, 1.0)))


def hit(box: Box, confidence: float = 0.4, label: str = "smoke") -> Hit:
    return Hit(START, box, confidence, label)


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((0.41, 0.10, 0.43, 0.45), "chimney brickworks"),  # straight up
        ((0.42, 0.10, 0.60, 0.45), "chimney brickworks"),  # laid over to the right: its foot is the left corner
        ((0.38, 0.40, 0.46, 0.70), None),  # passes before the chimney, stands on the field below it
        ((0.50, 0.30, 0.60, 0.45), None),  # beside it
        ((0.10, 0.65, 0.20, 0.75), "exclude lake"),
        ((0.45, 0.65, 0.58, 0.75), None),  # mostly on the shore
        ((0.60, 0.02, 0.70, 0.15), "in the sky"),
        ((0.60, 0.02, 0.70, 0.21), None),  # reaches below the sky line
    ],
)
def test_masks_ask_where_smoke_stands(box: Box, why: str | None) -> None:
    """A chimney's plume is its own however it drifts; what merely passes by, or stands below the sky line, counts."""
    assert Stencil(ViewMasks(sky=0.2, areas=(CHIMNEY, LAKE))).why_not(hit(box)) == why


@pytest.mark.parametrize(
    ("polygon", "says"),
    [
        ("[[0.1, 0.1], [0.5, 0.1], [1.2, 0.5]]", r"point 3 \(1\.2, 0\.5\) lies outside the picture"),
        ("[[0.1, 0.1], [0.5, 0.5], [0.5, 0.1], [0.1, 0.5]]", r"the side to point 2 crosses the side to point 4"),
        ("[[0.1, 0.1], [0.5, 0.5]]", r"at least 3 items"),
        ("[[0.1, 0.1], [0.3, 0.3], [0.5, 0.5]]", r"enclose no area"),
    ],
)
def test_an_impossible_mask_is_refused_with_its_line(tmp_path: Path, polygon: str, says: str) -> None:
    """Outside the picture, crossing itself, too few points, no area: named with camera, mask and line."""
    text = GOOD + f"    masks:\n      areas:\n        - kind: exclude\n          polygon: {polygon}\n"
    with pytest.raises(ConfigError, match=rf"edge\.yaml:18: cameras\.1\.masks\.areas\.0\.polygon: .*{says}"):
        read_settings(write(tmp_path, text))


def test_a_misspelt_key_of_a_mask_is_named(tmp_path: Path) -> None:
    """With the known one that was probably meant."""
    text = GOOD + "    masks:\n      areas:\n        - {kind: exclude, poligon: [[0, 0], [1, 0], [1, 1]]}\n"
    with pytest.raises(ConfigError, match=r"edge\.yaml:17: .*poligon: there is no such setting; do you mean polygon\?"):
        read_settings(write(tmp_path, text))


def test_repeated_false_alarms_raise_the_threshold_and_never_blind() -> None:
    """One teaches nothing; from the second on more is asked there, up to a limit, and only of things of that size."""
    place = (0.40, 0.40, 0.50, 0.50)
    assert extra_at(place, [place]) == (0, 0)
    assert extra_at(place, [place] * 2) == (STEP, 2)
    assert extra_at(place, [place] * 50) == (MOST, 50)
    assert extra_at((0.70, 0.40, 0.80, 0.50), [place] * 50) == (0, 0)
    assert extra_at((0.35, 0.20, 0.57, 0.50), [place] * 50) == (0, 0)


def test_places_outlive_a_restart_and_a_torn_file(tmp_path: Path) -> None:
    """What the server told is kept on disk; a damaged file is begun anew, and the digest says so to the server."""
    path = tmp_path / "places.json"
    places = Places(path)
    empty = places.digest
    box = [0.4, 0.4, 0.5, 0.5]
    places.take(json.dumps({"v": 1, "places": [{"camera": "west", "preset": "p1", "box": box}]}).encode())
    again = Places(path)
    assert again.of("west", "p1") == (tuple(box),)
    assert again.of("west", None) == ()
    assert again.digest == places.digest != empty
    path.write_bytes(path.read_bytes()[:20])
    assert Places(path).digest == empty
    with pytest.raises(ValueError, match=r"places\.0\.camera"):
        places.take(b'{"v": 1, "places": [{"box": [0, 0, 1, 1]}]}')
    assert places.of("west", "p1") == (tuple(box),)


def test_the_box_looks_away_from_a_mask_and_back() -> None:
    """Smoke on a chimney neither confirms nor asks for a burst; with the mask taken away it does."""
    masks = [ViewMasks(areas=(Area(kind="chimney", polygon=((0, 0), (1, 0), (1, 1), (0, 1))),))]
    knowledge = Knowledge(lambda _camera, _preset: masks[0], lambda _camera, _preset: ())
    bench = Bench(camera("west"), knowledge=knowledge)
    bench.model.sees = [SMOKE]
    bench.run(41)
    assert bench.times() == [0, 2, 4, 6, 16, 26, 36]
    assert bench.kept == []
    masks[0] = ViewMasks()
    knowledge.changed()
    bench.run(20)
    assert len(bench.kept) == 1


def test_the_box_asks_more_where_it_was_wrong() -> None:
    """Faint smoke where two sightings were false is not enough; sure smoke is."""
    knowledge = Knowledge(lambda _camera, _preset: ViewMasks(), lambda _camera, _preset: ((0.1, 0.1, 0.2, 0.2),) * 2)
    bench = Bench(camera("west"), knowledge=knowledge)
    bench.model.sees = [Detection(SMOKE.box, 0.3, "smoke")]
    bench.run(60)
    assert bench.kept == []
    bench.model.sees = [SMOKE]
    bench.run(20)
    assert len(bench.kept) == 1


def scene(brightest: int, colour: int = 20) -> Image:
    """A slope of grey from black to `brightest`, with this much colour in it."""
    grey = np.tile(np.linspace(0, brightest, 160), (90, 1))
    return np.clip(np.dstack([grey + colour, grey, grey]), 0, 255).astype(np.uint8)


def infrared(image: Image) -> Image:
    """As a camera without its filter sends it."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def test_the_light_is_recognised() -> None:
    """Day, night in colour, infrared, whatever its brightness."""
    assert light_of(scene(230)) == "day"
    assert light_of(scene(110)) == "night"
    assert light_of(infrared(scene(230))) == light_of(infrared(scene(110))) == "ir"


def test_real_towers_and_fog_are_not_infrared(shared: Path) -> None:
    """Thirty frames of fog and of a sequence by day: fog has colour, and a tower by day is day."""
    fog = sorted((shared / "data/smoke/negatives/hillroad-fog/images").glob("*.jpg"))[::16]
    day = sorted((shared / "data/smoke/sequences/boucher-hill-west-2017-12-07").glob("*.jpg"))[::10]
    lights = [[light_of(np.asarray(cv2.imread(str(path)), np.uint8)) for path in paths] for paths in (fog, day)]
    assert "ir" not in lights[0]
    assert set(lights[1]) == {"day"}


def test_headlights_do_not_make_it_day() -> None:
    """Two bright looks change nothing; three do."""
    meter = LightMeter()
    assert [meter.look(scene(each)) for each in (110, 230, 230, 110, 230, 230, 230)] == ["night"] * 6 + ["day"]


def test_the_profile_of_the_light_decides() -> None:
    """By infrared the threshold is another, and glow is no evidence; the sighting says by which light it was."""
    profiles = Profiles(ir=Profile(confidence=0.5, fire=False))
    eye = Eye("west", None, Thresholds(0.25, profiles), NOTHING_KNOWN)
    faint, glow = hit((0.1, 0.1, 0.2, 0.2), 0.4), hit((0.5, 0.5, 0.6, 0.6), 0.9, "fire")
    assert eye.threshold(scene(230)) == 0.25
    assert eye.sift([faint, glow]) == [faint, glow]
    for _ in range(3):
        asked = eye.threshold(infrared(noise(1)))
    assert (asked, eye.light) == (0.5, "ir")
    assert eye.sift([glow]) == []
    assert [each.why for each in eye.dropped] == ["glow is no evidence by ir"]
