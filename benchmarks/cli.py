# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench``: run one measurement."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

# name -> ("module:main", one line of help)
BENCHES: dict[str, tuple[str, str]] = {
    "model": ("benchmarks.model:main", "ms a frame, cameras a core with and without the gate, int8 beside f32"),
    "discovery": ("benchmarks.discovery:main", "first visible smoke to confirmed sighting, over simulated onsets"),
    "outbox": ("benchmarks.outbox:main", "edge boxes killed -9 while sending: nothing lost or doubled; 48 h of outage"),
    "edge": ("benchmarks.edge:main", "four 1080p cameras through RTSP: processor and memory of the edge box"),
    "confirm": ("benchmarks.confirm:main", "false alarms and finds of the confirmation beside k of the last n frames"),
    "deadlines": ("benchmarks.deadlines:main", "lateness, draining after an outage, silence after an answer"),
    "crash": ("benchmarks.crash:main", "engines killed -9 at random: every step once"),
    "evidence": ("benchmarks.evidence:main", "journal lines made durable and provable, proofs, verification"),
    "dispatch": ("benchmarks.dispatch:main", "alert committed to notice in a subscriber's hand, 100 a second"),
    "surge": ("benchmarks.surge:main", "1,000 incidents for 3 people each in one second"),
    "locate": ("benchmarks.locate:main", "fires placed against ground truth, and the time to ranked grids"),
}


def usage() -> str:
    """The list of measurements, one line each."""
    width = max(map(len, BENCHES))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in BENCHES.items()]
    return "\n".join(["usage: straw1530 bench NAME [options]   (straw1530 bench NAME --help tells more)", "", *lines])


def main(argv: Sequence[str]) -> int:
    """Run one measurement and return its exit status; 2 for one that does not exist."""
    entry = BENCHES.get(argv[0]) if argv else None
    if entry is None:
        print(usage(), file=sys.stderr)
        return 2
    module, _, function = entry[0].partition(":")
    run: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
    return run(argv[1:])
