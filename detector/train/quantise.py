# SPDX-License-Identifier: AGPL-3.0-or-later
"""int8 from a float model, by calibration with nncf: for x86 with VNNI and for ARM with dot products.

The result is ONNX with quantise/dequantise pairs, so it runs on the same back ends. Its weights are stored as int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detector.card import read_card
from detector.train.export import sha256
from detector.train.torch_setup import INSTALL_HINT, TrainingUnavailable
from detector.yolo import letterbox

CALIBRATION = 200  # pictures; nncf's default is 300, and the ranges settle well before


def _fold_weights(model: Any) -> None:
    """Store constants that are quantised at run time as the integers they become."""
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] in constants]:
        values, scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input[:3])
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        if scale.ndim:
            shape = [1] * values.ndim
            shape[axis] = -1
            scale, zero_wide = scale.reshape(shape), zero.reshape(shape)
        else:
            zero_wide = zero
        limits = np.iinfo(zero.dtype)
        whole = np.clip(np.rint(values / scale) + zero_wide, limits.min, limits.max).astype(zero.dtype)
        graph.initializer.append(numpy_helper.from_array(whole, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)


def _restore_float(model: Any) -> Any:
    """Undo the float16 storage: nncf looks for weights directly at the convolutions."""
    from onnx import numpy_helper

    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in constants]:
        values = numpy_helper.to_array(constants[node.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.initializer.remove(constants[node.input[0]])
        graph.node.remove(node)
    return model


def quantise(source: Path, target: Path, pictures: Sequence[Path]) -> Path:
    """Write `target` (.onnx) and its card from the float model `source`, calibrated on `pictures`.

    Calibrate on training pictures, never on those that measure it. The detection head's box arithmetic stays float:
    it spans hundreds of pixels, which 8 bits cannot.
    """
    try:
        import nncf
        import onnx
    except ImportError as error:
        raise TrainingUnavailable(INSTALL_HINT) from error
    card = read_card(source)
    height, width = card.input
    model = _restore_float(onnx.load(str(source)))
    name = model.graph.input[0].name

    def blob(path: Path) -> dict[str, Any]:
        image = cv2.imread(str(path))
        if image is None:
            raise ValueError(f"the picture {path} cannot be read: replace or remove it")
        return {name: letterbox(np.asarray(image, np.uint8), width, height, card.letterbox)[0]}

    head = [node.name for node in model.graph.node if node.name.startswith("/model.22/") and node.op_type != "Conv"]
    head += [node.name for node in model.graph.node if node.name.startswith("/model.22/dfl")]
    result = nncf.quantize(
        model,
        nncf.Dataset(list(pictures)[:CALIBRATION], blob),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=min(len(pictures), CALIBRATION),
        ignored_scope=nncf.IgnoredScope(names=sorted(set(head)), validate=False),
    )
    _fold_weights(result)
    onnx.checker.check_model(result)
    onnx.save(result, str(target))
    facts = card.model_dump(mode="json")
    facts |= {"name": f"{card.name}-int8", "sha256": sha256(target), "input": [height, width]}
    import yaml

    target.with_suffix(".yaml").write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    return target
