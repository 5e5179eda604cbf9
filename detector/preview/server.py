# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page's small web server, in threads of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from cheroot.wsgi import Server

from detector.errors import ConfigError

log = logging.getLogger(__name__)

THREADS = 3
PATIENCE_S = 10
"""For a visitor who stops talking in the middle."""


class PreviewServer:
    """Serves one application on one address. Raises ConfigError at once when the address cannot be had; nothing runs,
    and `port` is not known, before `start`."""

    def __init__(
        self, app: Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]], host: str, port: int
    ) -> None:
        try:
            # Asked first: the library says less, and later.
            socket.create_server((host, port)).close()
        except OSError as error:
            raise ConfigError(
                f"preview: {host}:{port} cannot be listened on ({error.strerror}): choose another preview.port or host"
            ) from error
        self._server = Server((host, port), app, numthreads=THREADS, timeout=PATIENCE_S, shutdown_timeout=1)
        self._thread = threading.Thread(target=self._server.serve, daemon=True)

    @property
    def port(self) -> int:
        """The port, also when any free one was asked for."""
        return int(self._server.bind_addr[1])

    def start(self) -> None:
        """Begin to answer."""
        self._server.prepare()
        self._thread.start()
        log.info("the box's page is on http://%s:%d", *self._server.bind_addr)

    def stop(self) -> None:
        """Answer no more."""
        self._server.stop()
        if self._thread.is_alive():
            self._thread.join()
