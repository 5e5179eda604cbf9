# SPDX-License-Identifier: AGPL-3.0-or-later
"""The measurement of the confirmation counts what it says."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np

from benchmarks.confirm import START, Memory, Seen, judged, of_last, ours, see
from benchmarks.films import Film
from benchmarks.model import keyframe
from detector.frame import Image
from detector.judgement.hits import Box, Hit
from detector.vision.card import ModelCard
from detector.vision.model import Detection

PLUME: Box = (0.40, 0.50, 0.44, 0.56)
ELSEWHERE: Box = (0.80, 0.50, 0.84, 0.56)


def film(picture: str, group: str, box: Box = PLUME, onset: int | None = None) -> Seen:
    """A film with a find at 0.5 wherever there is an X, a look each ten seconds."""
    looks = [
        (10.0 * at, [Hit(START + timedelta(seconds=10 * at), box, 0.5)] if mark == "X" else [])
        for at, mark in enumerate(picture)
    ]
    return Seen("made", group, 10.0, None if onset is None else 10.0 * onset, PLUME, looks, [])


def alarms(picture: str, k: int, n: int) -> list[float]:
    """When a rule alarms, in frames."""
    return [at / 10 for at, _ in of_last(k, n, 0.3)(film(picture, "fog"))]


def test_k_of_the_last_n() -> None:
    """Single frames alarm each; a rule alarms once, and again after n frames without."""
    assert alarms("X.XX", 1, 1) == [0, 2, 3]
    assert alarms("X.XXXX...XX", 2, 3) == [2, 10]
    assert alarms("X.X.X", 3, 5) == [4]
    assert alarms("X..X..X", 2, 3) == []


def test_finds_and_false_alarms_are_told_apart() -> None:
    """A plume found after its onset, fog that alarms, a still picture that does not; real and composite apart."""
    seen = [
        film("...XXX", "plume", onset=3),
        film("......", "plume", onset=3),
        film("...XXX", "plume", box=ELSEWHERE, onset=3),
        film("XXXX", "fog"),
        film("X...", "still"),
    ]
    result = judged(seen, ours)
    assert result["composite"]["plume"]["found"]["hits"] == 1
    assert result["composite"]["plume"]["found"]["n"] == 3
    assert result["composite"]["plume"]["mean_delay_s"] == 10
    assert result["real"]["fog"] == {"days": 1, "false_alarms": 1}
    assert result["composite"]["still"] == {"films": 1, "false_alarms": 0, "of": {}}
    assert judged(seen, of_last(1, 1, 0.3))["composite"]["still"]["false_alarms"] == 1


def test_a_backdrop_that_shows_something_before_the_fire_says_nothing() -> None:
    """No rule is credited with a find that was there before."""
    assert judged([film("X..XXX", "plume", onset=3)], ours)["composite"]["plume"]["found"]["n"] == 0


def flicker(at: float) -> Image:
    """Another picture at each moment, all of it."""
    return np.random.default_rng(round(at)).integers(0, 255, (90, 160, 3), np.uint8)


class Seer:
    """Finds the plume from 60 s on; remembers what it was asked."""

    card = ModelCard(name="seer", sha256="0" * 64, classes=["smoke"], input=(64, 64))
    backend = "none"

    def __init__(self) -> None:
        self.asked = 0

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        self.asked += 1
        late = any(np.array_equal(image, flicker(at)) for at in range(60, 100, 2))
        return [Detection((64, 45, 71, 50), 0.6, "smoke")] if late else []


def test_a_film_is_looked_at_as_the_box_does_and_the_model_asked_once(tmp_path: Path) -> None:
    """Seen at 60 s, confirmed at the quick look after it; a second run asks the model nothing."""
    times = tuple(10.0 * number for number in range(10))
    made = Film("made", "composite", 10, 60.0, PLUME, times, flicker)
    seer = Seer()
    seen = see(Memory(seer, tmp_path / "cache"), made, "plume")
    # Quick looks at 0, 2, 4 and 6 s put the pace at 16, 26 ...: its first look at the smoke is that at 66 s.
    assert [at for at, _ in seen.alarms] == [68]
    assert [at for at, hits in seen.looks if hits] == [60, 70, 80, 90]
    asked = seer.asked
    assert see(Memory(seer, tmp_path / "cache"), made, "plume") == seen
    assert seer.asked == asked


def test_a_part_of_a_picture_is_a_picture_of_its_own() -> None:
    """A detail is shown at the same size as the whole; each is asked for once."""
    seer = Seer()
    memory = Memory(seer, None)
    for image in (flicker(60), flicker(60)[10:50, 20:90], flicker(60), flicker(60)[10:50, 20:90]):
        assert bool(memory.detect(image, 0.1)) == (image.shape == (90, 160, 3))
    assert seer.asked == 2


def test_a_keyframe_decodes_to_the_picture() -> None:
    """What the cameras' decoding time is measured on."""
    image = np.full((240, 320, 3), 90, np.uint8)
    size, decode = keyframe(image)
    assert size > 100
    assert np.abs(decode().astype(int) - 90).max() < 6
