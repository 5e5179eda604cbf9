# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a model is shown of a picture: the whole, and the band along the skyline at twice the size.

A plume 3 km away is a dozen pixels high, and it stands at the skyline. Half the picture's height, in full width and
at twice the network's width, costs twice the whole; tiles of the same magnification overlap and cost three times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from detector.frame import Image
from detector.vision.card import ModelCard, ViewName
from detector.vision.model import Detection, Model
from detector.vision.skyline import Horizon

BAND_SHARE = 0.5
"""Of the picture's height."""
ZOOM = 2
SAME = 0.7
"""Share of the smaller of two boxes that lies in the other, from where on they are one find ..."""
ALIKE = 0.2
"""... unless its area is less than this share of the other's: a plume before a bank of fog is a find of its own."""


@dataclass(frozen=True, slots=True)
class View:
    """Rows `top` to `bottom` (pixels) of a picture, shown at `zoom` times the network's width."""

    name: ViewName
    top: int
    bottom: int
    zoom: int


def views(card: ModelCard, height: int, horizon: float) -> list[View]:
    """The views of a picture `height` pixels high whose skyline is at the share `horizon` of it, from the top."""
    half = round(BAND_SHARE * height)
    top = min(max(round(horizon * height - half / 2), 0), height - half)
    placed = {"whole": View("whole", 0, height, 1), "band": View("band", top, top + half, ZOOM)}
    return [placed[name] for name in card.views]


def look(model: Model, image: Image, view: View, confidence: float) -> list[Detection]:
    """What `model` sees in one view of `image` (BGR), in pixels of the picture, surest first.

    Each view's and class's own threshold is put at the card's `confidence` by a power of the network's score, so
    that one threshold holds for all.
    """
    card = model.card
    powers = {name: math.log(card.confidence) / math.log(card.views[view.name][name]) for name in card.classes}
    floor = min(confidence ** (1 / power) for power in powers.values())
    part = image[view.top : view.bottom]
    found = model.detect(part, floor) if view.zoom == 1 else model.detect(part, floor, view.zoom)
    scaled = [
        replace(each, box=_lowered(each, view.top), confidence=each.confidence ** powers[each.label]) for each in found
    ]
    return sorted((each for each in scaled if each.confidence >= confidence), key=lambda each: -each.confidence)


def merge(finds: Iterable[Detection]) -> list[Detection]:
    """Finds of all views of one picture, each thing once, by its surest box; surest first."""
    kept: list[Detection] = []
    for each in sorted(finds, key=lambda find: -find.confidence):
        if not any(each.label == other.label and _same(each, other) for other in kept):
            kept.append(each)
    return kept


def look_all(model: Model, image: Image, horizon: Horizon, confidence: float) -> list[Detection]:
    """All views of one picture, merged."""
    shown = views(model.card, image.shape[0], horizon.at(image))
    return merge(find for view in shown for find in look(model, image, view, confidence))


def _lowered(find: Detection, rows: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = find.box
    return x1, y1 + rows, x2, y2 + rows


def _same(one: Detection, other: Detection) -> bool:
    a, b = np.array(one.box), np.array(other.box)
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    small, large = sorted(((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))
    return bool(shared >= SAME * small and small >= ALIKE * large)
