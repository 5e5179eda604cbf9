# SPDX-License-Identifier: AGPL-3.0-or-later
"""The demo's place on this machine: its folder, its ports, its secrets, its one or two camera sites."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from camera_sim.spec import SceneSpec, builtin_scenes, load_spec

HOST = "127.0.0.1"


class DemoError(Exception):
    """The demo cannot go on; the sentence names the thing and the mend."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All of the demo's ports, counted up from the pages' one: 1530, 1531, …"""

    web: int = 1530

    @property
    def broker(self) -> int:
        """MQTT."""
        return self.web + 1

    @property
    def rtsp(self) -> int:
        """The simulated cameras."""
        return self.web + 2

    @property
    def cameras(self) -> int:
        """The simulator's control interface."""
        return self.web + 3

    @property
    def sms(self) -> int:
        """The SMS peer and its page of phones."""
        return self.web + 4

    def check_free(self) -> None:
        """Raise DemoError naming the first port that something else uses, or that is none."""
        if not 0 < self.web <= 65531:
            raise DemoError(f"{self.web} is no port to begin with: give one from 1 to 65531")
        for port in (self.web, self.broker, self.rtsp, self.cameras, self.sms):
            try:
                socket.create_server((HOST, port)).close()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise DemoError(f"port {port} on {HOST} cannot be opened: {error.strerror}") from None
                raise DemoError(
                    f"port {port} on {HOST} is in use: stop the program that uses it,"
                    " or choose other ports with `make demo PORT=2530`"
                ) from None


@dataclass(frozen=True, slots=True)
class CameraSite:
    """A tower: one edge box with one camera, and the village its fire burns in."""

    edge: str
    scene: SceneSpec
    county: str
    village: str  # whose people answer, in the demo region

    @property
    def camera(self) -> str:
        """The camera's id."""
        return self.scene.camera.id

    @property
    def people(self) -> dict[str, str]:
        """Who has a part in this site's fires: part → login."""
        return {
            "owner": f"owner-{self.village}",
            "deputy": f"deputy-{self.village}",
            "township": f"leader-{self.village[:9]}",
            "county": f"duty-{self.county}",
            "city": f"duty-{self.county[:4]}00",
        }


def _site(scene: str, edge: str, village: str) -> CameraSite:
    return CameraSite(edge, load_spec(builtin_scenes()[scene]), village[:6], village)


def default_sites() -> list[CameraSite]:
    """The towers of the demo. Villages have invented borders: see demo/region/README.md."""
    return [
        _site("quzhou-west", "edge-shiliang", "330802100208"),
        _site("quzhou-dusk", "edge-huzhen", "330825101239"),
    ]


def logins_of(sites: Sequence[CameraSite]) -> list[str]:
    """Those with a part in the sites' fires, each once, and the admin."""
    return [*dict.fromkeys(login for site in sites for login in site.people.values()), "admin"]


@dataclass(frozen=True)
class Demo:
    """Everything the demo knows about itself before it starts."""

    data: Path
    ports: Ports
    sites: Sequence[CameraSite]
    # The user's own input instead of the simulated camera's scene: an RTSP URL, a video file or a folder.
    video: str | None = None
    video_fps: float = 1.0
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def video_is_stream(self) -> bool:
        """Whether the user's own input is read where it is, and not served by the simulator."""
        return self.video is not None and "://" in self.video

    @property
    def server_data(self) -> Path:
        """STRAW1530_DATA."""
        return self.data / "server"

    @property
    def broker_users(self) -> Path:
        """The broker's password file."""
        return self.data / "broker-users"

    def edge_file(self, site: CameraSite) -> Path:
        """An edge box's settings."""
        return self.data / site.edge / "edge.yaml"

    def secret(self, name: str) -> str:
        """A secret of this demo by name, e.g. ``mqtt:engine`` or ``login:admin``."""
        return self.secrets[name]

    def logins(self) -> list[str]:
        """The people who can log in, in the order of their parts."""
        return logins_of(self.sites)

    def server_env(self) -> dict[str, str]:
        """The environment of the server's processes, without the broker's user."""
        return {
            "STRAW1530_DATA": str(self.server_data),
            "STRAW1530_SECRET_KEY": self.secret("session-key"),
            "STRAW1530_TWILIO_SID": self.secret("twilio-sid"),
            "STRAW1530_TWILIO_TOKEN": self.secret("twilio-token"),
            "STRAW1530_TWILIO_FROM": "+12025550153",
            "STRAW1530_TWILIO_VOICE_FROM": "+12025550154",
            "STRAW1530_TWILIO_BASE_URL": f"http://{HOST}:{self.ports.sms}",
            "STRAW1530_TWILIO_CALLBACK_URL": f"http://{HOST}:{self.ports.web}/callbacks/twilio/status",
        }

    def mqtt_env(self, user: str) -> dict[str, str]:
        """STRAW1530_MQTT for one of the broker's users."""
        return {"STRAW1530_MQTT": f"{user}:{self.secret(f'mqtt:{user}')}@{HOST}:{self.ports.broker}"}


def load_secrets(path: Path, sites: Sequence[CameraSite]) -> dict[str, str]:
    """Read the demo's secrets, making those that are missing. They are made here, once, and never leave the folder."""
    logins = logins_of(sites)
    known: dict[str, str] = {}
    if path.exists():
        known = json.loads(path.read_text())
    wanted = {"session-key": 32, "twilio-token": 16}
    for name, size in wanted.items():
        known.setdefault(name, secrets.token_hex(size))
    known.setdefault("twilio-sid", "AC" + secrets.token_hex(16))
    for user in ("engine", "dispatch", *(site.edge for site in sites), *logins):
        known.setdefault(f"mqtt:{user}", secrets.token_hex(16))
    for login in logins:
        known.setdefault(f"login:{login}", _password())
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(known, file, indent=1)
    temporary.replace(path)
    return known


def _password() -> str:
    """Ten characters that are easy to type on a phone."""
    return "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(10))
