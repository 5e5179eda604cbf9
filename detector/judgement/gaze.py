# SPDX-License-Identifier: AGPL-3.0-or-later
"""How one camera is looked at at one preset over time: where the skyline is, and what need not be judged again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detector.frame import Frame
from detector.judgement.hits import Box, Hit
from detector.vision.card import ViewName
from detector.vision.gate import FEW, Gate, Grey, Levels, Usual, change_between, grey, small
from detector.vision.model import Detection, Model
from detector.vision.skyline import Horizon
from detector.vision.views import judge, look, scaled, views

STIR_S = 5.0
"""What moves is told from a picture at least so much older: within a second a distant plume hardly changes."""
STIRRED = 90
"""Percentile of the change in a find's box that is its own: a thin plume may fill a tenth of a box with its hill."""
LEAST_RESTLESS = 0.4
"""Grey levels that any picture is taken to change by in general."""

MOST_RESTLESS = 6.0
"""Where all of the picture changed by more, nothing can be told of a part."""


class Gaze:
    """Frames come in order. `inferences` counts the views that were judged, `skipped` those that had not changed."""

    def __init__(self, horizon: Horizon | None = None, gated: bool = True) -> None:
        self._horizon = horizon or Horizon()
        self._gate = Gate() if gated else None
        self._found: dict[ViewName, list[Detection]] = {}
        self._judgement: list[Detection] = []
        self._size: tuple[int, int] | None = None
        self._usual = Usual()
        self._lately: deque[tuple[float, Grey]] = deque()
        self.inferences = 0
        self.skipped = 0

    @property
    def settled(self) -> bool:
        """Whether it has looked often enough to tell what moves from what always does; nothing is news before."""
        return self._usual.looks > FEW and self._lately[-1][0] - self._lately[0][0] >= STIR_S

    def look(self, model: Model, frame: Frame, confidence: float, closely: bool = False) -> list[Hit]:
        """What `model` sees in `frame` at or above `confidence`, surest first.

        A view in which nothing changed since it was last judged keeps that judgement, unless to look `closely` was
        asked for, as it is while something is suspected, or the picture has another size: what was found is in pixels.
        """
        width, height = frame.size
        closely, self._size = closely or frame.size != self._size, frame.size
        thumbnail = small(frame.image)
        picture = grey(thumbnail)
        changed = False
        for view in views(model.card, height, self._horizon.at(thumbnail)):
            rows = view.top / height, view.bottom / height
            if self._gate is not None:
                if not closely and not self._gate.changed(
                    view.name, rows, picture, self._usual.change, frame.monotonic
                ):
                    self.skipped += 1
                    continue
                self._gate.judged(view.name, picture, frame.monotonic)
            self._found[view.name] = look(model, frame.image, view)
            self.inferences += 1
            changed = True
        if changed:
            self._judgement = judge(model, frame.image, self._found)
        hits = [
            Hit(frame.captured_at, as_fractions(each.box, width, height), each.confidence, each.label)
            for each in scaled(model.card, self._judgement, confidence)
        ]
        stirred = self._stirred(hits, picture, frame.monotonic)
        self._usual.learn(picture)
        return stirred

    def _stirred(self, hits: Sequence[Hit], picture: Grey, at: float) -> list[Hit]:
        """The hits with how much the picture changed where they are, in shares of what it does in general and there.

        0 while the view is not known: what was there when the box first looked is no news. Keeps the picture to compare
        the next with.
        """
        while len(self._lately) > 1 and self._lately[1][0] <= at - STIR_S:
            self._lately.popleft()
        before = self._lately[0][1] if self._lately and self._lately[0][0] <= at - STIR_S else None
        self._lately.append((at, picture))
        if before is None or before.shape != picture.shape:
            return [replace(hit, stir=0.0) for hit in hits]
        if not hits:
            return []
        change, usual = change_between(before, picture), self._usual.change
        general = max(float(np.median(change)), LEAST_RESTLESS)
        if general > MOST_RESTLESS:
            return list(hits)
        if usual is None:
            return [replace(hit, stir=0.0) for hit in hits]
        own = [max(general, _inside(usual, hit.box)) for hit in hits]
        return [replace(hit, stir=_inside(change, hit.box) / rest) for hit, rest in zip(hits, own, strict=True)]


def _inside(levels: Levels, box: Box) -> float:
    rows, columns = levels.shape
    left, top = min(int(box[0] * columns), columns - 1), min(int(box[1] * rows), rows - 1)
    right, bottom = int(box[2] * columns) + 1, int(box[3] * rows) + 1
    return float(np.percentile(levels[top:bottom, left:right], STIRRED))


def as_fractions(box: Box, width: int, height: int) -> Box:
    """Pixels -> fractions of the frame, within 0..1."""
    x1, y1, x2, y2 = box
    return _unit(x1 / width), _unit(y1 / height), _unit(x2 / width), _unit(y2 / height)


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
