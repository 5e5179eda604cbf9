# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 dispatch``: run the dispatcher until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence

from dispatch.budget import Budget
from dispatch.channels import Channel
from dispatch.channels.mqtt import MqttChannel
from dispatch.channels.sms import SmsChannel
from dispatch.channels.voice import VoiceChannel
from dispatch.expand import Expander
from dispatch.sender import Dispatcher
from dispatch.settings import DispatchSettings, read_dispatch_settings
from server.admin.schema import require_current
from server.db import Database, DatabaseClock
from server.settings import SettingsError

log = logging.getLogger("dispatch")


def open_channels(settings: DispatchSettings) -> list[Channel]:
    """The channels that are set up. Raises SettingsError when there is none."""
    channels: list[Channel] = []
    if settings.server.broker is not None:
        channels.append(MqttChannel(settings.server.broker))
    if settings.twilio is not None:
        channels.append(SmsChannel(settings.twilio))
        if settings.twilio.voice_sender is not None:
            channels.append(VoiceChannel(settings.twilio))
    if not channels:
        raise SettingsError("no channel is set up: give STRAW1530_MQTT, STRAW1530_TWILIO_…, or both")
    return channels


def channel_names(settings: DispatchSettings) -> list[str]:
    """The names of the channels that are set up."""
    names = ["mqtt"] if settings.server.broker is not None else []
    if settings.twilio is not None:
        names += ["sms"] + (["voice"] if settings.twilio.voice_sender is not None else [])
    return names


def open_budgets(settings: DispatchSettings) -> dict[str, Budget]:
    """The channels' budgets by name; a channel without one has no bound."""
    if settings.twilio is None:
        return {}
    return {"sms": Budget(daily=settings.twilio.daily_texts, per_s=settings.twilio.texts_per_s)}


def main(argv: Sequence[str]) -> int:
    """Run until told to stop; 1 when the settings or the database are wrong."""
    parser = argparse.ArgumentParser(prog="straw1530 dispatch", description=__doc__)
    parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("twilio.http_client").setLevel(logging.WARNING)
    try:
        settings = read_dispatch_settings()
        database = Database(settings.server.database_url)
        require_current(database)
        channels = open_channels(settings)
    except SettingsError as error:
        print(f"straw1530 dispatch: {error}", file=sys.stderr)
        return 1
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    names = [channel.name for channel in channels]
    log.info("ready; channels: %s", ", ".join(names))
    expander = Expander(names, settings.zone)
    with Dispatcher(database, DatabaseClock(), expander, channels, open_budgets(settings)) as dispatcher:
        dispatcher.run(stop)
    database.dispose()
    return 0
