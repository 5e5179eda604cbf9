# SPDX-License-Identifier: AGPL-3.0-or-later
"""ultralytics: .pt weights and TensorRT engines. Needs the `train` extra; nothing else here does."""

from __future__ import annotations

import os
from pathlib import Path

# Read when ultralytics is imported: no analytics, no downloads, no installing by itself.
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_AUTOINSTALL", "false")

import torch
from ultralytics import YOLO

from detector.frame import Image
from detector.vision.card import ModelCard
from detector.vision.model import Detection


class UltralyticsModel:
    """Letterbox and suppression are ultralytics' own; the card gives input size and overlap."""

    backend = "ultralytics"

    def __init__(self, path: Path, card: ModelCard, threads: int) -> None:
        self.card = card
        torch.set_num_threads(threads)
        self._yolo = YOLO(str(path), task="detect")

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        """See detector.vision.model.Model."""
        size = [zoom * side for side in self.card.input]
        result = self._yolo.predict(image, conf=confidence, iou=self.card.iou, imgsz=size, verbose=False)[0]
        return [
            Detection((x1, y1, x2, y2), float(score), self.card.classes[int(number)])
            for (x1, y1, x2, y2), score, number in zip(
                result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), result.boxes.cls.tolist(), strict=True
            )
        ]


def load(path: Path, card: ModelCard, threads: int) -> UltralyticsModel:
    """See detector.vision.backends."""
    return UltralyticsModel(path, card, threads)
