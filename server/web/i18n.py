# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chinese first, English second. The source strings are Chinese; the choice is remembered in a cookie."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from flask import Blueprint, Flask, Response, g, redirect, request
from flask_babel import Babel, format_datetime, get_locale

from server.web.links import local_path

LANGUAGES = ("zh", "en")
_COOKIE = "lang"
_YEAR_S = 365 * 24 * 3600

blueprint = Blueprint("language", __name__)


def init(app: Flask, zone: ZoneInfo) -> None:
    """Set up translation and the times' zone."""
    app.config.update(BABEL_DEFAULT_LOCALE="zh", BABEL_DEFAULT_TIMEZONE=zone.key)
    Babel(app, locale_selector=choose)
    app.register_blueprint(blueprint)
    app.jinja_env.filters.update(time=clock_time, exact=exact_time, moment=moment)
    app.jinja_env.globals.update(language=language)


def choose() -> str:
    """The language of this request: the cookie's, else the person's, else the browser's, else Chinese."""
    chosen = request.cookies.get(_COOKIE)
    if chosen in LANGUAGES:
        return chosen
    if getattr(g, "viewer", None) is not None:
        return str(g.viewer.language)
    return request.accept_languages.best_match(LANGUAGES) or "zh"


def language() -> str:
    """ "zh" or "en"."""
    return str(get_locale().language)


def clock_time(value: datetime) -> str:
    """The time of day to the second, in the region's zone."""
    return str(format_datetime(value, "HH:mm:ss"))


def exact_time(value: datetime) -> str:
    """The time of day to the tenth of a second, in the region's zone."""
    return str(format_datetime(value, "HH:mm:ss.S"))


def moment(value: datetime) -> str:
    """Day and time, in the region's zone."""
    return str(format_datetime(value, "MM-dd HH:mm"))


@blueprint.get("/language/<code>")
def switch(code: str) -> Response:
    """Remember a language and go back to the page."""
    response = redirect(local_path(request.args.get("next")))
    if code in LANGUAGES:
        response.set_cookie(_COOKIE, code, max_age=_YEAR_S, httponly=True, samesite="Lax", secure=request.is_secure)
    return response  # type: ignore[return-value]
