# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 web``: serve the pages and the API with gunicorn."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence
from typing import Any

from gunicorn.app.base import BaseApplication
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.middleware.proxy_fix import ProxyFix

from server.db import Database, DatabaseClock
from server.settings import Settings, SettingsError, read_settings
from server.web.app import create_app


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="straw1530 web",
        description="Serve the pages and the API.",
        epilog="Settings: STRAW1530_DATA, STRAW1530_SECRET_KEY; optional: STRAW1530_DATABASE, STRAW1530_PUBLIC_URL,"
        " STRAW1530_TIMEZONE, STRAW1530_COUNTRY, STRAW1530_TERRAIN, STRAW1530_PUSH_KEY, _PUSH_CONTACT and"
        " _PUSH_SERVICES, STRAW1530_TWILIO_TOKEN and _TWILIO_CALLBACK_URL, STRAW1530_SMS_REPORT_SECRET.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=port, default=8000, help="port to listen on (default %(default)s)")
    parser.add_argument("--threads", type=int, default=64, help="half of them may be live connections (default 64)")
    parser.add_argument(
        "--behind-proxy",
        action="store_true",
        help="believe the X-Forwarded-For and X-Forwarded-Proto of one proxy in front",
    )
    return parser


def port(text: str) -> int:
    """An argument that is a TCP port. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give one from 1 to 65535")
    return int(text)


class _Server(BaseApplication):  # type: ignore[misc]
    """gunicorn without its own command line. One process with threads: the live connections share a bell."""

    def __init__(self, settings: Settings, options: argparse.Namespace, listener: socket.socket) -> None:
        self._settings = settings
        self._options = options
        self._listener = listener
        self._worker: Any = None
        super().__init__()

    def load_config(self) -> None:
        """Fixed, but for the socket and the number of threads."""
        settings = {
            "bind": f"fd://{self._listener.fileno()}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": max(4, self._options.threads),
            "keepalive": 30,
            "timeout": 60,
            "graceful_timeout": 5,
            "proc_name": "straw1530 web",
            "post_worker_init": self._remember,
            "loglevel": "warning",
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def _remember(self, worker: Any) -> None:
        self._worker = worker

    def load(self) -> Any:
        """Called in the worker process, so that connections and threads are its own."""
        database = Database(self._settings.database_url)
        app = create_app(
            self._settings,
            database,
            DatabaseClock(),
            max_streams=max(2, self._options.threads // 2),
            alive=lambda: self._worker is None or bool(self._worker.alive),
        )
        if self._options.behind_proxy:
            app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
        return app


def main(argv: Sequence[str]) -> int:
    """Serve until stopped; 2 when a setting, the database or the port stands in the way."""
    options = _parser().parse_args(argv)
    try:
        settings = read_settings()
        settings.require_secret_key()
        _check_database(settings)
        listener = socket.create_server((options.host, options.port), backlog=512)
    except SettingsError as error:
        return _fail(str(error))
    except SQLAlchemyError as error:
        return _fail(f"the database does not answer or is empty: run `straw1530 admin init` ({_first_line(error)})")
    except OSError as error:
        address = f"{options.host}:{options.port}"
        return _fail(
            f"cannot listen on {address}: {error.strerror}; stop what uses it, or give another --host or --port"
        )
    listener.set_inheritable(True)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"straw1530 web: http://{host}:{options.port}/", flush=True)
    _Server(settings, options, listener).run()
    return 0


def _check_database(settings: Settings) -> None:
    database = Database(settings.database_url)
    try:
        with database.read() as session:
            session.execute(text("SELECT id FROM people LIMIT 1"))
    finally:
        database.dispose()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _fail(sentence: str) -> int:
    print(f"straw1530 web: {sentence}", file=sys.stderr)
    return 2
