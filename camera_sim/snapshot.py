# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's picture now as a JPEG over HTTP, behind digest or basic authentication where credentials are set."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import cv2

from camera_sim.auth import Credentials
from camera_sim.server import CameraServer


def send(
    request: BaseHTTPRequestHandler, cameras: CameraServer, camera_id: str, credentials: Credentials | None
) -> None:
    """Answer a GET with the picture; 401 without the password, 503 while the camera is stalled. Raises KeyError for a
    camera that is not there."""
    if credentials and not credentials.accept(request.headers.get("Authorization", ""), "GET"):
        request.send_response(401)
        for challenge in credentials.challenges():
            request.send_header("WWW-Authenticate", challenge)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    picture = cameras.snapshot(camera_id)
    if picture is None:
        request.send_error(503)
        return
    _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 90))
    request.send_response(200)
    request.send_header("Content-Type", "image/jpeg")
    request.send_header("Content-Length", str(len(jpeg)))
    request.end_headers()
    request.wfile.write(jpeg.tobytes())
