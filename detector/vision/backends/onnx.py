# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the two ONNX back ends share: everything but the call that runs the network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from detector.errors import ModelError
from detector.frame import Image
from detector.vision.card import ModelCard
from detector.vision.model import Detection
from detector.vision.yolo import Floats, decode, letterbox

STEP = 96
"""Pixels between the heights of a free network's input: 16:9 and 4:3 are 384 and 480 at 640 wide, both multiples."""


class OnnxModel(ABC):
    """A YOLOv8-family network: input (1, 3, h, w), output (1, 4 + classes, anchors) unsuppressed.

    `free` networks take any height and width in steps of 32: less of their input is padding, and views can be shown
    larger.
    """

    backend: str

    def __init__(self, path: Path, card: ModelCard, free: bool) -> None:
        self.card = card
        self._free = free
        if "band" in card.views and not free:
            raise ModelError(f"model {path.name} has a fixed input, so its card can name no band: export it again")
        height, width = card.input
        probe = self._run(np.zeros((1, 3, height, width), np.float32))
        if probe.ndim != 3 or probe.shape[1] != 4 + len(card.classes):
            raise ModelError(
                f"model {path.name} answers {probe.shape}, which is not {len(card.classes)} classes "
                f"({', '.join(card.classes)}) as its card says: use the card that belongs to it"
            )

    @abstractmethod
    def _run(self, blob: Floats) -> Floats:
        """The network's raw output for one input."""

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        """See detector.vision.model.Model."""
        rows, columns = image.shape[:2]
        width, height = self._size(rows / columns, zoom)
        blob, placed = letterbox(image, width, height, self.card.letterbox)
        boxes, scores, classes = decode(self._run(blob), confidence, self.card.iou)
        return [
            Detection((float(x1), float(y1), float(x2), float(y2)), float(score), self.card.classes[number])
            for (x1, y1, x2, y2), score, number in zip(placed.undo(boxes, columns, rows), scores, classes, strict=True)
        ]

    def _size(self, shape: float, zoom: int) -> tuple[int, int]:
        """Width and height of the input for a picture of this height by width: of a free network no higher than
        needed, in few different sizes, as the first picture of each costs more."""
        height, width = self.card.input
        if not self._free:
            if zoom != 1:
                raise ModelError(f"model {self.card.name} has a fixed input and cannot look closer")
            return width, height
        return zoom * width, min(zoom * height, STEP * math.ceil(zoom * width * shape / STEP - 1e-6))
