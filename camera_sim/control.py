# SPDX-License-Identifier: AGPL-3.0-or-later
"""The control interface: JSON over HTTP on loopback.

GET /cameras · GET /cameras/<id>/snapshot.jpg
POST /cameras/<id>/<action> with a JSON object of the action's arguments:
ignite {bearing_deg, range_m | lat, lon} · extinguish {} · disturb {kind, seconds} · freeze {} · stall {} ·
unfreeze {} · spoil {damaged, uneven, back_s} · drop {refuse_s} · resize {width, height} ·
turn {pan_deg, tilt_deg, hfov_deg}. Errors answer {"error": sentence} with 400, 404 or 405.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from camera_sim import snapshot
from camera_sim.server import CameraServer
from camera_sim.spec import DisturbanceKind, SceneError

LIMIT_BYTES = 65_536


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Nothing(_Arguments):
    """No argument."""


class Ignite(_Arguments):
    """Where to light a fire: a place, or a bearing and range; neither means straight ahead."""

    bearing_deg: float | None = None
    range_m: float | None = None
    lat: float | None = None
    lon: float | None = None
    note: str = ""


class Disturb(_Arguments):
    """Which disturbance, for how long."""

    kind: DisturbanceKind
    seconds: float = Field(default=30, gt=0, le=86_400)


class Drop(_Arguments):
    """How long to refuse the camera's clients after cutting them."""

    refuse_s: float = Field(default=0, ge=0, le=3600)


class Spoil(_Arguments):
    """What is to be wrong with the stream from now on."""

    damaged: bool = False
    uneven: bool = False
    back_s: float = Field(default=0, ge=0, le=86_400)


class Resize(_Arguments):
    """A new picture size, pixels."""

    width: int
    height: int


class Turn(_Arguments):
    """Where a hand turns the camera; the field of view stays as it is where none is given."""

    pan_deg: float
    tilt_deg: float
    hfov_deg: float | None = Field(default=None, gt=0, lt=180)


def _done(result: Any) -> Any:
    return {"ok": True} if result is None else result


ACTIONS: dict[str, tuple[type[_Arguments], Callable[[CameraServer, str, Any], Any]]] = {
    "ignite": (Ignite, lambda s, c, a: s.ignite(c, **a.model_dump())),
    "extinguish": (Nothing, lambda s, c, a: {"extinguished": s.extinguish(c)}),
    "disturb": (Disturb, lambda s, c, a: s.disturb(c, a.kind, a.seconds)),
    "freeze": (Nothing, lambda s, c, a: s.freeze(c)),
    "stall": (Nothing, lambda s, c, a: s.stall(c)),
    "unfreeze": (Nothing, lambda s, c, a: s.unfreeze(c)),
    "spoil": (Spoil, lambda s, c, a: s.spoil(c, **a.model_dump())),
    "drop": (Drop, lambda s, c, a: {"dropped": s.drop(c, a.refuse_s)}),
    "turn": (Turn, lambda s, c, a: s.turn(c, a.pan_deg, a.tilt_deg, a.hfov_deg)),
    "resize": (Resize, lambda s, c, a: s.resize(c, a.width, a.height)),
}


class ControlServer:
    """The control interface of a running CameraServer, on a loopback port (0 takes a free one)."""

    def __init__(self, cameras: CameraServer, port: int = 0) -> None:
        try:
            self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(cameras))
        except OSError as error:
            raise SceneError(
                f"the control interface cannot listen on 127.0.0.1 port {port} ({error.strerror}): "
                "stop what uses it or choose another with --control-port"
            ) from error
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="control", daemon=True)

    def __enter__(self) -> ControlServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)


def _handler(cameras: CameraServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path.rstrip("/") == "/cameras":
                self._answer(200, {"cameras": cameras.state()})
            elif (shown := _camera_shown(self.path)) in cameras.ids():
                snapshot.send(self, cameras, shown, cameras.credentials)
            else:
                self._answer(404, {"error": f"there is nothing at {self.path}: GET /cameras"})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= LIMIT_BYTES:
                self.close_connection = True
                self._answer(400, {"error": f"the body may have at most {LIMIT_BYTES} bytes"})
                return
            self._answer(*act(cameras, self.path, self.rfile.read(length)))

        def _answer(self, status: int, body: Any) -> None:
            raw = json.dumps(body, ensure_ascii=False).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not logged: the answers say what was done."""

    return Handler


def _camera_shown(path: str) -> str:
    return path.removeprefix("/cameras/").removesuffix("/snapshot.jpg") if path.endswith("/snapshot.jpg") else ""


def act(cameras: CameraServer, path: str, body: bytes) -> tuple[int, Any]:
    """Do what a POST asks; status and JSON answer."""
    parts = path.strip("/").split("/")
    action = ACTIONS.get(parts[2]) if len(parts) == 3 and parts[0] == "cameras" else None
    if action is None:
        return 404, {"error": f"there is nothing at {path}: POST /cameras/<id>/{{{', '.join(ACTIONS)}}}"}
    arguments, run = action
    try:
        return 200, _done(run(cameras, parts[1], arguments.model_validate_json(body or b"{}")))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "body"
        return 400, {"error": f"{field}: {first['msg']}"}
    except SceneError as error:
        return 400, {"error": str(error)}
    except KeyError as error:
        return 404, {"error": str(error.args[0])}
