# SPDX-License-Identifier: AGPL-3.0-or-later
"""The embedded MQTT broker: for the demo and for small installations without mosquitto.

It speaks MQTT 3.1.1 with passwords and the same password file and access rules as mosquitto. It forgets everything
when it stops; nothing of ours relies on its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from server.admin.brokerusers import allowed, read_users, verify_password

log = logging.getLogger("broker")


class PasswordFile(BaseAuthPlugin):  # type: ignore[misc]
    """Lets in who is in the password file with the right password."""

    @dataclass
    class Config:
        """``path`` of the password file; read at each connection, so that changes count at once."""

        path: str

    async def authenticate(self, *, session: Session) -> bool:
        """True for a known name with its password."""
        users = read_users(Path(self.config.path))
        hashed = users.get(session.username or "")
        if hashed is None:
            return False
        # Hashing takes milliseconds: not on the loop that carries the alarms.
        return await asyncio.to_thread(verify_password, session.password or "", hashed)


class OwnTopics(BaseTopicPlugin):  # type: ignore[misc]
    """Each client reads and writes below its own name."""

    @dataclass
    class Config:
        """Nothing to configure: the rules are in server.admin.brokerusers."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """True when the rules allow it."""
        verb = "write" if action == Action.PUBLISH else "read"
        name = session.username if session else None
        return bool(name and topic and allowed(name, verb, topic))


class _Subscriptions(dict[str, list[tuple[Session, int]]]):
    """Filter → who subscribed. The library goes through it with pauses in which others come and go: what is gone
    through is a copy, or a notice would be lost to those behind the newcomer."""

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().keys()))

    def items(self) -> list[tuple[str, list[tuple[Session, int]]]]:  # type: ignore[override]
        return [(topic, list(sessions)) for topic, sessions in super().items()]


class _OwnBroker(Broker):  # type: ignore[misc]
    """The library's broker without its races between clients that come, go and come back."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._subscriptions = _Subscriptions()
        self._subscribing: set[str | None] = set()
        self._closing = False

    async def shutdown(self) -> None:
        """Stop, and let go of everybody."""
        self._closing = True
        await super().shutdown()

    async def _handle_subscription(self, client_session: Session, *args: Any) -> None:
        self._subscribing.add(client_session.client_id)
        try:
            await super()._handle_subscription(client_session, *args)
        finally:
            self._subscribing.discard(client_session.client_id)

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # At each connection the library also sends what is retained for everybody's subscriptions, before it listens
        # to the client: the phones' to whoever may read all, for seconds.
        if session.client_id in self._subscribing:
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _cleanup_session(self, client_id: str) -> None:
        session = self._sessions.get(client_id, (None, None))[0]
        if session is not None and session.transitions.is_connected() and not self._closing:
            return  # it came back while others were cleaned up
        await super()._cleanup_session(client_id)

    def _del_subscription(self, a_filter: str, session: Session) -> int:
        # By session, not by its client's name: whoever came back meanwhile keeps theirs.
        known = self._subscriptions.get(a_filter, [])
        kept = [(one, qos) for one, qos in known if one is not session]
        known[:], gone = kept, len(known) - len(kept)
        return gone

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """As the library does; an earlier session of the same client that is still being cleaned up makes room."""
        known = self._subscriptions.get(subscription[0], [])
        known[:] = [(one, qos) for one, qos in known if one is session or one.client_id != session.client_id]
        granted: int = await super().add_subscription(subscription, session)
        return granted


def make_broker(host: str, port: int, users: Path) -> Broker:
    """A broker on this address; start it inside a running loop."""
    return _OwnBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{host}:{port}"}},
            "plugins": {
                f"{__name__}.PasswordFile": {"path": str(users)},
                f"{__name__}.OwnTopics": {},
            },
        }
    )


async def serve(host: str, port: int, users: Path, stop: asyncio.Event) -> None:
    """Run the broker until ``stop``. Raises OSError when the port is taken."""
    broker = make_broker(host, port, users)
    await broker.start()
    log.info("listening on %s:%d", host, port)
    try:
        await stop.wait()
    finally:
        await broker.shutdown()


def main(argv: Sequence[str]) -> int:
    """``straw1530 broker``."""
    parser = argparse.ArgumentParser(prog="straw1530 broker", description="Run the embedded MQTT broker.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--users", type=Path, required=True, help="password file in mosquitto's form")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        read_users(args.users)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        print(f"broker: cannot read the password file {args.users}: {reason}", file=sys.stderr)
        return 2
    try:
        # The library reports a taken port with pages of traceback; asking first gives one sentence.
        socket.create_server((args.host, args.port), reuse_port=False).close()
    except OSError as error:
        why = "stop the other program or give --port" if error.errno == errno.EADDRINUSE else "check --host"
        print(f"broker: cannot listen on {args.host}:{args.port}: {error.strerror}; {why}", file=sys.stderr)
        return 2
    asyncio.run(_main(args.host, args.port, args.users))
    return 0


async def _main(host: str, port: int, users: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(host, port, users, stop)
