# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a model is shown of a picture: the whole, the band along the skyline at twice the size, and what is small and
may be smoke once more as a detail, at three times the size and without its colour.

A plume 3 km away is a dozen pixels high, and it stands at the skyline. Half the picture's height, in full width and
at twice the network's width, costs twice the whole; tiles of the same magnification overlap and cost three times. A
detail costs as much as the whole, and few pictures have anything to look at so closely.

The views are witnesses of one thing. Smoke is seen by all, the nearer ones surer of the small and the whole of the
large; most of what is taken for smoke by mistake is a mistake of one of them, and less so the more they differ: what
is smoke in colour is smoke without. So a find's score is the mean of the log-odds that all give it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import Image
from detector.vision.card import ModelCard, ViewName
from detector.vision.model import Detection, Model
from detector.vision.skyline import Horizon

BAND_SHARE = 0.5
"""Of the picture's height."""
ZOOM = 2
DETAIL_SHARE = 1 / 3
"""Of the picture's width and height: of 1080p, a network 640 wide is shown the camera's own pixels."""
AROUND = 1.7
"""A detail is at least so many times as wide and as high as the find that it is of."""
DETAILS = 4
"""So many in a picture, at most."""
DOUBTFUL = 0.04
"""Common score of the other views from which on smoke is worth a detail: one clean picture in 25 has such a find."""
SMALL = 0.02
"""Share of the picture below which it is: of what is larger a detail shows no more."""
LEAST = 0.01
"""A network score so low is none, and what a view that shows nothing at a place says of it."""
SAME = 0.7
"""Share of the smaller of two boxes that lies in the other, from where on they are of one thing ..."""
ALIKE = 0.2
"""... unless its area is less than this share of the other's: a plume before a bank of fog is a thing of its own."""


@dataclass(frozen=True, slots=True)
class View:
    """Rows `top` to `bottom` (pixels) of a picture, shown at `zoom` times the network's width."""

    name: ViewName
    top: int
    bottom: int
    zoom: int


def views(card: ModelCard, height: int, horizon: float) -> list[View]:
    """The views of a picture `height` pixels high whose skyline is at the share `horizon` of it, from the top. Of what
    a detail is taken, they have to say first (`judge`)."""
    half = max(1, round(BAND_SHARE * height))
    top = min(max(round(horizon * height - half / 2), 0), height - half)
    placed = {"whole": View("whole", 0, height, 1), "band": View("band", top, top + half, ZOOM)}
    return [placed[name] for name in card.views if name in placed]


def look(model: Model, image: Image, view: View) -> list[Detection]:
    """What `model` sees in one view of `image` (BGR): the network's own scores, in pixels of the picture."""
    part = image[view.top : view.bottom]
    found = model.detect(part, LEAST) if view.zoom == 1 else model.detect(part, LEAST, view.zoom)
    return [replace(each, box=_moved(each, 0, view.top)) for each in found]


def agree(found: Mapping[ViewName, Sequence[Detection]]) -> list[Detection]:
    """The finds of all views of one picture, each thing once, by its surest box; surest first.

    The score is the mean over the views of the log-odds of the surest find that each has of the thing (`LEAST` where it
    has none), as a probability. A find speaks for one thing alone.
    """
    finds = [each for own in found.values() for each in own]
    if not finds:
        return []
    view = np.repeat(np.arange(len(found)), [len(own) for own in found.values()])
    odds = np.array([_log_odds(each.confidence) for each in finds])
    same, free, things = _same(finds), np.ones(len(finds), bool), []
    for surest in np.argsort(-odds, kind="stable"):
        if free[surest]:
            it = same[surest] & free
            free &= ~it
            said = [odds[it & (view == each)].max(initial=_log_odds(LEAST)) for each in range(len(found))]
            things.append(replace(finds[surest], confidence=_probability(sum(said) / len(said))))
    return sorted(things, key=lambda each: -each.confidence)


def judge(model: Model, image: Image, found: Mapping[ViewName, Sequence[Detection]]) -> list[Detection]:
    """All that a model has to say of `image`, before any threshold, surest first. `found`: what it saw in the `views`.

    Where its card asks for details, each small thing that may be smoke is looked at in one, and the mean is of all
    views; what is not looked at so closely keeps its score.
    """
    things = agree(found)
    if "detail" not in model.card.views:
        return things
    height, width = image.shape[:2]
    small = [each for each in things if each.label == "smoke" and _area(each) < SMALL * width * height]
    doubtful = [each for each in small if each.confidence >= DOUBTFUL][:DETAILS]
    told = {each: _with_detail(each, _detail(model, image, each), len(found)) for each in doubtful}
    return sorted((told.get(each, each) for each in things), key=lambda each: -each.confidence)


def _detail(model: Model, image: Image, thing: Detection) -> list[Detection]:
    """What is seen, in grey, around a find: a part of the picture of `DETAIL_SHARE`, or as large as `AROUND` asks."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = thing.box
    share = min(1.0, max(DETAIL_SHARE, AROUND * (x2 - x1) / width, AROUND * (y2 - y1) / height))
    wide, high = max(1, round(share * width)), max(1, round(share * height))
    left = min(max(round((x1 + x2 - wide) / 2), 0), width - wide)
    top = min(max(round((y1 + y2 - high) / 2), 0), height - high)
    found = model.detect(colourless(image[top : top + high, left : left + wide]), LEAST)
    return [replace(each, box=_moved(each, left, top)) for each in found]


def _with_detail(thing: Detection, seen: Sequence[Detection], views: int) -> Detection:
    """A find of so many views with what a detail says of it; by the detail's box where that is surer than they are."""
    alike = _same([thing, *seen])[0, 1:]
    best = max((each for each, same in zip(seen, alike, strict=True) if same), key=_confidence, default=None)
    said = _log_odds(best.confidence if best else LEAST)
    together = _probability((views * _log_odds(thing.confidence) + said) / (views + 1))
    surest = best if best and best.confidence > thing.confidence else thing
    return replace(thing, confidence=together, box=surest.box)


def scaled(card: ModelCard, finds: Sequence[Detection], confidence: float) -> list[Detection]:
    """Finds with their class's threshold put at the card's `confidence` by a shift of their odds, so that one threshold
    holds for all; those at or above `confidence`, surest first.
    """
    shifts = {name: _log_odds(card.confidence) - _log_odds(card.threshold(name)) for name in card.classes}
    moved = [replace(each, confidence=_probability(_log_odds(each.confidence) + shifts[each.label])) for each in finds]
    return sorted((each for each in moved if each.confidence >= confidence), key=lambda each: -each.confidence)


def judge_all(model: Model, image: Image, horizon: Horizon) -> list[Detection]:
    """All views of one picture, as one judgement before any threshold."""
    shown = views(model.card, image.shape[0], horizon.at(image))
    return judge(model, image, {view.name: look(model, image, view) for view in shown})


def look_all(model: Model, image: Image, horizon: Horizon, confidence: float) -> list[Detection]:
    """All views of one picture, as one judgement."""
    return scaled(model.card, judge_all(model, image, horizon), confidence)


def colourless(image: Image) -> Image:
    """A picture (BGR) without its colour, still of three channels: as an infrared camera sends it."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def _moved(find: Detection, columns: int, rows: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = find.box
    return x1 + columns, y1 + rows, x2 + columns, y2 + rows


def _area(find: Detection) -> float:
    x1, y1, x2, y2 = find.box
    return (x2 - x1) * (y2 - y1)


def _confidence(find: Detection) -> float:
    return find.confidence


def _log_odds(score: float) -> float:
    score = min(max(score, LEAST), 1 - 1e-6)
    return math.log(score / (1 - score))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _same(finds: Sequence[Detection]) -> NDArray[np.bool_]:
    """Which finds, each with each, are of one thing."""
    boxes = np.array([each.box for each in finds])
    labels = np.array([each.label for each in finds])
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    shared = np.clip(np.minimum(high, boxes[None, :, 2:]) - np.maximum(low, boxes[None, :, :2]), 0, None).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    small, large = np.minimum(areas[:, None], areas), np.maximum(areas[:, None], areas)
    return np.asarray((shared >= SAME * small) & (small >= ALIKE * large) & (labels[:, None] == labels))
