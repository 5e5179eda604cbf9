# SPDX-License-Identifier: AGPL-3.0-or-later
"""What runs a model. Each module has `load(path, card, threads) -> Model` and imports its own library."""

import sys

# OpenVINO tells its maker of each start, unasked, on a thread that holds the process at its end while it finds no way
# out. Without this package it does without (openvino.tools.ovc.telemetry_utils).
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
