# SPDX-License-Identifier: AGPL-3.0-or-later
"""One small face for every detector: a picture in, boxes out, whatever runs it."""

from __future__ import annotations

import importlib
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from detector.errors import ModelError
from detector.frame import Image
from detector.vision.card import ModelCard, read_card

Backend = Literal["auto", "openvino", "onnxruntime", "ultralytics"]
BACKENDS: tuple[str, ...] = get_args(Backend)
SHIPPED = Path(__file__).parents[1] / "weights" / "smoke.onnx"

_MODULES = {
    "openvino": "detector.vision.backends.openvino",
    "onnxruntime": "detector.vision.backends.onnxruntime",
    "ultralytics": "detector.vision.backends.ultralytics",
}


@dataclass(frozen=True, slots=True)
class Detection:
    """One box: pixels of the picture (x1, y1, x2, y2), confidence 0..1, label a name of the model's card."""

    box: tuple[float, float, float, float]
    confidence: float
    label: str


class Model(Protocol):
    """A loaded detector. Not for use from several threads at once."""

    @property
    def card(self) -> ModelCard:
        """What the model is and where it comes from."""

    @property
    def backend(self) -> str:
        """The back end's name, for the log."""

    def detect(self, image: Image, confidence: float, zoom: int = 1) -> list[Detection]:
        """Boxes at or above `confidence`, best first; `image` is BGR uint8 of any size, put into the network `zoom`
        times as wide as its card says, which a network with a fixed input refuses with ModelError.
        """


def load_model(path: Path = SHIPPED, backend: Backend = "auto", threads: int = 2) -> Model:
    """Load a model with its card; `auto` is OpenVINO on x86 where it is installed, else ONNX Runtime.

    Raises ModelError, one sentence, when the file is absent or damaged, is not the one on its card,
    or the back end is not installed.
    """
    card = read_card(path)
    for name in _candidates(path, backend):
        try:
            module = importlib.import_module(_MODULES[name])
        except ImportError as error:
            missing = error
            continue
        model: Model = module.load(path, card, threads)
        return model
    raise ModelError(
        f"back end {backend!r} cannot run {path.name}: {missing}; install it, or set model.backend to "
        f"another of {', '.join(BACKENDS)}"
    )


def _candidates(path: Path, backend: Backend) -> list[str]:
    if backend != "auto":
        return [backend]
    if path.suffix == ".xml":
        return ["openvino"]
    if path.suffix != ".onnx":
        return ["ultralytics"]
    on_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return ["openvino", "onnxruntime"] if on_x86 else ["onnxruntime", "openvino"]
