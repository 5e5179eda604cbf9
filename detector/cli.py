# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 detector`: run an edge box, check its settings, look into its outbox."""

from __future__ import annotations

import argparse
import fcntl
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detector.box import EdgeBox
from detector.check import check
from detector.clock import SystemClock
from detector.config import EdgeSettings, read_settings
from detector.errors import ConfigError, DetectorError
from detector.model import load_model
from detector.outbox import Outbox
from detector.plan_cli import judge_plan
from detector.publisher import Publisher
from detector.rtsp import RtspSource
from detector.timekeeper import Timekeeper

log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """0 when all went well, 1 when a check failed, 2 when the box cannot start."""
    parser = argparse.ArgumentParser(prog="straw1530 detector", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "watch the cameras until told to stop"),
        ("check", "try each stream, the model and the broker, and print what came of it"),
        ("outbox", "list what waits to be sent and what the server refused"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("file", type=Path, metavar="FILE", help="the box's settings (YAML)")
        if name == "run":
            command.add_argument("--strict", action="store_true", help="refuse a plan that cannot keep one minute")
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr, force=True
    )
    actions = {"run": _run, "check": _check, "outbox": _list_outbox}
    try:
        settings = read_settings(args.file)
        if args.command == "run":
            _require_plan(settings, args.strict)
        return actions[args.command](settings)
    except DetectorError as error:
        print(f"straw1530 detector: {error}", file=sys.stderr)
        return 2


def _require_plan(settings: EdgeSettings, strict: bool) -> None:
    """Say what cannot keep the minute; raises ConfigError when that was to be refused, or cannot be done at all."""
    for camera in settings.cameras:
        if camera.patrol is not None:
            raise ConfigError(
                f"camera {camera.id}: a patrol can be planned (`straw1530 plan`), but this version does not move "
                "cameras: leave it out, and have the camera stand at one preset"
            )
    _, refusals = judge_plan(settings)
    for refusal in refusals:
        log.warning("%s", refusal)
    if refusals and strict:
        raise ConfigError("the plan is refused: " + "; ".join(refusals))


def _run(settings: EdgeSettings) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock = Timekeeper(SystemClock())
    broker = settings.broker_access()
    with _alone(settings.data_dir):
        outbox = Outbox(settings.outbox_path())
        model = load_model(settings.model.path, settings.model.backend, settings.model.threads)
        log.info(
            "edge %s: %d cameras, model %s %s by %s",
            settings.edge,
            len(settings.cameras),
            model.card.name,
            model.card.version,
            model.backend,
        )
        publisher = Publisher(settings.edge, broker, outbox, clock)
        EdgeBox(settings, model, outbox, publisher, clock, RtspSource).run(stop)
    log.info("edge %s: stopped", settings.edge)
    return 0


def _check(settings: EdgeSettings) -> int:
    results = check(settings, SystemClock())
    widest = max(len(result.what) for result in results)
    for result in results:
        print(f"{result.what:<{widest}}  {'ok  ' if result.good else 'FAIL'}  {result.text}")
    return 0 if all(result.good for result in results) else 1


def _list_outbox(settings: EdgeSettings) -> int:
    path = settings.outbox_path()
    waiting = Outbox(path).listing() if path.exists() else []
    for item in waiting:
        state = "waiting" if item.parked is None else f"refused: {item.parked}"
        print(f"{item.stored_at}  {item.part:<8}  {item.id}  {item.size:>9} bytes  {state}")
    parked = sum(item.parked is not None for item in waiting)
    print(f"{len(waiting) - parked} waiting, {parked} refused")
    return 0


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this process; the system lets go of it however the process ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        handle = (data_dir / "lock").open("w")
    except OSError as error:
        raise ConfigError(f"data_dir {data_dir} cannot be written ({error.strerror}): check its owner") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"another detector already runs on data_dir {data_dir}: stop it, or give this one its own folder"
            ) from error
        yield
