# SPDX-License-Identifier: AGPL-3.0-or-later
"""Headers, cookies and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask, Response, abort, request
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSessionInterface
from flask_compress import Compress
from flask_wtf import CSRFProtect

from server.domain.texts import check_texts

# Everything comes from this server; no inline script, no inline style. blob: is the photograph just taken.
_CSP = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(self), camera=(self), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# A worker logs in once a season, not once a shift.
_SESSION = timedelta(days=30)


class _Sessions(SecureCookieSessionInterface):
    def get_cookie_secure(self, app: Flask) -> bool:
        """Secure whenever the page itself came over https."""
        return request.is_secure


class _Json(DefaultJSONProvider):
    """Chinese stays readable, and what no database keeps as text is no JSON here."""

    ensure_ascii = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """As JSON has it. Raises ValueError, which Flask answers with 400, or Invalid."""
        try:
            found = super().loads(s, **kwargs)
            check_texts(found)
        except RecursionError:
            raise ValueError("nested too deep") from None
        return found


def init(app: Flask, secret_key: str) -> None:
    """Set up sessions, CSRF protection, what is taken in, and the headers of every response."""
    app.json = _Json(app)
    app.config.update(
        SECRET_KEY=secret_key,
        SESSION_COOKIE_NAME="straw1530",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=_SESSION,
        # An answer written without signal is sent hours later with the page's token: it lives as long as the session.
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_HEADERS=["X-CSRFToken"],
    )
    app.session_interface = _Sessions()
    # Outlines are megabytes on a bad line. Pages hold tokens and stay plain (BREACH).
    # Files go as they are: the library would leave each one open.
    app.config["COMPRESS_MIMETYPES"] = ["application/json"]
    Compress(app)
    app.before_request(_refuse_nul)
    CSRFProtect(app)
    app.after_request(_add_headers)


def _refuse_nul() -> None:
    if "\0" in request.path:
        abort(404)
    texts = list(request.args.values())
    if request.mimetype == "application/x-www-form-urlencoded":
        texts += request.form.values()
    if any("\0" in text for text in texts):
        abort(400)


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response
