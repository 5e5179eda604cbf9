# SPDX-License-Identifier: AGPL-3.0-or-later
"""When confirmed smoke first showed: the kept frames are searched backwards at its place.

The model looks at the part of the frame around the place, at twice the magnification and with a lower threshold than
it needs to find smoke anywhere: where to look and that there is smoke are known by then. One frame a step, so that
nothing that is due waits longer than for one inference.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from detector.frame import Image
from detector.judgement.gaze import as_fractions
from detector.judgement.history import Kept
from detector.judgement.hits import Box
from detector.link.timekeeper import Timekeeper
from detector.picture import encode_jpeg
from detector.privacy import Veil
from detector.vision.model import Model
from detector.wire import MOST_PICTURE_BYTES, Interval, Onset, OnsetPicture, Sighting

PART = 0.5
"""Width and height of what is looked at, as a share of the frame's."""
WEAK = 0.6
"""Share of the model's threshold from where on a frame has smoke at the place. Before each of 11 simulated plumes (900
to 2,800 m) the frames stay below 0.55 of it."""
PAD = 0.015
"""How far from the place a detection may lie, as a fraction of the frame."""
SURE = 3
"""So many frames running without smoke end the search: a plume's beginning flickers."""
BEFORE, ALWAYS = 5, 2
"""Of so many frames from the time before that, so many with something at the place say that there always is: a roof, a
haze. Then looking back tells nothing."""


@dataclass(slots=True)
class Search:
    """Of one sighting. `frames`: those of its view, oldest first; the sighting's own first positive is among them, or
    there is nothing to search."""

    sighting: Sighting
    frames: Sequence[Kept]
    veil: Veil | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    looks: int = 0
    _at: int = field(init=False)
    _first: Kept | None = field(init=False)
    _clean: list[Kept] = field(init=False, default_factory=list)
    _before: list[Kept] = field(init=False, default_factory=list)
    _always: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        latest = self.sighting.t0.latest
        found = [number for number, each in enumerate(self.frames) if each.at == latest]
        self._at = found[0] if found else 0
        self._first = self.frames[found[0]] if found else None

    def step(self, model: Model) -> bool:
        """Look at one frame more; True while there may be more to find."""
        if len(self._clean) < SURE and self._at > 0:
            self._at -= 1
            kept = self.frames[self._at]
            if self._shows(model, kept):
                self._first, self._clean = kept, []
            else:
                self._clean.append(kept)
            if len(self._clean) == SURE:
                self._before = list(self.frames[: self._at : max(1, self._at // BEFORE)])[:BEFORE]
        elif self._before:
            self._always += self._shows(model, self._before.pop())
        return (len(self._clean) < SURE and self._at > 0) or bool(self._before)

    def _shows(self, model: Model, kept: Kept) -> bool:
        self.looks += 1
        return _shows(model, kept.image(), _place(self.sighting))

    def result(self, clock: Timekeeper) -> tuple[Onset, dict[str, bytes]] | None:
        """T0 with its two pictures by their ids: the last frame without smoke and the first with it.

        None when the frames do not tell: the sighting's first is not among them, too few before it are without smoke,
        or the place always shows something.
        """
        if self._first is None or len(self._clean) < SURE or self._always >= ALWAYS:
            return None
        first, clean = self._first, self._clean[0]
        jpegs = {"first": self._evidence(first), "clean": self._evidence(clean)}
        onset = Onset(
            id=self.id,
            sighting=self.sighting.id,
            t0=Interval(earliest=clean.at, latest=first.at),
            clock=clock.stamp(first.at),
            frames=self.looks,
            box=_boxes(self.sighting)[0],
            frame=self.sighting.frame,
            clean=_announced(clean.at, jpegs["clean"]),
            first=_announced(first.at, jpegs["first"]),
        )
        return onset, {f"{self.id}.{kind}": jpeg for kind, jpeg in jpegs.items() if jpeg}

    def _evidence(self, kept: Kept) -> bytes | None:
        """The kept frame as it may leave the box."""
        if self.veil is None and len(kept.jpeg) <= MOST_PICTURE_BYTES:
            return kept.jpeg
        return encode_jpeg(kept.image(), self.veil)


def _announced(at: datetime, jpeg: bytes | None) -> OnsetPicture | None:
    return OnsetPicture(at=at, sha256=hashlib.sha256(jpeg).hexdigest(), bytes=len(jpeg)) if jpeg else None


def _boxes(sighting: Sighting) -> list[Box]:
    return [point.box for point in sighting.track] or [sighting.box]


def _place(sighting: Sighting) -> Box:
    """Where the smoke was in its first frames: a plume grows away from its beginning."""
    boxes = _boxes(sighting)[:2]
    return (
        min(box[0] for box in boxes) - PAD,
        min(box[1] for box in boxes) - PAD,
        max(box[2] for box in boxes) + PAD,
        max(box[3] for box in boxes) + PAD,
    )


def _shows(model: Model, image: Image, place: Box) -> bool:
    """Whether the model sees anything at the place."""
    rows, columns = image.shape[:2]
    width, height = round(PART * columns), round(PART * rows)
    left = _start((place[0] + place[2]) / 2 * columns - width / 2, columns - width)
    top = _start((place[1] + place[3]) / 2 * rows - height / 2, rows - height)
    part = np.ascontiguousarray(image[top : top + height, left : left + width])
    for each in model.detect(part, WEAK * model.card.confidence):
        x1, y1, x2, y2 = each.box
        box = as_fractions((x1 + left, y1 + top, x2 + left, y2 + top), columns, rows)
        if box[0] < place[2] and box[2] > place[0] and box[1] < place[3] and box[3] > place[1]:
            return True
    return False


def _start(value: float, most: int) -> int:
    return round(min(max(value, 0.0), most))
