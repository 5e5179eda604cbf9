# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plumes as the shipped model sees them: simulated fires at several ranges, and a scene of look-alikes without any.

What the model finds in the whole picture is recorded once, one look a second (``python -m benchmarks.plumes
[SCENE …]``), and read again by the measurements; the pictures themselves are drawn again, which costs less than keeping
them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from camera_sim.scene import Scene
from camera_sim.spec import builtin_scenes, load_spec
from detector.frame import Image
from detector.judgement.gaze import as_fractions
from detector.judgement.judge import WEAK
from detector.measure.evaluate import RECALL_IOU
from detector.vision.card import ModelCard
from detector.vision.gate import small
from detector.vision.model import Model, load_model
from detector.vision.skyline import Horizon
from detector.vision.views import look_all

RECORDINGS = Path(__file__).with_name("recordings")
SCENES = ("quzhou-west", "quzhou-haze", "quzhou-dusk")
LOOK_ALIKES = "quzhou-look-alikes"
PLACES = ((-8.0, 900.0), (-3.0, 1400.0), (4.0, 2000.0), (9.0, 2800.0))
LIT_S = 150.0
"""Scene time of the ignition: there are pictures without smoke for so long before."""
BEFORE, AFTER, LOOK_ALIKE_S = 20, 75, 210
"""Looks recorded before a person could see the smoke, from then on, and of the look-alikes."""
STEADY, LEFT = 0.9, 20
HELD, SAME = 0.5, 0.5
"""A box is the plume's when it overlaps the smoke that can be seen as `evaluate` asks it, or holds so much of it; but
not when that is as true of what was found before the smoke and overlaps the box (intersection over union) so much."""

Box = tuple[float, float, float, float]
Boxes = list[tuple[float, float, float, float, float]]
"""x1, y1, x2, y2 as fractions, confidence; weak finds too."""


@dataclass(frozen=True, slots=True)
class Film:
    """What a camera sees: a picture at each second, and what the model finds in it. Second 0 is where it begins to
    count; there are pictures before."""

    scene: str
    looks: tuple[Boxes, ...]
    threshold: float
    """At which a find counts as seen."""
    begin: int = 0
    """Of second 0, in `looks`."""
    bearing_deg: float = 0.0
    range_m: float | None = None
    """Of the fire; None without one."""
    smoke: tuple[Box | None, ...] = ()
    """What a person could see of it, in each look."""

    def seen(self, second: int) -> Boxes:
        """What the model finds; before the recording what it found in the beginning, again and again."""
        return self.looks[self._at(second)]

    def picture(self, second: int) -> Image:
        """BGR, as small as the change gate takes it."""
        first = self.begin if self.range_m is None else self.begin - BEFORE
        return _picture(self.scene, self.bearing_deg, self.range_m, first + second)

    def plumes(self, box: Box, second: int) -> bool:
        """Whether a box is the plume's."""
        smoke = self.smoke[self._at(second)] if self.smoke else None
        if smoke is None or not _shows(box, smoke):
            return False
        before = ((x1, y1, x2, y2) for find in self.looks[:BEFORE] for x1, y1, x2, y2, _ in find)
        return not any(_overlap(box, each) > SAME and _shows(each, smoke) for each in before)

    @property
    def steady_s(self) -> int | None:
        """From when on the model sees the plume in a share of ``STEADY`` of all that follows; None when it never
        does."""
        shown = [self._shown(second) for second in range(len(self.looks) - self.begin)]
        return next(
            (at for at in range(len(shown) - LEFT) if shown[at] and sum(shown[at:]) >= STEADY * (len(shown) - at)), None
        )

    def since(self, second: int) -> Film:
        """The same, but that it begins to count later."""
        return replace(self, begin=self.begin + second)

    def _shown(self, second: int) -> bool:
        found = self.seen(second)
        return any(sure >= self.threshold and self.plumes((x1, y1, x2, y2), second) for x1, y1, x2, y2, sure in found)

    def _at(self, second: int) -> int:
        at = self.begin + second
        return at % BEFORE if at < 0 else min(at, len(self.looks) - 1)


def read() -> tuple[list[Film], list[Film], str]:
    """The plumes, the look-alikes, as far as they are recorded, and the `identity` of the model that saw them all."""
    films, models = [], set()
    for file in sorted(RECORDINGS.glob("*.json")):
        content: dict[str, Any] = json.loads(file.read_text())
        models.add(content["model"])
        films += [_film(file.stem, content["threshold"], each) for each in content["films"]]
    if len(models) != 1:
        raise ValueError("the recordings are of several models: record them all again")
    plumes = [film for film in films if film.range_m is not None]
    return plumes, [film for film in films if film.range_m is None], models.pop()


def identity(card: ModelCard) -> str:
    """A digest of what a model's judgement depends on: its file, its views and its thresholds."""
    facts = card.model_dump_json(include={"sha256", "views", "thresholds", "confidence", "iou"})
    return hashlib.sha256(facts.encode()).hexdigest()


def _film(scene: str, threshold: float, each: dict[str, Any]) -> Film:
    looks = tuple([(x1, y1, x2, y2, sure) for x1, y1, x2, y2, sure in look] for look in each["looks"])
    if each["range_m"] is None:
        return Film(scene, looks, threshold)
    smoke = tuple(None if box is None else (box[0], box[1], box[2], box[3]) for box in each["smoke"])
    return Film(scene, looks, threshold, BEFORE, each["bearing_deg"], each["range_m"], smoke)


def record(name: str) -> None:
    """Write the recording of one scene; goes on where one of the same model was broken off."""
    model = load_model(threads=1)
    middle = load_spec(builtin_scenes()[name]).camera.pan_deg
    fires = [(round((middle + aside) % 360, 2), range_m) for aside, range_m in PLACES]
    chosen: list[tuple[float, float | None]] = [(0.0, None)] if name == LOOK_ALIKES else [*fires]
    file = RECORDINGS / f"{name}.json"
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"model": None}
    if content["model"] != identity(model.card):
        content = {"model": identity(model.card), "threshold": model.card.confidence, "films": []}
    for bearing, range_m in chosen[len(content["films"]) :]:
        content["films"].append(_recorded(model, name, bearing, range_m))
        RECORDINGS.mkdir(exist_ok=True)
        file.write_text(json.dumps(content, separators=(",", ":")) + "\n")


def _recorded(model: Model, name: str, bearing_deg: float, range_m: float | None) -> dict[str, Any]:
    scene, begin = _scene(name, bearing_deg, range_m)
    seconds: Sequence[int] = range(LOOK_ALIKE_S) if range_m is None else range(-BEFORE, AFTER)
    horizon = Horizon()
    smoke = [scene.smoke_box(scene.fires[0], begin + second) for second in seconds] if scene.fires else []
    return {
        "bearing_deg": bearing_deg,
        "range_m": range_m,
        "smoke": [box and [round(edge, 4) for edge in box] for box in smoke],
        "looks": [_look(model, horizon, scene.frame(begin + second, still=_still(name))) for second in seconds],
    }


def _look(model: Model, horizon: Horizon, image: Image) -> Boxes:
    height, width = image.shape[:2]
    found = []
    for each in look_all(model, image, horizon, WEAK * model.card.confidence):
        x1, y1, x2, y2 = (round(value, 4) for value in as_fractions(each.box, width, height))
        found.append((x1, y1, x2, y2, round(each.confidence, 3)))
    return found


@lru_cache(maxsize=len(SCENES) * len(PLACES) + 1)
def _scene(name: str, bearing_deg: float, range_m: float | None) -> tuple[Scene, float]:
    """A scene with at most one fire, and the scene time of second 0: when a person could first see its smoke."""
    spec = load_spec(builtin_scenes()[name]).model_copy(update={"fires": (), "start": "on_request"})
    scene = Scene(spec)
    if range_m is None:
        return scene, 0.0
    visible = scene.first_visible_s(scene.ignite(LIT_S, bearing_deg, range_m))
    assert visible is not None
    return scene, visible


@lru_cache(maxsize=len(SCENES) + 1)
def _still(name: str) -> Image:
    """What stands still in a scene takes seconds to draw: once for all its fires."""
    scene = Scene(load_spec(builtin_scenes()[name]))
    return scene.still(scene.view)


@lru_cache(maxsize=512)
def _picture(name: str, bearing_deg: float, range_m: float | None, second: int) -> Image:
    scene, begin = _scene(name, bearing_deg, range_m)
    picture = small(scene.frame(begin + second, still=_still(name)))
    picture.flags.writeable = False
    return picture


def _shows(box: Box, smoke: Box) -> bool:
    return _overlap(box, smoke) >= RECALL_IOU or _shared(box, smoke) >= HELD * _shared(smoke, smoke)


def _overlap(one: Box, other: Box) -> float:
    shared = _shared(one, other)
    both = _shared(one, one) + _shared(other, other) - shared
    return shared / both if both > 0 else 0.0


def _shared(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


def main(argv: Sequence[str]) -> None:
    """Record the scenes named, or all."""
    for name in argv or (*SCENES, LOOK_ALIKES):
        record(name)


if __name__ == "__main__":
    main(sys.argv[1:])
