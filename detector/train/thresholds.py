# SPDX-License-Identifier: AGPL-3.0-or-later
"""The thresholds of each view and class, from the false images of the validation side alone.

The rule, fixed before it was measured: of the share of clean pictures that may be cried over, flames may take a
fifth and smoke in the whole picture two fifths; smoke in the band then gets the lowest threshold at which everything
together keeps to the limit. Recall has no say, so that the few cameras of a validation side are not learned by heart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detector.measure.dataset import DatasetError, Picture
from detector.measure.evaluate import FLOOR, RECALL_IOU, SIZES
from detector.measure.metrics import Box, iou
from detector.vision.card import ViewName
from detector.vision.model import Detection, Model
from detector.vision.skyline import Horizon
from detector.vision.views import look, views

Thresholds = dict[ViewName, dict[str, float]]
Scores = Mapping[tuple[ViewName, str], float]

UNDECIDED: Thresholds = {"whole": {"smoke": 0.25, "fire": 0.25}, "band": {"smoke": 0.25, "fire": 0.25}}
OPERATING = 0.28
"""What a find at its threshold counts on a card with chosen thresholds, whatever the network's own score is: the
confirmation weighs finds by it, and means the same with any weights."""
FIRE_SHARE, WHOLE_SHARE = 0.2, 0.4
STEPS = tuple(step / 100 for step in range(3, 96))


@dataclass(frozen=True, slots=True)
class Look:
    """A picture of the validation side and the network's own scores in each view, before any threshold."""

    picture: Picture
    shape: tuple[int, int]
    found: Mapping[ViewName, Sequence[Detection]]

    def loudest(self) -> Scores:
        """The highest score of each view and class."""
        best: dict[tuple[ViewName, str], float] = {}
        for name, found in self.found.items():
            for each in found:
                best[name, each.label] = max(best.get((name, each.label), 0.0), each.confidence)
        return best


def look_at(model: Model, chosen: Sequence[Picture]) -> list[Look]:
    """Every view of each picture; the model's card must hold one threshold for all, as UNDECIDED does."""
    result = []
    for picture in chosen:
        image = cv2.imread(str(picture.path))
        if image is None:
            raise DatasetError(f"the picture {picture.path} cannot be read: replace or remove it")
        shown = views(model.card, image.shape[0], Horizon().at(np.asarray(image, np.uint8)))
        found = {view.name: look(model, np.asarray(image, np.uint8), view, FLOOR) for view in shown}
        result.append(Look(picture, (image.shape[0], image.shape[1]), found))
    return result


def false_share(clean: Mapping[str, Sequence[Scores]], thresholds: Scores) -> float:
    """The share of clean pictures, by source, with any score at its threshold.

    A source of n pictures weighs as the root of n: pictures of one source resemble each other.
    """
    total = reached = 0.0
    for pictures in clean.values():
        cried = sum(any(one.get(key, 0.0) >= limit for key, limit in thresholds.items()) for one in pictures)
        total += math.sqrt(len(pictures))
        reached += math.sqrt(len(pictures)) * cried / len(pictures)
    return reached / total


def choose(looks: Sequence[Look], limit: float) -> Thresholds | None:
    """Thresholds for a card's `views` with at most `limit` false images.

    None when there are too few pictures without smoke to show a share so small.
    """
    clean: dict[str, list[Scores]] = {}
    for one in looks:
        if not one.picture.labels:
            clean.setdefault(one.picture.source, []).append(one.loudest())
    if sum(map(len, clean.values())) < 1 / limit:
        return None

    def lowest(share: float, open_at: Sequence[tuple[ViewName, str]], known: Scores) -> float:
        """Where the thresholds `open_at` may stand, all alike, beside the `known` ones."""
        fitting = (step for step in STEPS if false_share(clean, {**known, **dict.fromkeys(open_at, step)}) <= share)
        return next(fitting, STEPS[-1])

    fire = lowest(FIRE_SHARE * limit, [("whole", "fire"), ("band", "fire")], {})
    whole = lowest(WHOLE_SHARE * limit, [("whole", "smoke")], {})
    known: Scores = {("whole", "fire"): fire, ("band", "fire"): fire, ("whole", "smoke"): whole}
    band = lowest(limit, [("band", "smoke")], known)
    return {"whole": {"smoke": whole, "fire": fire}, "band": {"smoke": band, "fire": fire}}


def recall(looks: Sequence[Look], thresholds: Thresholds) -> float:
    """The mean of the recall of small smoke and of all smoke; 0 where there is none."""
    hits = [hit for one in looks for hit in _hits(one, thresholds)]
    small = [found for found, area in hits if area < SIZES[0][2]]
    every = [found for found, _ in hits]
    shares = [sum(part) / len(part) for part in (small, every) if part]
    return sum(shares) / len(shares) if shares else 0.0


def _hits(one: Look, thresholds: Thresholds) -> list[tuple[bool, float]]:
    """For each labelled smoke: is it found in any view, and its share of the frame."""
    rows, columns = one.shape
    sure = [
        each.box
        for name, found in one.found.items()
        for each in found
        if each.label == "smoke" and each.confidence >= thresholds[name]["smoke"]
    ]
    result = []
    for label in one.picture.labels:
        if label.name == "smoke":
            x, y, half_w, half_h = label.x, label.y, label.width / 2, label.height / 2
            box: Box = ((x - half_w) * columns, (y - half_h) * rows, (x + half_w) * columns, (y + half_h) * rows)
            result.append((bool((iou(box, sure) >= RECALL_IOU).any()), label.width * label.height))
    return result
