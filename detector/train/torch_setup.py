# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one door to torch and ultralytics: quiet, offline, seeded, and working beside CPU torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

INSTALL_HINT = (
    "training needs the 'train' extra: python -m venv .venv-train && "
    ".venv-train/bin/pip install -c constraints-train.txt -e '.[train]'"
)


class TrainingUnavailable(RuntimeError):
    """torch or ultralytics is not installed on this machine."""


def _offline() -> None:
    """ultralytics phones home and installs packages by default; it may do neither here."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    folder = Path(tempfile.gettempdir()) / f"straw1530-ultralytics-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(folder))


def _torchvision_operators(torch: Any) -> None:
    """Registry wheels of torchvision do not load their native operators beside CPU torch.

    The native library is tried first; only when it does not load are the two operators that YOLO needs
    registered in Python, with ultralytics' own non-maximum suppression.
    """
    import importlib.util

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return
    try:
        torch.ops.load_library(str(Path(spec.submodule_search_locations[0]) / "_C.so"))
        return
    except OSError:
        pass
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

        def suppress(dets: Any, scores: Any, iou_threshold: float) -> Any:
            from ultralytics.utils.nms import TorchNMS

            return TorchNMS.nms(dets, scores, iou_threshold)

        library.impl(name, suppress, "CPU")
    _kept.append(library)  # a registration lives as long as its library object
    import torchvision

    torchvision.extension._has_ops = lambda: True


_kept: list[Any] = []


def ultralytics(threads: int | None = None) -> Any:
    """The ultralytics package, ready to use.

    `threads` bounds torch's own threads. Raises TrainingUnavailable with the command that installs it.
    """
    _offline()
    try:
        import torch
    except ImportError as error:
        raise TrainingUnavailable(INSTALL_HINT) from error
    if threads:
        torch.set_num_threads(threads)
    _torchvision_operators(torch)
    try:
        import ultralytics as package
    except ImportError as error:
        raise TrainingUnavailable(INSTALL_HINT) from error
    package.settings.update({"sync": False})
    return package
