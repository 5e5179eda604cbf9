# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page's web application (WSGI): pictures and judgements, drawing masks, health and metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from detector.judgement.masks import ViewMasks
from detector.preview.doorkeeper import Doorkeeper
from detector.preview.exposition import BoxCollector
from detector.preview.gallery import Gallery
from detector.preview.view import CameraView, Glance
from detector.upkeep.maskdesk import MaskDesk

STATIC = Path(__file__).parent / "static"
FILES = {"preview.js": "text/javascript", "preview.css": "text/css"}
MOST_BODY = 64 * 1024
OPEN = {"login", "enter", "static", "health"}
"""What may be asked without the token. Health says no more than well or not to strangers."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

URLS = Map(
    [
        Rule("/", endpoint="page", methods=["GET"]),
        Rule("/login", endpoint="login", methods=["GET"]),
        Rule("/login", endpoint="enter", methods=["POST"]),
        Rule("/static/<name>", endpoint="static", methods=["GET"]),
        Rule("/state.json", endpoint="state", methods=["GET"]),
        Rule("/picture/<camera>.jpg", endpoint="picture", methods=["GET"]),
        Rule("/masks/<camera>", endpoint="draw", methods=["POST"]),
        Rule("/masks-undo", endpoint="undo", methods=["POST"]),
        Rule("/health", endpoint="health", methods=["GET"]),
        Rule("/metrics", endpoint="metrics", methods=["GET"]),
    ]
)


class PreviewApp:
    """One box's page. Requests come from several threads."""

    def __init__(self, glance: Glance, gallery: Gallery, desk: MaskDesk, doorkeeper: Doorkeeper) -> None:
        self._glance = glance
        self._gallery = gallery
        self._desk = desk
        self._doorkeeper = doorkeeper
        self._registry = CollectorRegistry()
        self._registry.register(BoxCollector(glance))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """WSGI."""
        request = Request(environ)
        request.max_content_length = MOST_BODY
        try:
            response: Response | HTTPException = self._answer(request)
        except HTTPException as error:
            response = Response(f"{error.description}\n", error.code, mimetype="text/plain")
        if isinstance(response, Response):
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        endpoint, values = URLS.bind_to_environ(request.environ).match()
        if endpoint not in OPEN and not self._doorkeeper.lets_in(request):
            if endpoint == "page":
                return redirect("/login", 303)
            raise Forbidden("show the token: log in at /login, or send it as Authorization: Bearer")
        answer: Response = getattr(self, f"_{endpoint}")(request, **values)
        return answer

    def _page(self, _request: Request) -> Response:
        return Response((STATIC / "preview.html").read_bytes(), mimetype="text/html")

    def _login(self, _request: Request, wrong: bool = False) -> Response:
        text = (STATIC / "login.html").read_text(encoding="utf-8")
        status = 403 if wrong else 200
        return Response(text.replace("<!--wrong-->", _WRONG if wrong else ""), status, mimetype="text/html")

    def _enter(self, request: Request) -> Response:
        if not self._doorkeeper.accepts(request.form.get("token", "").strip()):
            return self._login(request, wrong=True)
        response = redirect("/", 303)
        self._doorkeeper.admit(response)
        return response

    def _static(self, _request: Request, name: str) -> Response:
        if name not in FILES:
            raise NotFound()
        return Response((STATIC / name).read_bytes(), mimetype=FILES[name])

    def _state(self, _request: Request) -> Response:
        view = self._glance.view()
        cameras = [asdict(camera) | {"views": self._views(camera)} for camera in view.cameras]
        body = asdict(view) | {
            "clock": view.clock.model_dump(),
            "versions": {kind: report.model_dump() for kind, report in view.versions.items()},
            "findings": view.findings(),
            "undoable": self._desk.undoable,
            "cameras": cameras,
        }
        return _json(body)

    def _views(self, camera: CameraView) -> list[dict[str, Any]]:
        """Each preset's newest judgement and masks; `key` changes with each picture."""
        views = []
        for preset in camera.presets:
            shown = self._gallery.of(camera.id, preset)
            masks = self._desk.of(camera.id, preset).model_dump(mode="json")
            hits = [_hit(each.box, each.confidence, each.label) for each in shown.hits] if shown else []
            dropped = (
                [_hit(each.hit.box, each.hit.confidence, each.hit.label) | {"why": each.why} for each in shown.dropped]
                if shown
                else []
            )
            key = shown.monotonic if shown else None
            views.append({"preset": preset, "key": key, "hits": hits, "dropped": dropped, "masks": masks})
        return views

    def _picture(self, request: Request, camera: str) -> Response:
        jpeg = self._gallery.jpeg(camera, request.args.get("preset"))
        if jpeg is None:
            raise NotFound(f"camera {camera} was not looked at yet")
        return Response(jpeg, mimetype="image/jpeg")

    def _draw(self, request: Request, camera: str) -> Response:
        view = next((each for each in self._glance.view().cameras if each.id == camera), None)
        preset = request.args.get("preset", "")
        if view is None or preset not in view.presets:
            raise NotFound(f"there is no camera {camera} with preset {preset!r}")
        try:
            # By JSON alone: a form of another site cannot send it.
            if request.mimetype != "application/json":
                raise BadRequest("masks are sent as JSON")
            masks = ViewMasks.model_validate_json(request.get_data())
            self._desk.draw(camera, preset, masks)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "masks"
            raise BadRequest(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
        except OSError as error:
            raise BadRequest(f"the disk refuses ({error.strerror}): nothing was changed") from error
        return _json({"saved": True})

    def _undo(self, request: Request) -> Response:
        if request.mimetype != "application/json":
            raise BadRequest("ask with JSON")
        return _json({"undone": self._desk.undo()})

    def _health(self, request: Request) -> Response:
        findings = self._glance.view().findings()
        body: dict[str, Any] = {"well": not findings}
        if self._doorkeeper.lets_in(request):
            body["findings"] = findings
        return _json(body, 200 if not findings else 503)

    def _metrics(self, _request: Request) -> Response:
        return Response(generate_latest(self._registry), content_type=CONTENT_TYPE_LATEST)


_WRONG = (
    '<p class="wrong" role="alert">口令不对，或尝试过多，请一分钟后再试。'
    "<small>Wrong token, or too many attempts.</small></p>"
)


def _hit(box: tuple[float, ...], confidence: float, label: str) -> dict[str, Any]:
    return {"box": [round(each, 4) for each in box], "confidence": round(confidence, 2), "label": label}


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body, ensure_ascii=False), status, mimetype="application/json")
