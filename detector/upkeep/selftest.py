# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a model sees what anybody would: smoke in two reference pictures, at its place, and none in a third."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from detector.errors import ModelError
from detector.judgement.hits import Box
from detector.vision.model import Model
from detector.vision.skyline import Horizon
from detector.vision.views import look_all

FOLDER = Path(__file__).parents[1] / "reference"
SMOKE: dict[str, Box] = {
    "day.jpg": (712.0, 160.0, 897.0, 331.0),
    "dusk.jpg": (356.0, 228.0, 455.0, 330.0),
}
"""Where the smoke is, in pixels of the pictures (1280x720)."""
CLEAN = "clean.jpg"
OVERLAP = 0.3
"""Intersection over union: a model that sees the plume sees it there, however it draws its box."""


def self_test(model: Model) -> None:
    """Raises ModelError, one sentence, for a model that does not see what it should at its card's threshold."""
    name, confidence = f"{model.card.name} {model.card.version}".strip(), model.card.confidence
    for file, place in SMOKE.items():
        found = look_all(model, _picture(file), Horizon(), confidence)
        if not any(each.label == "smoke" and _overlap(each.box, place) >= OVERLAP for each in found):
            raise ModelError(f"model {name} fails its self-test: it does not see the smoke in {file} at {confidence:g}")
    false = look_all(model, _picture(CLEAN), Horizon(), confidence)
    if false:
        raise ModelError(
            f"model {name} fails its self-test: it sees {false[0].label} {false[0].confidence:.2f} in {CLEAN}, where "
            "there is none"
        )


def _picture(file: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    data = np.frombuffer((FOLDER / file).read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise ModelError(f"the reference picture {FOLDER / file} is damaged: install the detector again")
    return np.asarray(image, np.uint8)


def _overlap(one: Box, other: Box) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across * down / (area - across * down)
