# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's processes: the same commands an installation runs."""

from __future__ import annotations

import sys

from demo.prepare import scene_file
from demo.site import HOST, Demo
from demo.supervisor import Spec


def specs(demo: Demo) -> list[Spec]:
    """All processes, in the order in which they start."""
    ports, server = demo.ports, demo.server_env()
    found = [
        _spec("broker", "broker", "--host", HOST, "--port", ports.broker, "--users", demo.broker_users),
        _cameras(demo),
        Spec(
            "sms-peer",
            [sys.executable, "-m", "demo.sms_peer", "--port", str(ports.sms)],
            {name: server[name] for name in ("STRAW1530_TWILIO_SID", "STRAW1530_TWILIO_TOKEN")},
        ),
        _spec("web", "web", "--host", HOST, "--port", ports.web, env=server),
        _spec("engine", "engine", "--name", "engine-demo", env=server | demo.mqtt_env("engine")),
        _spec("dispatch", "dispatch", env=server | demo.mqtt_env("dispatch")),
    ]
    found += [_spec(site.edge, "detector", "run", demo.edge_file(site)) for site in demo.sites]
    return found


def _cameras(demo: Demo) -> Spec:
    scenes: list[object] = [scene_file(demo, site) for site in demo.sites]
    extra: list[object] = []
    if demo.video is not None and not demo.video_is_stream:
        scenes, extra = [demo.video], ["--fps", demo.video_fps]
    return _spec(
        "camera-sim",
        "camera-sim",
        *("--scene", *scenes),
        *("--host", HOST, "--port", demo.ports.rtsp, "--control-port", demo.ports.cameras),
        *("--truth", demo.data / "truth"),
        *extra,
    )


def _spec(name: str, *command: object, env: dict[str, str] | None = None) -> Spec:
    return Spec(name, [sys.executable, "-m", "straw1530.cli", *map(str, command)], env or {})
