# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 dispatch``: run the dispatcher until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Collection, Sequence
from functools import partial

from dispatch.board import Board
from dispatch.budget import Budget
from dispatch.channels import Channel
from dispatch.channels.chat import ChatChannel, WebhookChannel
from dispatch.channels.mqtt import MqttChannel
from dispatch.channels.sms import SmsChannel
from dispatch.channels.vendor import VendorSmsChannel
from dispatch.channels.voice import VoiceChannel
from dispatch.channels.webpush import WebPushChannel
from dispatch.expand import Expander
from dispatch.faults import FaultTeller
from dispatch.reach import Links, Reach
from dispatch.sender import Dispatcher
from dispatch.settings import DispatchSettings, read_dispatch_settings
from server.admin.schema import require_current
from server.db import Database, DatabaseClock
from server.engine.duties import every
from server.queries import preflight
from server.services import preflights
from server.services.health import EVERY_S
from server.settings import Settings, SettingsError

log = logging.getLogger("dispatch")
# How often it is asked whether the daily look at all posts is due, seconds.
_LOOK_S = 300.0
# DingTalk and WeCom take twenty messages a minute from a robot and then none for a while.
_ROBOTS_PER_S = 20 / 60


def open_channels(settings: DispatchSettings, database: Database) -> list[Channel]:
    """The channels that are set up. Raises SettingsError when there is none."""
    server, addresses = settings.server, settings.addresses
    channels: list[Channel] = []
    if server.broker is not None:
        channels.append(MqttChannel(server.broker))
    if server.push is not None:
        channels.append(WebPushChannel(database, server.push, server.secret_key))
    if addresses.chat:
        channels.append(ChatChannel(addresses.chat))
    if addresses.webhook:
        channels.append(WebhookChannel(addresses.webhook))
    if addresses.account is not None:
        channels.append(VendorSmsChannel(addresses.account))
    if settings.twilio is not None:
        channels.append(SmsChannel(settings.twilio))
        if settings.twilio.voice_sender is not None:
            channels.append(VoiceChannel(settings.twilio))
    if not channels:
        raise SettingsError("no channel is set up: give STRAW1530_MQTT, STRAW1530_TWILIO_…, or both")
    return channels


def channel_names(settings: DispatchSettings) -> list[str]:
    """The names of the channels that are set up."""
    twilio, addresses = settings.twilio, settings.addresses
    set_up = {
        "mqtt": settings.server.broker,
        "webpush": settings.server.push,
        "chat": addresses.chat,
        "webhook": addresses.webhook,
        "sms": twilio or addresses.account,
        "voice": twilio and twilio.voice_sender,
    }
    return [name for name, there in set_up.items() if there]


def listed(settings: DispatchSettings) -> dict[str, Collection[str]]:
    """By channel, who has an address of that kind in the file of addresses."""
    return {"chat": settings.addresses.chat.keys(), "webhook": settings.addresses.webhook.keys()}


def open_budgets(settings: DispatchSettings) -> dict[str, Budget]:
    """The channels' budgets by name; a channel without one has no bound."""
    return {"sms": Budget(daily=settings.daily_texts, per_s=settings.texts_per_s), "chat": Budget(per_s=_ROBOTS_PER_S)}


def _preflight(database: Database, settings: Settings, channels: preflight.Channels) -> None:
    """The day's look at every post, once among any number of dispatchers."""
    with database.write() as session:
        now = DatabaseClock().now(session)
        if preflights.is_due(session, now, settings.zone):
            found = preflight.look(session, now, channels, zone=settings.zone, country=settings.country)
            preflights.keep(session, now, channels, found)
            log.info("preflight: %d gaps", len(found))


def main(argv: Sequence[str]) -> int:
    """Run until told to stop; 1 when the settings or the database are wrong."""
    parser = argparse.ArgumentParser(
        prog="straw1530 dispatch",
        description="Find who answers for a place and send the notices, until SIGTERM or Ctrl-C.",
        epilog="Settings: STRAW1530_DATA and at least one channel (docs/dispatch.md): STRAW1530_MQTT,"
        " STRAW1530_TWILIO_SID, _TWILIO_TOKEN and _TWILIO_FROM, STRAW1530_CHANNELS (a file), STRAW1530_PUSH_KEY;"
        " optional: STRAW1530_DATABASE, STRAW1530_PUBLIC_URL, STRAW1530_SECRET_KEY, STRAW1530_SMS_DAILY,"
        " STRAW1530_SMS_PER_SECOND, STRAW1530_TIMEZONE, STRAW1530_COUNTRY.",
    )
    parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("twilio.http_client").setLevel(logging.WARNING)
    try:
        settings = read_dispatch_settings()
        database = Database(settings.server.database_url)
        require_current(database)
        channels = open_channels(settings, database)
    except SettingsError as error:
        print(f"straw1530 dispatch: {error}", file=sys.stderr)
        return 1
    # Expanding one alert asks the database a dozen times, and each answer waits for the turn of whichever thread is at
    # work: 5 ms by default, and 0.5 ms still doubles the time to the worker's hand (benchmarks: dispatch).
    sys.setswitchinterval(0.00005)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    names = [channel.name for channel in channels]
    log.info("ready; channels: %s", ", ".join(names))
    addresses = listed(settings)
    there = {name: addresses.get(name) for name in names}
    every(stop, _LOOK_S, "preflight", partial(_preflight, database, settings.server, there))
    server = settings.server
    replies = settings.twilio is not None and settings.twilio.callback_url is not None
    links = Links(server.public_url, server.secret_key, replies)
    teller = FaultTeller(database, DatabaseClock(), Reach(names, listed(settings)), server.zone, server.country)
    every(stop, EVERY_S, "faults", teller.step)
    expander = Expander(Reach(names, addresses), server.zone, server.country, links)
    beside = []
    if settings.server.broker is not None:
        board = Board(database, settings.server.broker)
        beside.append(threading.Thread(target=board.run, args=(stop,), name="board"))
    for thread in beside:
        thread.start()
    with Dispatcher(database, DatabaseClock(), expander, channels, open_budgets(settings)) as dispatcher:
        dispatcher.run(stop)
    for thread in beside:
        thread.join()
    database.dispose()
    return 0
