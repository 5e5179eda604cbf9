# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures and how they are written down."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """n, p50, p95, p99 and the maximum."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return (
        {"n": len(values)} | {name: percentile(values, share) for name, share in shares.items()} | {"max": max(values)}
    )


def write(path: Path | None, name: str, figures: dict[str, Any]) -> None:
    """Print the figures, and write them with the machine's load beside them."""
    whole = {"bench": name, "machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg(), **figures}
    text = json.dumps(whole, indent=1)
    print(text)
    if path is not None:
        path.write_text(text + "\n")
