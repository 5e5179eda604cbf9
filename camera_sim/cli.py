# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 camera-sim`: serve simulated lookout cameras over RTSP until told to stop."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from camera_sim.auth import Credentials
from camera_sim.control import ControlServer
from camera_sim.onvif import OnvifServer
from camera_sim.server import CameraServer, open_camera
from camera_sim.spec import SceneError, builtin_scenes, load_spec

DEFAULT_SCENE = "quzhou-west"


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT; 0 then, 2 with one sentence when it cannot start."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    if args.list_scenes:
        for name, path in builtin_scenes().items():
            print(f"{name:<22} {load_spec(path).note}")
        return 0
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        _serve(args, stop)
    except SceneError as error:
        print(f"straw1530 camera-sim: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="straw1530 camera-sim", description=__doc__)
    parser.add_argument(
        "--scene",
        action="extend",
        nargs="+",
        metavar="SCENE",
        default=None,
        help="a built-in scene's name, a scene file (.yaml), a video file, or a folder of pictures",
    )
    parser.add_argument("--fps", type=float, default=10, help="pictures a second of a folder (default 10)")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve RTSP on")
    parser.add_argument("--port", type=int, default=8554, help="RTSP port; 0 takes a free one")
    parser.add_argument("--control-port", type=int, default=8555, help="control port on loopback; 0 takes a free one")
    parser.add_argument(
        "--onvif-port",
        type=int,
        default=8580,
        help="port of the first camera that turns, the next ones count on; 0 takes free ones (default %(default)s)",
    )
    parser.add_argument("--truth", type=Path, metavar="DIR", help="write each scene's ground truth here")
    parser.add_argument("--user", help="require this user, with --password-file")
    parser.add_argument("--password-file", type=Path, help="file whose first line is the password")
    parser.add_argument("--list-scenes", action="store_true", help="list the built-in scenes and exit")
    return parser


def _serve(args: argparse.Namespace, stop: threading.Event) -> None:
    if not 0 < args.fps <= 60:
        raise SceneError(f"--fps {args.fps:g}: choose a rate above 0 and at most 60")
    ports = {"--port": args.port, "--control-port": args.control_port, "--onvif-port": args.onvif_port}
    for option, port in ports.items():
        if not 0 <= port <= 65535:
            raise SceneError(f"{option} {port}: choose a port from 0 to 65535")
    cameras = [open_camera(scene, args.fps) for scene in args.scene or [DEFAULT_SCENE]]
    server = CameraServer(cameras, args.host, args.port, args.truth, _credentials(args))
    with ExitStack() as stack:
        stack.enter_context(server)
        control = stack.enter_context(ControlServer(server, args.control_port))
        for camera in cameras:
            print(server.url(camera.id))
        print(f"control: http://127.0.0.1:{control.port}/cameras", flush=True)
        for number, turning in enumerate(server.turning()):
            port = args.onvif_port + number if args.onvif_port else 0
            device = stack.enter_context(OnvifServer(server, turning, args.host, port, server.credentials))
            print(f"onvif: {device.url}/onvif/device_service ({turning})", flush=True)
        while not stop.wait(1):
            pass


def _credentials(args: argparse.Namespace) -> Credentials | None:
    if (args.user is None) != (args.password_file is None):
        raise SceneError("--user and --password-file belong together: give both or neither")
    if args.user is None:
        return None
    try:
        lines = args.password_file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SceneError(f"{args.password_file}: the password file cannot be read ({error.strerror})") from error
    if not lines or not lines[0]:
        raise SceneError(f"{args.password_file}: the first line is the password, and it is empty")
    return Credentials(args.user, lines[0])
