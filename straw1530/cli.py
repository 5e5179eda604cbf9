# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one console command. Each subcommand is loaded only when asked for, so an edge box
without the server's packages still has its own subcommands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence

# name -> ("module:function taking argv and returning the exit status", one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo.cli:main", "run the whole loop on this machine, with a simulated fire or your own video"),
    "web": ("server.web.cli:main", "serve the pages and the API"),
    "engine": ("server.engine.cli:main", "take in sightings and answers, and run the clocks"),
    "dispatch": ("dispatch.cli:main", "find who answers for a place and send the notices"),
    "drill": ("dispatch.drill:main", "send a marked test to chosen people and report who could be reached"),
    "detector": ("detector.cli:main", "run an edge box: watch its cameras and send sightings"),
    "plan": (
        "detector.planning.plan_cli:main",
        "compute and draw how soon cameras find smoke; refuse what is too slow",
    ),
    "replay": ("detector.measure.replay:main", "run detection and confirmation over a video or a folder of frames"),
    "evaluate": ("detector.measure.evaluate:main", "measure a model on labelled images"),
    "train": ("detector.train.cli:main", "train, export and evaluate a model"),
    "camera-sim": ("camera_sim.cli:main", "serve simulated lookout cameras over RTSP"),
    "broker": ("demo.broker:main", "run the embedded MQTT broker (demo and small installations)"),
    "audit": ("server.audit.cli:main", "look whether the clock does its work; 1 when something is wrong"),
    "evidence": ("server.evidence.cli:main", "export an incident's proof, verify one, or check the whole record"),
    "bench": ("benchmarks.cli:main", "measure the parts"),
    "admin": ("server.admin.cli:main", "set up the database, the region, people and cameras"),
}


def usage() -> str:
    """The list of subcommands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: straw1530 COMMAND [options]   (straw1530 COMMAND --help tells more)", "", *lines])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status; 2 for a command that does not exist."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    entry = COMMANDS.get(args[0])
    if entry is None:
        print(f"straw1530: there is no command {args[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    module, _, function = entry[0].partition(":")
    run: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
    return run(args[1:])


if __name__ == "__main__":
    sys.exit(main())
