# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a YOLOv8-family network needs around it: letterbox before, decoding and suppression after."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.frame import Image

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a picture was scaled and padded into the network's input."""

    scale: float
    left: int
    top: int

    def undo(self, boxes: Floats, width: int, height: int) -> Floats:
        """Boxes (n, 4) x1 y1 x2 y2 in input pixels -> pixels of the original, clipped to it."""
        shifted = (boxes - np.array([self.left, self.top] * 2, np.float32)) / np.float32(self.scale)
        limits = np.array([width, height] * 2, np.float32)
        return np.asarray(np.clip(shifted, 0, limits), np.float32)


def letterbox(image: Image, width: int, height: int, value: int) -> tuple[Floats, Letterbox]:
    """Scale `image` (BGR) into width x height keeping its shape, pad with grey `value`.

    Returns the network's input (1, 3, height, width), RGB in 0..1, contiguous, and how to go back.
    """
    rows, columns = image.shape[:2]
    scale = min(width / columns, height / rows)
    inner_w, inner_h = max(1, round(columns * scale)), max(1, round(rows * scale))
    left, top = (width - inner_w) // 2, (height - inner_h) // 2
    if (inner_w, inner_h) != (columns, rows):
        resized = cv2.resize(image, (inner_w, inner_h), interpolation=cv2.INTER_LINEAR)
    else:
        resized = image
    canvas = np.full((height, width, 3), value, np.uint8)
    canvas[top : top + inner_h, left : left + inner_w] = resized
    blob = cv2.dnn.blobFromImage(canvas, 1 / 255.0, swapRB=True)
    return np.asarray(blob, np.float32), Letterbox(scale, left, top)


def decode(output: Floats, confidence: float, iou: float) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Raw output (1, 4 + classes, anchors), boxes as centre and size -> boxes, scores, class numbers.

    Keeps the best class of each anchor at or above `confidence`, then suppresses overlaps above `iou`
    within a class; best first.
    """
    rows = output[0]
    scores = rows[4:].max(axis=0)
    kept = np.flatnonzero(scores >= confidence)
    classes = rows[4:, kept].argmax(axis=0)
    scores = scores[kept]
    centre_x, centre_y, width, height = rows[:4, kept]
    boxes = np.stack([centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2], axis=1)
    if not kept.size:
        return boxes, scores, classes
    corner_and_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    chosen = cv2.dnn.NMSBoxesBatched(corner_and_size.tolist(), scores.tolist(), classes.tolist(), confidence, iou)
    order = np.asarray(chosen, np.intp).ravel()
    order = order[np.argsort(-scores[order], kind="stable")]
    return boxes[order], scores[order], classes[order]
