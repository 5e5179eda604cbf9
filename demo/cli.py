# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 demo``: the whole loop on this machine."""

from __future__ import annotations

import argparse
import fcntl
import json
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from demo.director import Director
from demo.prepare import Say, prepare, stream_url
from demo.script import ScriptedFire
from demo.site import HOST, Demo, DemoError, Ports, default_sites, load_secrets
from demo.stack import specs
from demo.supervisor import Log, Supervisor


class _Stop(Exception):
    """Ctrl-C or SIGTERM."""


def main(argv: Sequence[str]) -> int:
    """0 when stopped by hand or when the scripted fire was closed; 1 when it was not; 2 when the demo cannot start."""
    args = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stop)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f} s] {text}", flush=True)

    try:
        with _alone(args.data):
            demo = _demo(args)
            demo.ports.check_free()
            say("setting up the demo")
            prepare(demo, say)
            return _run(demo, args, say)
    except _Stop:
        return 0
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="straw1530 demo",
        description="Run the whole loop on this machine: cameras, edge box, broker, server, dispatcher, phones.",
    )
    parser.add_argument("--once", action="store_true", help="run one scripted fire and exit: 0 once it is closed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="with --once: write every stamp and interval here")
    parser.add_argument(
        "--video",
        metavar="SOURCE",
        help="your own camera instead of the simulated one: an RTSP URL, a video file or a folder of pictures",
    )
    parser.add_argument("--fps", type=float, default=1.0, help="pictures a second of a folder given by --video")
    parser.add_argument("--port", type=int, default=1530, help="first of five ports (default 1530)")
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="the demo's folder (default data/demo)")
    return parser


def _demo(args: argparse.Namespace) -> Demo:
    video = args.video or None
    if video is not None and "://" not in video:
        if not Path(video).exists():
            raise DemoError(f"there is no file or folder {video}: give an RTSP URL, a video file or a folder")
        video = str(Path(video).resolve())
    if video is not None and args.once:
        raise DemoError("--once runs the scripted fire of the simulated camera: leave --video out")
    # One's own video, or the scripted fire, needs one tower; two show that each county sees its own.
    sites = default_sites()[:1] if video is not None or args.once else default_sites()
    secrets = load_secrets(args.data / "secrets.json", sites)
    return Demo(args.data.resolve(), Ports(args.port), sites, video, args.fps, secrets)


def _run(demo: Demo, args: argparse.Namespace, say: Say) -> int:
    log = Log(demo.data / "demo.log", echo=not args.once)
    try:
        with Supervisor(specs(demo), log) as supervisor:
            if args.once:
                return _once(demo, supervisor, args.json, say)
            _welcome(demo)
            director = Director(demo, log)
            while True:
                supervisor.step()
                director.step(asked=_enter_pressed())
                time.sleep(0.5)
    except _Stop:
        print("\nstopping …", flush=True)
        return 0
    finally:
        log.close()


def _once(demo: Demo, supervisor: Supervisor, out: Path | None, say: Say) -> int:
    say(f"the processes run; their log is {demo.data / 'demo.log'}")
    report = ScriptedFire(demo, demo.sites[0], supervisor.step, say).run()
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    else:
        print(text)
    if report["ok"]:
        say(f"incident {report['incident']} was closed; all stamps are there")
        return 0
    print(f"demo: the hop {report['failed_hop']!r} failed: {report['reason']}", file=sys.stderr)
    return 1


_EXPECT = (
    "  What to expect: a fire is lit some seconds after the edge box sees its camera. Within a minute the console",
    "  shows an incident with its clocks running, and the worker's phone page and the texts show it too.",
    "  Press Enter to light another fire, Ctrl-C to stop.",
)
_EXPECT_VIDEO = (
    "  What to expect: as soon as smoke is confirmed in your pictures, the console shows an incident. Its place is",
    "  invented: nobody knows where your camera stands. Recordings begin again at their end. Ctrl-C to stop.",
)


def _welcome(demo: Demo) -> None:
    ports = demo.ports
    lines = ["", f"  console  http://{HOST}:{ports.web}/console", f"  phone    http://{HOST}:{ports.web}/w"]
    lines += [f"  texts    http://{HOST}:{ports.sms}/", ""]
    for site in demo.sites:
        lines.append(f"  {site.scene.camera.name}: {stream_url(demo, site) if demo.video is None else demo.video}")
        shown = ["county", "owner"] if len(demo.sites) == 1 else ["county", "owner", "township"]
        lines += [
            f"    {part:<9} {'console' if part == 'county' else 'phone':<8} {login:<20} {demo.secret(f'login:{login}')}"
            for part, login in site.people.items()
            if part in shown
        ]
    city = demo.sites[0].people["city"]
    lines += [
        f"  the whole city     console  {city:<20} {demo.secret(f'login:{city}')}",
        "",
        *(_EXPECT if demo.video is None else _EXPECT_VIDEO),
        "  Answer on the phone page: accept, arrive, photograph, report it done; then verify and close on the console.",
        "",
    ]
    print("\n".join(lines), flush=True)


def _enter_pressed() -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        return False
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready and sys.stdin.readline())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One demo in a folder at a time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise DemoError(f"the folder {folder} cannot be used: {error.strerror}; give another with --data") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoError(
                f"a demo is already running in {folder}: stop it first, or give --data and --port"
            ) from None
        yield


def _raise_stop(*_: object) -> None:
    raise _Stop
