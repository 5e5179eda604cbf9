# SPDX-License-Identifier: AGPL-3.0-or-later
"""The threshold of each class, from the false images of the validation side alone.

The rule, fixed before it was measured: of the share of clean pictures that may be cried over, flames may take a
fifth; smoke then gets the lowest threshold at which both together keep to the limit. Recall has no say, so that the few
cameras of a validation side are not learned by heart.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from detector.measure.dataset import Picture
from detector.measure.evaluate import RECALL_IOU, SIZES
from detector.measure.metrics import Box, iou
from detector.vision.model import Detection, Model
from detector.vision.skyline import Horizon
from detector.vision.views import judge_all

Scores = Mapping[str, float]
"""By class: of a picture the highest, or the thresholds."""

UNDECIDED = 0.25
OPERATING = 0.28
"""What a find at its threshold counts on a card with chosen thresholds, whatever the views' common score is: the
confirmation weighs finds by it, and means the same with any weights."""
FIRE_SHARE = 0.2
STEPS = tuple(step / 200 for step in range(3, 191))


@dataclass(frozen=True, slots=True)
class Look:
    """A picture of the validation side and what the views together say of it, before any threshold."""

    picture: Picture
    shape: tuple[int, int]
    found: Sequence[Detection]

    def loudest(self) -> Scores:
        """The highest score of each class."""
        best: dict[str, float] = {}
        for each in self.found:
            best[each.label] = max(best.get(each.label, 0.0), each.confidence)
        return best


def look_at(model: Model, chosen: Sequence[Picture]) -> list[Look]:
    """Each picture as a box looks at it. One that cannot be read is named on stderr and left out."""
    result = []
    for picture in chosen:
        read = cv2.imread(str(picture.path))
        if read is None:
            print(f"the picture {picture.path} cannot be read and is left out", file=sys.stderr)
            continue
        image = np.asarray(read, np.uint8)
        result.append(Look(picture, (image.shape[0], image.shape[1]), judge_all(model, image, Horizon())))
    return result


def false_share(clean: Mapping[str, Sequence[Scores]], thresholds: Scores) -> float:
    """The share of clean pictures, by source, with any score at its threshold.

    A source of n pictures weighs as the root of n: pictures of one source resemble each other.
    """
    total = reached = 0.0
    for pictures in clean.values():
        cried = sum(any(one.get(label, 0.0) >= limit for label, limit in thresholds.items()) for one in pictures)
        total += math.sqrt(len(pictures))
        reached += math.sqrt(len(pictures)) * cried / len(pictures)
    return reached / total


def choose(looks: Sequence[Look], limit: float) -> dict[str, float] | None:
    """Thresholds for a card with at most `limit` false images.

    None when there are too few pictures without smoke to show a share so small.
    """
    clean: dict[str, list[Scores]] = {}
    for one in looks:
        if not one.picture.labels:
            clean.setdefault(one.picture.source, []).append(one.loudest())
    if sum(map(len, clean.values())) < 1 / limit:
        return None

    def lowest(label: str, share: float, known: Scores) -> float:
        fitting = (step for step in STEPS if false_share(clean, {**known, label: step}) <= share)
        return next(fitting, STEPS[-1])

    fire = lowest("fire", FIRE_SHARE * limit, {})
    return {"smoke": lowest("smoke", limit, {"fire": fire}), "fire": fire}


def recall(looks: Sequence[Look], threshold: float) -> float:
    """The mean of the recall of small smoke and of all smoke at a threshold; 0 where there is none."""
    hits = [hit for one in looks for hit in _hits(one, threshold)]
    small = [found for found, area in hits if area < SIZES[0][2]]
    every = [found for found, _ in hits]
    shares = [sum(part) / len(part) for part in (small, every) if part]
    return sum(shares) / len(shares) if shares else 0.0


def _hits(one: Look, threshold: float) -> list[tuple[bool, float]]:
    """For each labelled smoke: is it found, and its share of the frame."""
    rows, columns = one.shape
    sure = [each.box for each in one.found if each.label == "smoke" and each.confidence >= threshold]
    result = []
    for label in one.picture.labels:
        if label.name == "smoke":
            x, y, half_w, half_h = label.x, label.y, label.width / 2, label.height / 2
            box: Box = ((x - half_w) * columns, (y - half_h) * rows, (x + half_w) * columns, (y + half_h) * rows)
            result.append((bool((iou(box, sure) >= RECALL_IOU).any()), label.width * label.height))
    return result
