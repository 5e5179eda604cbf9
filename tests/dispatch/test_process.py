# SPDX-License-Identifier: AGPL-3.0-or-later
"""The dispatcher as a process: started, killed in the middle of a send, and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from dispatch.cli import main
from dispatch.settings import read_dispatch_settings
from server.domain.place import move
from server.models import Notice
from server.settings import SettingsError
from tests.dispatch.helpers import told
from tests.dispatch.test_mqtt import phone
from tests.dispatch.test_sms import SID, TOKEN, peer
from tests.support.brokers import RunningBroker
from tests.support.world import CAMERA, FIELD, START, World


@contextmanager
def process(env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """``straw1530 dispatch``."""
    command = [sys.executable, "-m", "straw1530.cli", "dispatch"]
    started = subprocess.Popen(command, env=os.environ | env, stderr=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=20)


def wait_until(happened: Callable[[], bool], timeout_s: float = 60) -> None:
    """Return once it happened; fail when the time is up."""
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def environment(world: World, broker: RunningBroker, twilio_url: str) -> dict[str, str]:
    """The settings as an operator gives them."""
    user = broker.user("dispatch")
    return {
        "STRAW1530_DATA": str(world.evidence.parent),
        "STRAW1530_DATABASE": world.database.url.render_as_string(hide_password=False),
        "STRAW1530_MQTT": f"{user.username}:{user.password}@{user.host}:{user.port}",
        "STRAW1530_TWILIO_SID": SID,
        "STRAW1530_TWILIO_TOKEN": TOKEN,
        "STRAW1530_TWILIO_FROM": "+12025550153",
        "STRAW1530_TWILIO_BASE_URL": twilio_url,
    }


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_killed_in_the_middle_of_a_send_the_next_one_finishes(world: World, broker: RunningBroker) -> None:
    """kill -9 while the provider keeps it waiting: after the lease the next process sends; nothing is told twice that
    was recorded."""
    with phone(broker, "worker-1") as received, peer() as (account, url):
        env = environment(world, broker, url)
        account.gate.clear()
        with process(env) as first:
            code = world.sighting(at=FIELD)
            payload = received.get(timeout=60)
            wait_until(lambda: {notice.channel: notice.state for notice in told(world, code)}.get("mqtt") == "sent")
            wait_until(lambda: account.asked == 1)
            first.kill()
        account.gate.set()
        assert {notice.channel: notice.state for notice in told(world, code)} == {"mqtt": "sent", "sms": "pending"}
        with world.database.write() as session:  # the lease runs out
            session.execute(update(Notice).where(Notice.state == "pending").values(next_at=START))
        with process(env) as second:
            wait_until(lambda: [notice.state for notice in told(world, code)] == ["sent", "sent"])
            second.terminate()
            assert second.wait(30) == 0
    assert payload["incident"] == code
    assert received.empty()
    assert world.events(code).count("sent") == 2


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_among_several_each_notice_goes_once_and_the_others_take_over(world: World, broker: RunningBroker) -> None:
    """One killed while the provider keeps it waiting, beside another; then two at work at once: no notice is missing,
    none comes twice by MQTT, and no more texts than the killed one had under way."""

    def fires(*bearings: float) -> None:
        for bearing in bearings:
            world.sighting(at=move(*CAMERA, bearing, 1_000))

    def all_sent(channel: str, number: int) -> bool:
        with world.database.read() as session:
            states = session.scalars(select(Notice.state).where(Notice.channel == channel)).all()
        return len(states) >= number and set(states) == {"sent"}

    with phone(broker, "engine", "straw1530/v1/person/+/notice") as received, peer() as (account, url):
        env = environment(world, broker, url)
        account.gate.clear()
        with process(env) as first:
            fires(0, 80, 160)
            wait_until(lambda: account.asked > 0)
            with process(env) as second:
                fires(240, 320)
                wait_until(lambda: all_sent("mqtt", 5))
                first.kill()
                under_way = account.asked
                account.gate.set()
                with world.database.write() as session:  # the killed one's leases run out
                    session.execute(update(Notice).where(Notice.state == "pending").values(next_at=START))
                wait_until(lambda: all_sent("sms", 5))
                with process(env):
                    fires(40, 120, 200, 280)
                    wait_until(lambda: all_sent("mqtt", 9) and all_sent("sms", 9))
                    second.terminate()
                    assert second.wait(30) == 0
    with world.database.read() as session:
        rows = session.execute(select(Notice.id, Notice.channel, Notice.provider_ref)).all()
    told = [received.get_nowait()["id"] for _ in range(received.qsize())]
    assert sorted(told) == sorted(row.id for row in rows if row.channel == "mqtt")
    texts = {row.provider_ref for row in rows if row.channel == "sms"}
    assert texts <= {message.sid for message in account.messages}
    assert len(account.messages) - len(texts) <= under_way


def test_wrong_settings_stop_it_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No database yet, then no channel."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    assert main([]) == 1
    assert "straw1530 admin init" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({}, "STRAW1530_DATA is not set"),
        ({"STRAW1530_DATA": "d", "STRAW1530_TWILIO_SID": "AC1"}, "STRAW1530_TWILIO_TOKEN, STRAW1530_TWILIO_FROM"),
        ({"STRAW1530_DATA": "d", "STRAW1530_TIMEZONE": "Moon/Sea"}, "STRAW1530_TIMEZONE 'Moon/Sea'"),
        (
            {
                **{f"STRAW1530_TWILIO_{name}": "x" for name in ("SID", "TOKEN", "FROM")},
                **{"STRAW1530_DATA": "d", "STRAW1530_TWILIO_BASE_URL": "localhost:80"},
            },
            "STRAW1530_TWILIO_BASE_URL must be an http(s) address",
        ),
        (
            {"STRAW1530_DATA": "d", "STRAW1530_TWILIO_CALLBACK_URL": "https://a/b?c"},
            "STRAW1530_TWILIO_CALLBACK_URL must read https://…/callbacks/twilio/status",
        ),
        (
            {"STRAW1530_DATA": "d", "STRAW1530_TWILIO_CALLBACK_URL": "https://a/callbacks/twilio/status"},
            "STRAW1530_TWILIO_TOKEN is not set",
        ),
    ],
)
def test_each_setting_that_is_wrong_is_named(env: dict[str, str], sentence: str) -> None:
    """With the mend."""
    with pytest.raises(SettingsError) as refused:
        read_dispatch_settings(env)
    assert sentence in str(refused.value)
