# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the two ONNX back ends share: everything but the call that runs the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from detector.card import ModelCard
from detector.errors import ModelError
from detector.frame import Image
from detector.model import Detection
from detector.yolo import Floats, decode, letterbox


class OnnxModel(ABC):
    """A YOLOv8-family network: input (1, 3, h, w), output (1, 4 + classes, anchors) unsuppressed."""

    backend: str

    def __init__(self, path: Path, card: ModelCard) -> None:
        self.card = card
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

    def detect(self, image: Image, confidence: float) -> list[Detection]:
        """See detector.model.Model."""
        height, width = self.card.input
        blob, placed = letterbox(image, width, height, self.card.letterbox)
        boxes, scores, classes = decode(self._run(blob), confidence, self.card.iou)
        rows, columns = image.shape[:2]
        return [
            Detection((float(x1), float(y1), float(x2), float(y2)), float(score), self.card.classes[number])
            for (x1, y1, x2, y2), score, number in zip(placed.undo(boxes, columns, rows), scores, classes, strict=True)
        ]
