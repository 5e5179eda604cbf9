# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plumes as the shipped model sees them: simulated fires at several ranges, one frame a second from the moment that a
person could see the smoke. Recorded once (``python -m benchmarks.plumes``) and read again by the measurements."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from camera_sim.scene import Scene
from camera_sim.spec import builtin_scenes, load_spec
from detector.frame import Image
from detector.judge import as_fractions
from detector.model import Model, load_model

RECORDING = Path(__file__).with_name("plumes.json")
SECONDS = 60
SCENES = ("quzhou-west", "quzhou-haze", "quzhou-dusk")
PLACES = ((-8.0, 900.0), (-3.0, 1400.0), (4.0, 2000.0), (9.0, 2800.0))
STEADY, LEFT = 0.9, 20
NEAR = 0.08
"""A box whose lower edge is within so much of the frame of the fire's foot is the plume's."""

Boxes = list[tuple[float, float, float, float, float]]
"""x1, y1, x2, y2 as fractions, confidence."""


@dataclass(frozen=True, slots=True)
class Plume:
    """``looks[n]``: what the model sees of it ``n`` seconds after it became visible."""

    scene: str
    bearing_deg: float
    range_m: float
    looks: tuple[Boxes, ...]

    @property
    def first_seen_s(self) -> int | None:
        """When the model first sees it."""
        return next((second for second, boxes in enumerate(self.looks) if boxes), None)

    @property
    def steady_s(self) -> int | None:
        """From when on the model sees it in a share of ``STEADY`` of all that follows; None when it never does."""
        shown = [bool(boxes) for boxes in self.looks]
        return next(
            (at for at in range(len(shown) - LEFT) if shown[at] and sum(shown[at:]) >= STEADY * (len(shown) - at)), None
        )

    def since(self, second: int) -> Plume:
        """The same plume, its onset moved on."""
        return replace(self, looks=self.looks[second:])


def record() -> None:
    """Write the recording."""
    model = load_model()
    plumes = [_record(model, scene, aside, range_m) for scene in SCENES for aside, range_m in PLACES]
    content = {"model": model.card.sha256, "plumes": [asdict(each) for each in plumes if each is not None]}
    RECORDING.write_text(json.dumps(content) + "\n")


def read() -> tuple[list[Plume], str]:
    """The plumes and the SHA-256 of the model that saw them."""
    content: dict[str, Any] = json.loads(RECORDING.read_text())
    plumes = [
        Plume(each["scene"], each["bearing_deg"], each["range_m"], tuple(map(_boxes, each["looks"])))
        for each in content["plumes"]
    ]
    return plumes, content["model"]


def _boxes(rows: list[list[float]]) -> Boxes:
    return [(x1, y1, x2, y2, confidence) for x1, y1, x2, y2, confidence in rows]


def _record(model: Model, name: str, aside_deg: float, range_m: float) -> Plume | None:
    spec = load_spec(builtin_scenes()[name]).model_copy(update={"fires": (), "start": "on_request"})
    scene = Scene(spec)
    bearing = (scene.view.pan_deg + aside_deg) % 360
    fire = scene.ignite(10.0, bearing, range_m)
    visible, foot = scene.first_visible_s(fire), scene.base(fire)
    if visible is None or foot is None:
        return None
    looks = tuple(_look(model, scene.frame(visible + second), foot) for second in range(SECONDS))
    return Plume(name, round(bearing, 2), range_m, looks)


def _look(model: Model, image: Image, foot: tuple[float, float]) -> Boxes:
    height, width = image.shape[:2]
    found = []
    for each in model.detect(image, model.card.confidence):
        x1, y1, x2, y2 = (round(value, 4) for value in as_fractions(each.box, width, height))
        if x1 - NEAR < foot[0] < x2 + NEAR and abs(y2 - foot[1]) < NEAR:
            found.append((x1, y1, x2, y2, round(each.confidence, 3)))
    return found


if __name__ == "__main__":
    record()
