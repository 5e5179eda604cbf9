# SPDX-License-Identifier: AGPL-3.0-or-later
"""int8 from a float model, by calibration with nncf: OpenVINO's own format, for x86 with VNNI.

Not as ONNX with quantise/dequantise pairs: OpenVINO 2026.4 reads YOLOv8's `Split` between such pairs wrongly and
finds nothing, and ONNX Runtime runs them slower than float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from detector.card import read_card
from detector.train.export import sha256
from detector.train.torch_setup import INSTALL_HINT, TrainingUnavailable
from detector.yolo import Floats, letterbox

CALIBRATION = 200  # pictures; nncf's default is 300, and the ranges settle well before
HEAD = "/model.22/"  # YOLOv8's detection head


def quantise(source: Path, target: Path, pictures: Sequence[Path]) -> Path:
    """Write `target` (.xml with its .bin) and its card from the float model `source`, calibrated on `pictures`.

    Calibrate on training pictures, never on those that measure it. The detection head's box arithmetic stays
    float: it spans hundreds of pixels, which 8 bits cannot.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise TrainingUnavailable(INSTALL_HINT) from error
    card = read_card(source)
    height, width = card.input
    chosen = list(pictures)[:CALIBRATION]
    if not chosen:
        raise ValueError("calibration needs pictures")

    def blob(path: Path) -> Floats:
        image = cv2.imread(str(path))
        if image is None:
            raise ValueError(f"the picture {path} cannot be read: replace or remove it")
        return letterbox(np.asarray(image, np.uint8), width, height, card.letterbox)[0]

    model = openvino.Core().read_model(str(source))
    names = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    head = [n for n, kind in names.items() if n.startswith(HEAD) and (kind != "Convolution" or "/dfl/" in n)]
    result = nncf.quantize(
        model,
        nncf.Dataset(chosen, blob),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(chosen),
        ignored_scope=nncf.IgnoredScope(names=head, validate=False),
    )
    openvino.save_model(result, str(target))
    facts = card.model_dump(mode="json")
    facts |= {"name": f"{card.name}-int8", "sha256": sha256(target), "input": [height, width]}
    target.with_suffix(".yaml").write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    return target
