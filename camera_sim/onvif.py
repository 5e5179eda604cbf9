# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera that turns, as an ONVIF device: SOAP 1.2 over HTTP, the part of the Device, Media and PTZ services that a
patrol needs, with WS-UsernameToken digests. One port per camera, as on a real one.

Positions are ONVIF's generic ones: pan and tilt -1 to 1 (half a turn, 90 degrees), zoom 0 to 1.
"""

from __future__ import annotations

import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal
from xml.sax.saxutils import escape

from camera_sim import snapshot, soap
from camera_sim.auth import Credentials
from camera_sim.mount import Pose
from camera_sim.server import CameraServer
from camera_sim.soap import SCHEMA, Refused
from camera_sim.spec import SceneError

DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
PTZ = "http://www.onvif.org/ver20/ptz/wsdl"
LIMIT_BYTES = 65_536
OPEN = {"GetSystemDateAndTime"}
PROFILE = "main"

Fault = Literal["lies", "jammed", "silent", "refuses", "never_idle", "no_position"]
"""`lies`: says at once that it has arrived. `jammed`: takes orders and stays. `silent`: never answers a PTZ request.
`refuses`: every move. `never_idle`: always MOVING. `no_position`: a status without one."""


@dataclass
class OnvifServer:
    """One camera's ONVIF device on a port of its own (0 takes a free one). Use as a context manager."""

    cameras: CameraServer
    camera_id: str
    host: str = "127.0.0.1"
    port: int = 0
    credentials: Credentials | None = None
    fault: Fault | None = None
    stored: dict[str, tuple[str, Pose]] = field(default_factory=dict)
    """Presets: name and pose by token."""

    def __post_init__(self) -> None:
        mount = self.cameras.mount(self.camera_id)
        for number, each in enumerate(mount.ptz.presets, start=1):
            pose = Pose(each.pan_deg, each.tilt_deg, mount.zoom_for(each.hfov_deg))
            self.stored[str(number)] = (each.name, pose)
        self._closing = threading.Event()
        try:
            self._http = ThreadingHTTPServer((self.host, self.port), _handler(self))
        except OSError as error:
            raise SceneError(
                f"ONVIF cannot listen on {self.host} port {self.port} ({error.strerror}): stop what uses it or choose "
                "another with --onvif-port"
            ) from error
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.1,), name="onvif", daemon=True)

    @property
    def url(self) -> str:
        """Where the device answers."""
        return f"http://{self.host}:{self.port}"

    def __enter__(self) -> OnvifServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def answer(self, body: bytes) -> tuple[int, bytes]:
        """HTTP status and SOAP envelope for a request."""
        try:
            root, operation = soap.read(body)
            namespace, _, name = operation.tag.removeprefix("{").partition("}")
            if self.credentials is not None and name not in OPEN:
                soap.authenticate(root, self.credentials)
            if namespace == PTZ and self.fault == "silent":
                self._closing.wait(60)
            found = OPERATIONS.get((namespace, name))
            if found is None:
                raise Refused("ter:ActionNotSupported", f"{name} is not known here")
            inner = found(self, operation)
        except Refused as refused:
            return 400, soap.fault(refused.subcode, str(refused))
        return 200, soap.envelope(f'<n:{name}Response xmlns:n="{namespace}">{inner}</n:{name}Response>')

    def now(self) -> float:
        """The mount's time."""
        return self.cameras.scene_s(self.camera_id)

    def move(self, to: Pose) -> str:
        """Turn, unless that is refused or jammed."""
        self.require_moving()
        if self.fault != "jammed":
            self.cameras.mount(self.camera_id).move(to, self.now())
        return ""

    def require_moving(self) -> None:
        """Raises Refused when moves are."""
        if self.fault == "refuses":
            raise Refused("ter:Action", "the motor is switched off")


def _position(pose: Pose) -> str:
    pan = ((pose.pan_deg + 180) % 360 - 180) / 180
    return (
        f'<tt:PanTilt x="{pan:.6f}" y="{pose.tilt_deg / 90:.6f}" '
        'space="http://www.onvif.org/ver10/tptz/PanTiltSpaces/PositionGenericSpace"/>'
        f'<tt:Zoom x="{pose.zoom:.6f}" space="http://www.onvif.org/ver10/tptz/ZoomSpaces/PositionGenericSpace"/>'
    )


def _vector(operation: ET.Element, name: str) -> tuple[float | None, float | None, float | None]:
    """Pan, tilt and zoom of a vector in a request, None where it names none."""
    found = operation.find(f"{{{PTZ}}}{name}")
    turn = found.find(f"{{{SCHEMA}}}PanTilt") if found is not None else None
    zoom = found.find(f"{{{SCHEMA}}}Zoom") if found is not None else None
    try:
        return (
            None if turn is None else float(turn.get("x", "")),
            None if turn is None else float(turn.get("y", "")),
            None if zoom is None else float(zoom.get("x", "")),
        )
    except ValueError:
        raise Refused("ter:InvalidArgVal", f"{name} holds what is no number") from None


def _text(operation: ET.Element, name: str) -> str | None:
    found = operation.find(f"{{{PTZ}}}{name}")
    return None if found is None else found.text


def _get_time(server: OnvifServer, _: ET.Element) -> str:
    now = datetime.now(UTC)
    return (
        "<n:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
        f"<tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
        f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
        f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime></n:SystemDateAndTime>"
    )


def _get_services(server: OnvifServer, _: ET.Element) -> str:
    version = "<n:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></n:Version>"
    return "".join(
        f"<n:Service><n:Namespace>{name}</n:Namespace><n:XAddr>{server.url}/onvif/{path}</n:XAddr>{version}</n:Service>"
        for name, path in ((DEVICE, "device_service"), (MEDIA, "media_service"), (PTZ, "ptz_service"))
    )


def _get_information(server: OnvifServer, _: ET.Element) -> str:
    return (
        "<n:Manufacturer>Straw 1530</n:Manufacturer><n:Model>camera-sim</n:Model><n:FirmwareVersion>1"
        f"</n:FirmwareVersion><n:SerialNumber>{server.camera_id}</n:SerialNumber><n:HardwareId>simulated</n:HardwareId>"
    )


def _get_profiles(server: OnvifServer, _: ET.Element) -> str:
    return f'<n:Profiles token="{PROFILE}" fixed="true"><tt:Name>{server.camera_id}</tt:Name></n:Profiles>'


def _uri(url: str) -> str:
    return (
        f"<n:MediaUri><tt:Uri>{url}</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
        "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></n:MediaUri>"
    )


def _get_presets(server: OnvifServer, _: ET.Element) -> str:
    return "".join(
        f'<n:Preset token="{token}"><tt:Name>{escape(name)}</tt:Name><tt:PTZPosition>{_position(pose)}'
        "</tt:PTZPosition></n:Preset>"
        for token, (name, pose) in server.stored.items()
    )


def _set_preset(server: OnvifServer, operation: ET.Element) -> str:
    token = _text(operation, "PresetToken") or str(len(server.stored) + 1)
    name = _text(operation, "PresetName") or f"preset {token}"
    server.stored[token] = (name, server.cameras.mount(server.camera_id).pose(server.now()))
    return f"<n:PresetToken>{escape(token)}</n:PresetToken>"


def _goto_preset(server: OnvifServer, operation: ET.Element) -> str:
    found = server.stored.get(_text(operation, "PresetToken") or "")
    if found is None:
        raise Refused("ter:NoToken", "there is no such preset")
    return server.move(found[1])


def _absolute_move(server: OnvifServer, operation: ET.Element) -> str:
    pan, tilt, zoom = _vector(operation, "Position")
    last = server.cameras.mount(server.camera_id).target
    return server.move(
        Pose(
            last.pan_deg if pan is None else 180 * pan,
            last.tilt_deg if tilt is None else 90 * tilt,
            last.zoom if zoom is None else zoom,
        )
    )


def _relative_move(server: OnvifServer, operation: ET.Element) -> str:
    pan, tilt, zoom = _vector(operation, "Translation")
    here = server.cameras.mount(server.camera_id).pose(server.now())
    return server.move(Pose(here.pan_deg + 180 * (pan or 0), here.tilt_deg + 90 * (tilt or 0), here.zoom + (zoom or 0)))


def _continuous_move(server: OnvifServer, operation: ET.Element) -> str:
    server.require_moving()
    pan, tilt, zoom = (min(1.0, max(-1.0, each or 0.0)) for each in _vector(operation, "Velocity"))
    if server.fault != "jammed":
        server.cameras.mount(server.camera_id).drive(pan, tilt, zoom, server.now())
    return ""


def _stop(server: OnvifServer, _: ET.Element) -> str:
    server.cameras.mount(server.camera_id).stop(server.now())
    return ""


def _get_status(server: OnvifServer, _: ET.Element) -> str:
    mount, now = server.cameras.mount(server.camera_id), server.now()
    moving = server.fault == "never_idle" or (mount.moving(now) and server.fault != "lies")
    pose = mount.target if server.fault == "lies" else mount.pose(now)
    position = "" if server.fault == "no_position" else f"<tt:Position>{_position(pose)}</tt:Position>"
    state = "MOVING" if moving else "IDLE"
    return (
        f"<n:PTZStatus>{position}<tt:MoveStatus><tt:PanTilt>{state}</tt:PanTilt><tt:Zoom>{state}</tt:Zoom>"
        f"</tt:MoveStatus><tt:UtcTime>{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</tt:UtcTime></n:PTZStatus>"
    )


OPERATIONS: dict[tuple[str, str], Callable[[OnvifServer, ET.Element], str]] = {
    (DEVICE, "GetSystemDateAndTime"): _get_time,
    (DEVICE, "GetServices"): _get_services,
    (DEVICE, "GetDeviceInformation"): _get_information,
    (MEDIA, "GetProfiles"): _get_profiles,
    (MEDIA, "GetStreamUri"): lambda server, _: _uri(server.cameras.url(server.camera_id)),
    (MEDIA, "GetSnapshotUri"): lambda server, _: _uri(f"{server.url}/snapshot.jpg"),
    (PTZ, "GetPresets"): _get_presets,
    (PTZ, "SetPreset"): _set_preset,
    (PTZ, "GotoPreset"): _goto_preset,
    (PTZ, "AbsoluteMove"): _absolute_move,
    (PTZ, "RelativeMove"): _relative_move,
    (PTZ, "ContinuousMove"): _continuous_move,
    (PTZ, "Stop"): _stop,
    (PTZ, "GetStatus"): _get_status,
}


def _handler(server: OnvifServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= LIMIT_BYTES:
                self.send_error(413)
                return
            status, body = server.answer(self.rfile.read(length))
            self.send_response(status)
            self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path == "/snapshot.jpg":
                snapshot.send(self, server.cameras, server.camera_id, server.credentials)
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not logged."""

    return Handler
