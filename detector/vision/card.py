# SPDX-License-Identifier: AGPL-3.0-or-later
"""The card beside a model file: what it is, where it comes from, and the digest that proves it is whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from detector.errors import ModelError

KNOWN_LABELS = frozenset({"smoke", "fire"})
ViewName = Literal["whole", "band", "detail"]
Threshold = Annotated[float, Field(gt=0, lt=1)]


def _as_list(value: Any) -> Any:
    """Class names may be written as a list or as a mapping from their numbers."""
    return [value[key] for key in sorted(value)] if isinstance(value, dict) else value


def _as_pair(value: Any) -> Any:
    """One number means a square input."""
    return [value, value] if isinstance(value, int) else value


def _beside_details(value: list[ViewName]) -> list[ViewName]:
    """Of what a detail is taken, another view has to say first."""
    if not set(value) - {"detail"}:
        raise ValueError("name the whole, the band or both: a detail is of what they find")
    return value


class ModelCard(BaseModel):
    """A model's card. `input` is (height, width) in pixels, `confidence` the operating threshold. `sha256` is the model
    file's digest, `weights_sha256` that of the .bin which an .xml needs beside it.

    `views` names what the model is shown of a picture (detector.vision.views), the whole of it alone where none is
    named; `thresholds` what the views together have to say of each class, where it is not `confidence`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: str = ""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    weights_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    classes: Annotated[list[str], BeforeValidator(_as_list)]
    input: Annotated[tuple[int, int], BeforeValidator(_as_pair)]
    letterbox: int = Field(default=114, ge=0, le=255)
    confidence: Threshold = 0.25
    views: Annotated[list[ViewName], AfterValidator(_beside_details)] = ["whole"]
    thresholds: dict[str, Threshold] = {}
    iou: float = Field(default=0.5, gt=0, lt=1)
    origin: str = ""
    licence: str = ""
    training: str = ""

    def threshold(self, label: str) -> float:
        """Of the views' common score, from which on a find of this class counts."""
        return self.thresholds.get(label, self.confidence)


def card_path(model: Path) -> Path:
    """smoke.onnx -> smoke.yaml."""
    return model.with_suffix(".yaml")


def read_card(model: Path) -> ModelCard:
    """The checked card of `model`; raises ModelError when either is missing, broken or of another."""
    if not model.is_file():
        raise ModelError(f"model file {model} does not exist: put it there or set model.path to where it is")
    path = card_path(model)
    try:
        card = ModelCard.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ModelError(f"the card {path} of model {model.name} cannot be read: copy it beside the model") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # of another encoding, of no date, of no schema
        detail = str(error).replace("\n", " ")
        raise ModelError(f"the card {path} is not a model card: {detail}") from error
    _check_classes(card, path)
    _check_digest(model, card.sha256)
    if model.suffix == ".xml":
        weights = model.with_suffix(".bin")
        if not weights.is_file() or card.weights_sha256 is None:
            lacks = "its card has no weights_sha256" if weights.is_file() else f"{weights.name} is not beside it"
            raise ModelError(f"model {model}: {lacks}: copy the .xml, its .bin and its card together")
        _check_digest(weights, card.weights_sha256)
    return card


def _check_digest(file: Path, expected: str) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != expected:
        raise ModelError(
            f"model file {file} is damaged or not the one on its card (SHA-256 {digest[:12]}…, card says "
            f"{expected[:12]}…): copy the model and its card again"
        )


def _check_classes(card: ModelCard, path: Path) -> None:
    if "smoke" not in card.classes or not KNOWN_LABELS.issuperset(card.classes):
        raise ModelError(
            f"the card {path} names the classes {', '.join(card.classes) or 'none'}: a smoke model has "
            "smoke, and may have fire, and nothing else"
        )
