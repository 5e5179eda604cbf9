# SPDX-License-Identifier: AGPL-3.0-or-later
"""OpenVINO: the default on x86."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino

from detector.errors import ModelError
from detector.vision.backends.onnx import OnnxModel
from detector.vision.card import ModelCard
from detector.vision.yolo import Floats


class OpenVinoModel(OnnxModel):
    """A float network at f32: OpenVINO would take bf16 by itself where the processor has it, and results would not
    repeat. What int8 leaves float may go so: it was rounded more before, and it is half of the work."""

    backend = "openvino"

    def __init__(self, path: Path, card: ModelCard, threads: int) -> None:
        settings: dict[str, object] = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Else the looking thread of every process is tied to the first core, however busy that is.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            core = openvino.Core()
            network = core.read_model(str(path))
            if all(each.get_type_name() != "FakeQuantize" for each in network.get_ops()):
                settings["INFERENCE_PRECISION_HINT"] = "f32"
            free = network.input().get_partial_shape()[3].is_dynamic
            # Compiled once for inputs of any size: once for each size is no faster and takes 130 MB each time.
            self._request = core.compile_model(network, "CPU", settings).create_infer_request()
            del network
            super().__init__(path, card, free)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot load {path}: {str(error).splitlines()[0]}") from error

    def _run(self, blob: Floats) -> Floats:
        self._request.infer([blob], share_inputs=True)
        return np.array(self._request.get_output_tensor(0).data, np.float32)


def load(path: Path, card: ModelCard, threads: int) -> OpenVinoModel:
    """See detector.vision.backends."""
    return OpenVinoModel(path, card, threads)
