# SPDX-License-Identifier: AGPL-3.0-or-later
"""The web application: pages for phones and for the console, and the API."""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore

from flask import Flask

from server.db import Clock, Database
from server.services import push
from server.services.pictures import MAX_BYTES
from server.settings import Settings
from server.web import (
    api,
    browsers,
    calibration,
    callbacks,
    console,
    context,
    coverage,
    errors,
    i18n,
    login,
    phone,
    readiness,
    security,
    sentences,
    taps,
    vendorreports,
    verdicts,
    words,
)
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
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        words=words,
        why=verdicts.why,
        consequence=verdicts.consequence,
        who=sentences.who,
        describe=sentences.describe,
        compass=words.compass,
        span=words.span,
        distance=words.distance,
    )
    app.jinja_env.globals.update(push_key=push.public_key(settings.push.key) if settings.push else None)
    bell = Bell(database.url)
    streams = BoundedSemaphore(max_streams)
    context.install(app.extensions, context.Web(settings, database, clock, bell, streams, alive))
    security.init(app, settings.require_secret_key())
    i18n.init(app, settings.zone)
    errors.init(app)
    login.init(app)
    taps.init(app)
    for part in (api, browsers, phone, readiness, calibration, coverage, console):
        app.register_blueprint(part.blueprint)
    if settings.status_reports is not None:
        callbacks.init(app, settings.status_reports, database, clock)
    if settings.sms_report_secret is not None:
        vendorreports.init(app, settings.sms_report_secret, database, clock)
    return app
