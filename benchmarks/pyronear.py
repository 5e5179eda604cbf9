# SPDX-License-Identifier: AGPL-3.0-or-later
"""What Pyronear's engine spends on a picture, beside our own in the same run.

Its predictor (pyro-engine 2026, Apache-2.0) shows each picture to a YOLO11s of 1024 × 1024 in ONNX Runtime, float32,
whatever changed. Its weights are not needed to know what that costs: the same network is built untrained. The extra
``train`` builds it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from detector.frame import Image
from detector.train.torch_setup import INSTALL_HINT, TrainingUnavailable
from detector.vision.yolo import letterbox

SIDE = 1024
GREY = 114


def predictor(folder: Path) -> Callable[[Image], object]:
    """What looks at one picture (BGR), by one thread; the network is written into `folder`.

    Raises TrainingUnavailable where ultralytics is not installed.
    """
    try:
        ultralytics = importlib.import_module("ultralytics")
    except ImportError as error:
        raise TrainingUnavailable(INSTALL_HINT) from error
    before = Path.cwd()
    os.chdir(folder)  # the exporter writes where it stands
    try:
        path = ultralytics.YOLO("yolo11s.yaml").export(format="onnx", imgsz=SIDE, device="cpu")
        path = Path(path).resolve()
    finally:
        os.chdir(before)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def look(image: Image) -> object:
        blob, _ = letterbox(np.asarray(image), SIDE, SIDE, GREY)
        return session.run(None, {name: blob})

    return look
