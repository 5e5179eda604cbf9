# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures about detections, as pure functions: matching, average precision, proportions with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]
Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Proportion:
    """`hits` of `n`, with Wilson's 95 % interval (Wilson 1927); the interval of 0 of 0 is the whole of 0..1."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share, or None of nothing."""
        return self.hits / self.n if self.n else None

    def interval(self) -> tuple[float, float]:
        """Lower and upper bound. Frames of one camera resemble each other: the true interval is wider."""
        if not self.n:
            return 0.0, 1.0
        share, n, z2 = self.hits / self.n, self.n, Z95**2
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def as_json(self) -> dict[str, float | int | None | list[float]]:
        """For reports: share, hits, n and the interval, rounded to four places."""
        share = None if self.value is None else round(self.value, 4)
        return {"value": share, "hits": self.hits, "n": self.n, "ci95": [round(b, 4) for b in self.interval()]}


def iou(box: Box, others: Sequence[Box]) -> NDArray[np.float64]:
    """Overlap of `box` with each of `others` (x1, y1, x2, y2): intersection over union."""
    if not others:
        return np.zeros(0)
    rest = np.asarray(others, float)
    left, top = np.maximum(rest[:, 0], box[0]), np.maximum(rest[:, 1], box[1])
    right, bottom = np.minimum(rest[:, 2], box[2]), np.minimum(rest[:, 3], box[3])
    shared = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    own = (box[2] - box[0]) * (box[3] - box[1])
    union = own + (rest[:, 2] - rest[:, 0]) * (rest[:, 3] - rest[:, 1]) - shared
    return np.asarray(shared / np.maximum(union, 1e-12))


def match(
    found: Sequence[tuple[Box, float]], truth: Sequence[Box], overlap: float
) -> tuple[list[tuple[float, bool]], list[float]]:
    """Greedy matching of one picture's detections, best first, each truth taken once.

    Returns (score, is it true) for each detection, and for each truth the score of the detection that took
    it, or 0 when none did.
    """
    taken = [0.0] * len(truth)
    scored = []
    for box, score in sorted(found, key=lambda item: -item[1]):
        overlaps = iou(box, truth)
        order = np.argsort(-overlaps, kind="stable")
        best = next((int(i) for i in order if overlaps[i] >= overlap and taken[int(i)] == 0.0), None)
        if best is not None:
            taken[best] = score
        scored.append((score, best is not None))
    return scored, taken


def average_precision(scored: Sequence[tuple[float, bool]], truths: int) -> float | None:
    """Area under the precision-recall curve, precision made monotone, every point used (VOC 2010).

    None when there is no truth to find.
    """
    if truths == 0:
        return None
    ordered = sorted(scored, key=lambda item: -item[0])
    hits = np.cumsum([true for _, true in ordered])
    if not len(hits):
        return 0.0
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / truths
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((envelope * steps).sum())


def choose_threshold(worst: dict[str, list[float]], limit: float) -> float:
    """The lowest threshold (steps of 0.01) at which false images are at most `limit`, sources weighing alike.

    `worst` holds, for each source of clean pictures, the highest score found in each picture. For use on the
    validation side only. Raises ValueError without clean pictures.
    """
    sources = [np.asarray(scores) for scores in worst.values() if scores]
    if not sources:
        raise ValueError("a threshold needs pictures without smoke on the validation side")
    for step in range(5, 100):
        threshold = step / 100
        if float(np.mean([(scores >= threshold).mean() for scores in sources])) <= limit:
            return threshold
    return 0.99
