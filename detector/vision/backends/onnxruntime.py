# SPDX-License-Identifier: AGPL-3.0-or-later
"""ONNX Runtime: runs everywhere, ARM included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from detector.errors import ModelError
from detector.vision.backends.onnx import OnnxModel
from detector.vision.card import ModelCard
from detector.vision.yolo import Floats

# Its errors share no base of their own.
UNLOADABLE = (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.RuntimeException)


class OnnxRuntimeModel(OnnxModel):
    """On the processor, with `threads` threads inside one inference."""

    backend = "onnxruntime"

    def __init__(self, path: Path, card: ModelCard, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0].name
            _, _, *size = self._session.get_inputs()[0].shape
            super().__init__(path, card, free=not all(isinstance(side, int) for side in size))
        except UNLOADABLE as error:
            raise ModelError(f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}") from error

    def _run(self, blob: Floats) -> Floats:
        return np.asarray(self._session.run(None, {self._input: blob})[0], np.float32)


def load(path: Path, card: ModelCard, threads: int) -> OnnxRuntimeModel:
    """See detector.vision.backends."""
    return OnnxRuntimeModel(path, card, threads)
