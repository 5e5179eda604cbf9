# SPDX-License-Identifier: AGPL-3.0-or-later
"""From trained weights to the model that ships: one ONNX file and its card.

The ONNX holds its weights as float16 with a cast to float32 in front of each use: half the size on disk,
float32 arithmetic on every back end (onnxruntime and OpenVINO fold the casts when they load it).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from detector.train.torch_setup import ultralytics
from detector.vision.card import ModelCard

CLASSES = ("smoke", "fire")
LETTERBOX_GREY = 114  # ultralytics pads with this value, in training and in prediction
OPSET = 17  # the newest that onnxruntime 1.20 and OpenVINO 2024 also read
MIN_VALUES_TO_HALVE = 1024  # biases and constants stay float32: they save nothing and some must be exact


class ExportError(ValueError):
    """The weights cannot be turned into a model; the sentence says why."""


def load_network(weights: Path, scale: str = "s", threads: int | None = None) -> Any:
    """An ultralytics `YOLO` with these weights.

    `weights` is a checkpoint (`.pt`), a state dict of a two-class YOLOv8 as `.npz` (ultralytics' layer names), or a
    model that `export` wrote (`.onnx`). Every tensor has to fit: a missing or unexpected one raises ExportError.
    """
    if not weights.is_file():
        raise ExportError(f"there are no weights at {weights}")
    package = ultralytics(threads)
    if weights.suffix == ".pt":
        return package.YOLO(str(weights))
    import torch

    model = package.YOLO(f"yolov8{scale}.yaml")
    network = package.nn.tasks.DetectionModel(f"yolov8{scale}.yaml", nc=len(CLASSES), verbose=False)
    target = network.state_dict()
    arrays = _unfused(weights, network) if weights.suffix == ".onnx" else _arrays(weights)
    state = {name: torch.from_numpy(value).to(target[name].dtype) for name, value in arrays.items() if name in target}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ExportError(f"{weights.name} does not fit a two-class YOLOv8{scale}: {error}") from error
    network.names = dict(enumerate(CLASSES))
    network.args, network.task = model.model.args, "detect"
    model.model = network
    return model


def _arrays(weights: Path) -> dict[str, Any]:
    with np.load(weights, allow_pickle=False) as arrays:
        return {name: arrays[name].copy() for name in arrays.files}


def _unfused(weights: Path, network: Any) -> dict[str, Any]:
    """The state dict behind an exported model: its convolutions hold their batch normalisations, so these become plain
    offsets, of mean 0 and variance 1."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(weights)).graph
    held = {t.name.removesuffix(".half"): numpy_helper.to_array(t).astype(np.float32) for t in graph.initializer}
    state = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    for name, layer in network.named_modules():
        if layer.__class__.__name__ == "BatchNorm2d":
            convolution = name.removesuffix("bn") + "conv"
            held[f"{name}.bias"] = held.pop(f"{convolution}.bias", np.zeros(0))
            held[f"{name}.running_mean"] = np.zeros_like(state[f"{name}.running_mean"])
            held[f"{name}.running_var"] = np.ones_like(state[f"{name}.running_var"]) - np.float32(layer.eps)
            held[f"{name}.weight"] = np.ones_like(state[f"{name}.weight"])
    kept = {name: value for name, value in state.items() if name.endswith("num_batches_tracked") or ".dfl." in name}
    return kept | held


def halve_weights(path: Path) -> None:
    """Rewrite an ONNX file in place with its large float32 initialisers stored as float16 and cast back."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MIN_VALUES_TO_HALVE:
            continue
        values = numpy_helper.to_array(tensor).astype(np.float16)
        name = tensor.name
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def export_onnx(model: Any, target: Path, size: tuple[int, int]) -> None:
    """Write `model` as ONNX of free height and width, traced at `size` (width, height), no suppression inside."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "model.pt"
        model.model.pt_path = str(checkpoint)  # the exporter names its file after it
        written = model.export(
            format="onnx", imgsz=[size[1], size[0]], opset=OPSET, simplify=True, dynamic=True, device="cpu"
        )
        shutil.move(str(written), target)
    halve_weights(target)


def write_card(target: Path, model: Path, facts: Mapping[str, Any]) -> None:
    """Write the card the runtime reads beside the model: what it is, how to feed it, where to cut.

    `facts` needs name, version, input (width, height), confidence, views, thresholds, iou, origin, licence and
    training.
    """
    width, height = facts["input"]
    card = {
        "name": facts["name"],
        "version": facts["version"],
        "sha256": sha256(model),
        "classes": list(CLASSES),
        "input": [height, width],
        "letterbox": LETTERBOX_GREY,
        "confidence": facts["confidence"],
        "views": facts["views"],
        "thresholds": facts["thresholds"],
        "iou": facts["iou"],
        "licence": facts["licence"],
        "origin": facts["origin"],
        "training": facts["training"],
    }
    ModelCard.model_validate(card)
    target.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=100), encoding="utf-8")


def export(weights: Path, out: Path, facts: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write `<name>.onnx` and `<name>.yaml` into `out`; returns both paths."""
    out.mkdir(parents=True, exist_ok=True)
    model_path = out / f"{facts['name']}.onnx"
    card_path = out / f"{facts['name']}.yaml"
    export_onnx(load_network(weights), model_path, facts["input"])
    write_card(card_path, model_path, facts)
    return model_path, card_path
