# SPDX-License-Identifier: AGPL-3.0-or-later
"""One scripted fire, hop by hop, done the way people do it: over the camera's stream, the phone's MQTT topic,
the SMS peer and the web API. It looks into nobody's database."""

from __future__ import annotations

import io
import platform
import time
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import av
from PIL import Image

from demo.phone import MqttPhone
from demo.prepare import stream_url
from demo.simulator import Simulator, SimulatorAway, lit_at
from demo.site import HOST, CameraSite, Demo, DemoError
from demo.visitor import Visitor
from server.domain.place import distance_m

T = TypeVar("T")


class HopFailed(DemoError):
    """The loop did not close; ``hop`` says where."""

    def __init__(self, hop: str, reason: str) -> None:
        super().__init__(f"the hop {hop!r} failed: {reason}")
        self.hop = hop
        self.reason = reason


@dataclass
class ScriptedFire:
    """Runs one fire from ignition to close. ``tick`` is called while waiting (the supervisor's step)."""

    demo: Demo
    site: CameraSite
    tick: Callable[[], None]
    say: Callable[[str], None]
    patience: float = 1.0  # multiplies every time-out
    report: dict[str, Any] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """Run all hops; returns the report, whose ``ok`` tells. Never raises for a loop that does not close."""
        self.report = {"ok": False, "started_at": _now(), "machine": _machine(), "hops": []}
        try:
            self._run()
        except HopFailed as error:
            self.report |= {"failed_hop": error.hop, "reason": error.reason}
        self.report["ended_at"] = _now()
        return self.report

    def _run(self) -> None:
        people = self.site.people
        with self._hop("pages"):
            worker = self._visitor("pages", people["owner"])
            county = self._visitor("pages", people["county"])
        with self._hop("stream"):
            self._wait("stream", 60, lambda: self._camera_is_seen(county), "the edge box reports no good picture")
        with self._phone(people["owner"]) as phone:
            truth, code = self._discover(county)
            with self._hop("dispatch"):
                self._wait("dispatch", 20, lambda: self._told(county, code, "dispatched"), "nobody was found")
            with self._hop("notice"):
                self._wait("notice", 20, lambda: code in phone.incidents(), "no MQTT notice reached the owner's phone")
                self._wait("notice", 20, lambda: self._texted(code), "no SMS reached a phone")
            self._answers(worker, code)
        self._verify(county, code)
        self._conclude(county, code, truth)

    def _discover(self, county: Visitor) -> tuple[dict[str, Any], str]:
        before = {incident["code"] for incident in county.incidents()}
        with self._hop("discover"):
            truth = self._wait("discover", 60, lambda: self._simulate(Simulator.ignite), "no simulator to light a fire")
            self.say(f"a fire was lit at {truth['lat']:.5f}, {truth['lon']:.5f}")
            code = self._wait(
                "discover",
                180,
                lambda: next((i["code"] for i in county.incidents() if i["code"] not in before), None),
                "no incident was opened: the smoke was not detected, not confirmed or not delivered",
            )
        return truth, code

    def _answers(self, worker: Visitor, code: str) -> None:
        for hop, event in (("accept", "accept"), ("set_off", "set_off"), ("arrive", "arrive")):
            with self._hop(hop):
                self._do(hop, worker, code, event)
        with self._hop("dispose"):
            self._wait("dispose", 60, lambda: self._simulate(Simulator.extinguish), "no simulator to put out the fire")
            photo = self._wait("dispose", 60, self._photograph, "the camera's stream gives no picture")
            self._do("dispose", worker, code, "report_done", photo=photo)

    def _verify(self, county: Visitor, code: str) -> None:
        with self._hop("verify"):
            self._do("verify", county, code, "verify")
        with self._hop("close"):
            self._do("close", county, code, "close")

    def _conclude(self, county: Visitor, code: str, truth: dict[str, Any]) -> None:
        incident = county.incident(code)
        stamps = incident["stamps"]
        # Without a clean frame before the smoke (a box that has just started) T0 has no beginning, and says so.
        missing = [name for name, at in stamps.items() if at is None and name != "t0_earliest"]
        if incident["state"] != "closed" or missing:
            reason = f"state {incident['state']}, stamps missing: {', '.join(missing) or 'none'}"
            raise HopFailed("close", reason)
        alert = datetime.fromisoformat(stamps["t2"])
        self.report |= {
            "ok": True,
            "incident": code,
            "state": incident["state"],
            "stamps": stamps,
            "intervals": incident["intervals"],
            "ignited_at": lit_at(truth).isoformat(),
            "ignition_to_alert_s": round((alert - lit_at(truth)).total_seconds(), 3),
            "place": {"lat": incident["lat"], "lon": incident["lon"], "grid": incident["place"]["grid"]},
            "true_place": {"lat": truth["lat"], "lon": truth["lon"], "grid": self.site.village},
        }
        if incident["lat"] is not None:
            error = distance_m(incident["lat"], incident["lon"], truth["lat"], truth["lon"])
            self.report["place_error_m"] = round(error, 1)

    # What people do and see

    def _visitor(self, hop: str, login: str) -> Visitor:
        visitor = Visitor(f"http://{HOST}:{self.demo.ports.web}", login, self.demo.secret(f"login:{login}"))
        self._wait(hop, 60, visitor.try_login, "the pages do not answer or do not let in")
        return visitor

    def _phone(self, login: str) -> MqttPhone:
        return MqttPhone(HOST, self.demo.ports.broker, login, self.demo.secret(f"mqtt:{login}"))

    def _camera_is_seen(self, county: Visitor) -> bool:
        cameras = {camera["id"]: camera for camera in county.cameras()}
        return cameras.get(self.site.camera, {}).get("state") == "ok"

    def _told(self, county: Visitor, code: str, event: str) -> bool:
        return str(county.incident(code)["state"]) == event

    def _texted(self, code: str) -> bool:
        return Visitor.texts_mention(f"http://{HOST}:{self.demo.ports.sms}", code)

    def _simulate(self, action: Callable[[Simulator, CameraSite], dict[str, Any]]) -> dict[str, Any] | None:
        """Ask the simulator; None while it does not answer (it may be starting again)."""
        try:
            return action(Simulator(self.demo), self.site)
        except SimulatorAway:
            return None

    def _photograph(self) -> bytes | None:
        """The scene after the fire: the first picture of the camera's own stream; None while there is none."""
        try:
            with av.open(stream_url(self.demo, self.site), options={"rtsp_transport": "tcp"}, timeout=20) as stream:
                frame = next(stream.decode(video=0)).to_ndarray(format="rgb24")
        except (av.FFmpegError, StopIteration):
            return None
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def _do(self, hop: str, visitor: Visitor, code: str, event: str, photo: bytes | None = None) -> None:
        """Give one answer; the same id until it is confirmed, as a phone does over a bad link."""
        answer_id = str(uuid.uuid4())
        refused = ""

        def attempt() -> bool:
            nonlocal refused
            refused = visitor.answer(code, event, answer_id, photo)
            return not refused

        try:
            self._wait(hop, 20, attempt, "no answer")
        except HopFailed as error:
            raise HopFailed(hop, refused or error.reason) from None

    # Waiting and telling

    def _wait(self, hop: str, within_s: float, look: Callable[[], T | None], failure: str) -> T:
        within_s *= self.patience
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            self.tick()
            if found := look():
                return found
            time.sleep(0.2)
        raise HopFailed(hop, f"{failure} (waited {within_s:.0f} s)")

    @contextmanager
    def _hop(self, name: str) -> Any:
        began = time.monotonic()
        yield
        took = round(time.monotonic() - began, 3)
        self.report["hops"].append({"hop": name, "took_s": took, "at": _now()})
        self.say(f"{name}: {took:.1f} s")


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
