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

from detector.train.export import sha256
from detector.train.torch_setup import INSTALL_HINT, TrainingUnavailable
from detector.vision.card import read_card
from detector.vision.yolo import Floats, letterbox

CALIBRATION = 200  # pictures; nncf's default is 300, and the ranges settle well before
WIDTH, HEIGHT = 640, 480  # of the training pictures: whole frames and pieces of the band alike
HEAD = "/model.22/"  # YOLOv8's detection head
BOXES = f"{HEAD}cv2."  # its branch that says where
FIRST = ("/model.0/", "/model.1/", "/model.2/")  # its layers at a half and a quarter of the picture's size


def quantise(source: Path, target: Path, pictures: Sequence[Path]) -> Path:
    """Write `target` (.xml with its .bin) and its card from the float model `source`, calibrated on `pictures`.

    Calibrate on training pictures, never on those that measure it. What says where a box lies stays float: it spans
    hundreds of pixels, which 8 bits cannot. So do the first layers, where thin smoke is a faint contrast beside a
    bright sky: they are a tenth of the work, and two thirds of what rounding does to the scores.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise TrainingUnavailable(INSTALL_HINT) from error
    card = read_card(source)
    chosen = list(pictures)[:CALIBRATION]
    if not chosen:
        raise ValueError("calibration needs pictures")

    def blob(path: Path) -> Floats:
        image = cv2.imread(str(path))
        if image is None:
            raise ValueError(f"the picture {path} cannot be read: replace or remove it")
        return letterbox(np.asarray(image, np.uint8), WIDTH, HEIGHT, card.letterbox)[0]

    model = openvino.Core().read_model(str(source))
    model.reshape([1, 3, HEIGHT, WIDTH])
    names = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    kept = [n for n, kind in names.items() if n.startswith(HEAD) and (kind != "Convolution" or "/dfl/" in n)]
    kept += [n for n in names if n.startswith((*FIRST, BOXES))]
    result = nncf.quantize(
        model,
        nncf.Dataset(chosen, blob),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(chosen),
        ignored_scope=nncf.IgnoredScope(names=kept, validate=False),
    )
    result.reshape([1, 3, -1, -1])  # as free as it came
    openvino.save_model(result, str(target))
    facts = card.model_dump(mode="json")
    facts |= {"name": f"{card.name}-int8", "sha256": sha256(target), "input": list(card.input)}
    facts["weights_sha256"] = sha256(target.with_suffix(".bin"))
    target.with_suffix(".yaml").write_text(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))
    return target
