# SPDX-License-Identifier: AGPL-3.0-or-later
"""One frame judged: the model's boxes, put to the confirmation as fractions of the frame."""

from __future__ import annotations

from detector.confirm import Box, Confirmed, Confirmer, Hit
from detector.frame import Frame
from detector.model import Model


def look(model: Model, frame: Frame, confidence: float) -> list[Hit]:
    """What the model sees in `frame`, surest first."""
    width, height = frame.size
    return [
        Hit(frame.captured_at, as_fractions(each.box, width, height), each.confidence, each.label)
        for each in model.detect(frame.image, confidence)
    ]


def judge(model: Model, confirmer: Confirmer, frame: Frame, confidence: float) -> tuple[list[Hit], list[Confirmed]]:
    """What the model sees in `frame`, and the sightings that this confirms."""
    hits = look(model, frame, confidence)
    return hits, confirmer.step(frame.captured_at, hits)


def as_fractions(box: Box, width: int, height: int) -> Box:
    """Pixels -> fractions of the frame, within 0..1."""
    x1, y1, x2, y2 = box
    return _unit(x1 / width), _unit(y1 / height), _unit(x2 / width), _unit(y2 / height)


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
