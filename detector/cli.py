# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 detector`: run an edge box, check its settings, look into its outbox."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from detector import memory
from detector.check import check
from detector.clock import SystemClock
from detector.config import EdgeSettings, read_settings
from detector.errors import ConfigError, DetectorError
from detector.link.outbox import look_into
from detector.link.timekeeper import Timekeeper
from detector.planning.plan_cli import judge_plan
from detector.run import Service
from detector.upkeep.effective import settings_in_use
from detector.upkeep.versions import Versions

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
    actions = {"check": _check, "outbox": _list_outbox}
    try:
        if args.command == "run":
            return _run(args.file, args.strict)
        return actions[args.command](settings_in_use(args.file))
    except DetectorError as error:
        print(f"straw1530 detector: {error}", file=sys.stderr)
        return 2


def _require_plan(settings: EdgeSettings, strict: bool) -> None:
    """Say what cannot keep the minute; raises ConfigError when that was to be refused."""
    _, refusals = judge_plan(settings)
    for refusal in refusals:
        log.warning("%s", refusal)
    if refusals and strict:
        raise ConfigError("the plan is refused: " + "; ".join(refusals))


def _run(file: Path, strict: bool) -> int:
    memory.give_back()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    installed = read_settings(file)
    with _alone(installed.data_dir):
        versions = Versions(installed.versions_path())
        versions.starting()
        again = _start(file, versions, strict, stop)
    log.info("%s: %s", installed.edge, "starting again" if again else "stopped")
    if again:
        # The same process with the same words, so that whoever supervises it need not know.
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606
    return 0


def _start(file: Path, versions: Versions, strict: bool, stop: threading.Event) -> bool:
    """Run; True when the box is to be started again, as when new settings do not even let it start."""
    settings = settings_in_use(file, versions)
    try:
        _require_plan(settings, strict)
        service = Service(settings, file, Timekeeper(SystemClock()), versions, os.environ.get("NOTIFY_SOCKET"))
    except DetectorError as error:
        if "settings" not in versions.on_trial():
            raise
        versions.roll_back("settings", str(error))
        return True
    return service.run(stop)


def _check(settings: EdgeSettings) -> int:
    results = check(settings, SystemClock())
    widest = max(len(result.what) for result in results)
    for result in results:
        print(f"{result.what:<{widest}}  {'ok  ' if result.good else 'FAIL'}  {result.text}")
    return 0 if all(result.good for result in results) else 1


def _list_outbox(settings: EdgeSettings) -> int:
    path = settings.outbox_path()
    waiting = look_into(path) if path.exists() else []
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
