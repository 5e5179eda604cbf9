# SPDX-License-Identifier: AGPL-3.0-or-later
"""Films to measure the confirmation on: real sequences, and composites that can be looked at at any moment.

A composite's background is one real picture without smoke of the named side of the split, with the grain, exposure and
shake of a camera laid on each frame anew. Real and composite films are never counted together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from detector.frame import Image
from detector.measure.dataset import Picture, Split, pictures, read_description
from detector.train.composite import camera_noise, place, render
from detector.train.lookalikes import LOOKALIKES
from detector.train.plume import random_fire
from detector.train.scene import read_scene

DATASET = Path(__file__).parents[1] / "detector" / "train" / "datasets" / "shared.yaml"
WIDTH = 960
STEP_S = 10
"""Between two looks at a composite, where nothing asks for more."""
BEFORE_S, AFTER_S = 40, 120
"""A plume's film: from so long before ignition to so long after."""
FALSE_S = 200
"""A film without smoke."""
SUN_S = 120.0
"""In which the light comes and goes."""
STANDING = frozenset({"glare", "drops", "lit glass", "flare", "steam", "dusk lights", "veil"})
"""Look-alikes that do not drift."""
BACKDROPS = ("landscapes", "weather", "haze")
SEQUENCES = {
    "boucher-hill-west-2017-12-07": (1.0, 1),
    "santiago-peak-east-2018-08-27": (150.0, 72),
    "santiago-peak-west-2018-08-08": (50.0, None),
}
"""Seconds between frames, and the first frame (from 1) with smoke where that is known."""
FOG_STEP_S = 180.0
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Film:
    """One camera's pictures (BGR) by their times in seconds. A real one shows what there is, at `times`; a composite
    any moment, and `times` are those of a look each `step_s`.

    `onset_s`: the first frame with visible smoke; None: no smoke, or unknown. `place` is the plume's place at a
    composite's end, as fractions of the frame.
    """

    name: str
    kind: str
    step_s: float
    onset_s: float | None
    place: Box | None
    times: tuple[float, ...]
    picture: Callable[[float], Image]


def sequences(data: Path) -> Iterator[Film]:
    """The three real tower sequences."""
    for name, (step, onset) in SEQUENCES.items():
        files = sorted((data / "sequences" / name).iterdir())
        at = {number * step: file for number, file in enumerate(files)}
        yield Film(name, "real", step, None if onset is None else (onset - 1) * step, None, tuple(at), _read(at))


def fog_days(data: Path, split: Split | None = None) -> Iterator[Film]:
    """The hill road by day; frames that are missing leave a gap in time. Nothing burns there."""
    days: dict[str, list[Path]] = {}
    for picture in _pictures(data, split):
        if picture.source == "hillroad-fog":
            days.setdefault(picture.group, []).append(picture.path)
    for day, files in sorted(days.items()):
        at = {_clock_s(file): file for file in sorted(files)}
        yield Film(f"hillroad {day}", "real", FOG_STEP_S, None, None, tuple(at), _read(at))


def plumes(data: Path, split: Split, count: int, seed: int) -> Iterator[Film]:
    """Straw fires lit `BEFORE_S` seconds into the film; those that never show are drawn again."""
    backdrops = [each for each in _pictures(data, split) if each.source in BACKDROPS and not each.labels]
    number = 0
    for attempt in range(100 * count):
        if number == count:
            return
        rng = np.random.default_rng([seed, attempt])
        film = _plume(f"plume {split} {number}", _opened(backdrops[int(rng.integers(len(backdrops)))]), rng)
        if film is not None:
            number += 1
            yield film


def lookalikes(data: Path, split: Split, rounds: int, seed: int) -> Iterator[Film]:
    """Fog, cloud, steam, dust, glare and the like, each kind `rounds` times; what floats drifts, what stands comes and
    goes with the light."""
    backdrops = [each for each in _pictures(data, split) if each.source in BACKDROPS and not each.labels]
    for number in range(rounds):
        for kind, name in enumerate(LOOKALIKES):
            rng = np.random.default_rng([seed, number, kind])
            image = _opened(backdrops[int(rng.integers(len(backdrops)))])
            changed = LOOKALIKES[name](image, read_scene(image, rng), rng).astype(np.int16) - image
            speed = 0.0 if name in STANDING else rng.uniform(0.5, 4)
            yield _false(f"{name} {split} {number}", _changing(image, changed, speed))


def stills(data: Path, split: Split, count: int) -> Iterator[Film]:
    """Real pictures without smoke as a fixed camera would go on seeing them when nothing moves."""
    chosen = [each for each in _pictures(data, split) if each.source in BACKDROPS and not each.labels]
    for number, picture in enumerate(chosen[:: max(1, len(chosen) // count)][:count]):
        yield _false(f"still {split} {number}", _changing(_opened(picture), np.zeros((1, 1, 1), np.int16), 0.0))


def _plume(name: str, image: Image, rng: np.random.Generator) -> Film | None:
    scene = read_scene(image, rng)
    shape = image.shape[0], image.shape[1]
    placed = place(scene, shape, rng)
    placed = replace(placed, fire=replace(random_fire(rng), age=1.0))
    last = render(image, scene, placed, AFTER_S)[1]
    if last is None:
        return None
    onset = next((at for at in range(0, AFTER_S, 2) if render(image, scene, placed, float(at))[1]), None)
    if onset is None or onset > AFTER_S // 3:
        return None
    camera = _camera(int(rng.integers(2**31)))

    def picture(at: float) -> Image:
        after = at - BEFORE_S
        return camera(render(image, scene, placed, after)[0] if after > 0 else image, at)

    box = (last[0] / shape[1], last[1] / shape[0], last[2] / shape[1], last[3] / shape[0])
    times = tuple(float(at) for at in range(0, BEFORE_S + AFTER_S, STEP_S))
    return Film(name, "composite", STEP_S, float(BEFORE_S + onset), box, times, picture)


def _false(name: str, picture: Callable[[float], Image]) -> Film:
    times = tuple(float(at) for at in range(0, FALSE_S, STEP_S))
    return Film(name, "composite", STEP_S, None, None, times, picture)


def _changing(
    image: Image, changed: np.ndarray[tuple[int, ...], np.dtype[np.int16]], speed: float
) -> Callable[[float], Image]:
    """What was laid on a picture drifts by so many columns a second, or, where it stands, comes and goes with the
    light."""
    camera = _camera(1)

    def picture(at: float) -> Image:
        share = 1.0 if speed else 0.75 + 0.25 * float(np.cos(2 * np.pi * at / SUN_S))
        laid = np.rint(share * np.roll(changed, round(speed * at), axis=1))
        return camera(np.asarray(np.clip(image + laid, 0, 255), np.uint8), at)

    return picture


def _camera(seed: int) -> Callable[[Image, float], Image]:
    """A camera's grain, compression, exposure and shake, another at each moment."""

    def taken(image: Image, at: float) -> Image:
        rng = np.random.default_rng([seed, round(1000 * at)])
        shift = np.array([[1, 0, rng.normal(0, 0.3)], [0, 1, rng.normal(0, 0.3)]], np.float32)
        moved = cv2.warpAffine(image, shift, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        lit = np.asarray(np.clip(moved * (1 + 0.02 * np.sin(seed + at / 65)), 0, 255), np.uint8)
        return camera_noise(lit, rng)

    return taken


def _opened(picture: Picture) -> Image:
    image = cv2.imread(str(picture.path))
    if image is None:
        raise ValueError(f"the picture {picture.path} cannot be read")
    size = WIDTH, WIDTH * image.shape[0] // image.shape[1]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _pictures(data: Path, split: Split | None) -> Iterator[Picture]:
    for picture in pictures(read_description(DATASET), data):
        if split is None or picture.split == split:
            yield picture


def _read(files: dict[float, Path]) -> Callable[[float], Image]:
    def picture(at: float) -> Image:
        image = cv2.imread(str(files[at]))
        if image is None:
            raise ValueError(f"the picture {files[at]} cannot be read")
        return np.asarray(image, np.uint8)

    return picture


def _clock_s(file: Path) -> float:
    """Names end in -HH-MM."""
    hours, minutes = file.stem.split("-")[-2:]
    return int(hours) * 3600.0 + int(minutes) * 60.0
