# SPDX-License-Identifier: AGPL-3.0-or-later
"""The web application: pages for phones and for the console, and the API."""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore

from flask import Flask

from server.db import Clock, Database
from server.services.pictures import MAX_BYTES
from server.settings import Settings
from server.web import api, callbacks, console, context, errors, i18n, login, phone, security, words
from server.web.bell import Bell
from server.web.translations import compile_catalogues

# Half of the default threads: pages still load when every live connection is taken.
MAX_STREAMS = 32


def create_app(
    settings: Settings,
    database: Database,
    clock: Clock,
    *,
    max_streams: int = MAX_STREAMS,
    alive: Callable[[], bool] = lambda: True,
) -> Flask:
    """The WSGI application. ``alive`` turns false when the process is to stop, which ends the live connections.
    Raises SettingsError when there is no secret key."""
    compile_catalogues()
    app = Flask(__name__)
    app.config.update(MAX_CONTENT_LENGTH=2 * MAX_BYTES)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        words=words,
        why=words.why,
        who=words.who,
        describe=words.describe,
        compass=words.compass,
        span=words.span,
        distance=words.distance,
    )
    bell = Bell(database.url)
    streams = BoundedSemaphore(max_streams)
    context.install(app.extensions, context.Web(settings, database, clock, bell, streams, alive))
    security.init(app, settings.require_secret_key())
    i18n.init(app)
    errors.init(app)
    login.init(app)
    for part in (api, phone, console):
        app.register_blueprint(part.blueprint)
    if settings.status_reports is not None:
        callbacks.init(app, settings.status_reports, database, clock)
    return app
