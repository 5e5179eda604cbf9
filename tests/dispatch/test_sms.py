# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real Twilio client against the local peer, and Twilio's reports against the real web application."""

from __future__ import annotations

import base64
import json
import random
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from twilio.request_validator import RequestValidator
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from demo.sms_peer import Peer, serve
from dispatch.channels import Never, Outgoing, Sent, TryAgain
from dispatch.channels.sms import SmsChannel
from dispatch.channels.voice import VoiceChannel, twiml
from dispatch.expand import Expander
from dispatch.sender import Dispatcher
from dispatch.settings import Twilio
from server.domain.lifecycle import Event, State
from server.domain.place import move
from server.models import Notice
from server.settings import Settings, StatusReports
from server.web.app import create_app
from tests.dispatch.helpers import ZONE, WorldClock, told
from tests.support.brokers import free_port
from tests.support.world import CAMERA, FIELD, World

SID, TOKEN = "AC" + "0" * 32, "token-of-the-account"
REPORTS = StatusReports(TOKEN, "https://straw.example/callbacks/twilio/status")


@contextmanager
def peer(**how: object) -> Iterator[tuple[Peer, str]]:
    """A running peer and its address."""
    account = Peer(SID, TOKEN, **how)  # type: ignore[arg-type]
    server, port = serve(account, "127.0.0.1", 0)
    try:
        yield account, f"http://127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def channel(base_url: str, *, token: str = TOKEN, callback_url: str | None = None) -> Iterator[SmsChannel]:
    """The SMS channel pointed at an address."""
    opened = SmsChannel(Twilio(SID, token, "+12025550153", base_url, callback_url))
    try:
        yield opened
    finally:
        opened.close()


def notice(phone: str | None = "+8612000000001", text: str = "【秸秆禁烧】K7F3 石梁镇东村 疑似焚烧") -> Outgoing:
    """A notice to a number."""
    return Outgoing("n-1", "worker-1", phone, "zh", {"id": "n-1", "text": text, "drill": False, "accepts": True})


def application(world: World, reports: StatusReports = REPORTS) -> object:
    """The real web application on the world's database."""
    url = world.database.url.render_as_string(hide_password=False)
    settings = Settings(world.evidence, url, "k" * 40, None, reports)
    return create_app(settings, world.database, WorldClock(world))


def test_a_text_reaches_the_phone_as_written() -> None:
    """Twilio takes it and gives it a SID; the phone shows the same signs."""
    with peer() as (account, url), channel(url) as sms:
        outcome = sms.send(notice())
        assert outcome == Sent(account.messages[0].sid)
        assert account.messages[0].body == notice().payload["text"]
        page = urllib.request.urlopen(url, timeout=10).read().decode()
    assert "K7F3 石梁镇东村" in page
    assert "0001" in page
    assert "12000000001" not in page


@pytest.mark.parametrize(
    ("code", "expected"),
    [(21211, Never), (21610, Never), (20429, TryAgain), (20500, TryAgain), (20003, TryAgain)],
)
def test_twilios_errors_have_their_meaning(code: int, expected: type) -> None:
    """What is wrong with the number is for ever; what is wrong with the hour or our account is not."""
    with peer() as (account, url), channel(url) as sms:
        account.faults.append(code)
        outcome = sms.send(notice())
        assert type(outcome) is expected
        assert str(code) in str(outcome)
        assert isinstance(sms.send(notice()), Sent)


def test_a_bad_number_is_refused_by_the_peer_as_by_twilio() -> None:
    """21211, for ever."""
    with peer() as (_, url), channel(url) as sms:
        outcome = sms.send(notice("+86123"))
        assert isinstance(outcome, Never)
        assert "21211" in outcome.reason
        assert isinstance(sms.send(notice(None)), Never)


def test_a_wrong_token_is_an_error_of_ours_and_not_the_notices() -> None:
    """20003: the notice waits for the mend."""
    with peer() as (account, url), channel(url, token="wrong") as sms:
        outcome = sms.send(notice())
        assert isinstance(outcome, TryAgain)
        assert "20003" in outcome.reason
        assert account.messages == []


def test_nobody_there_is_try_again() -> None:
    """A refused connection raises nothing."""
    with channel(f"http://127.0.0.1:{free_port()}") as sms:
        assert isinstance(sms.send(notice()), TryAgain)


def test_an_answer_that_is_no_answer_is_try_again() -> None:
    """A peer that hangs up in the middle raises nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with channel(f"http://127.0.0.1:{listener.getsockname()[1]}") as sms:
            assert isinstance(sms.send(notice()), TryAgain)
        thread.join(20)


def test_the_peer_refuses_like_twilio_with_a_body() -> None:
    """Status, code and message as the real one's."""
    with peer() as (_, url):
        request = urllib.request.Request(f"{url}/2010-04-01/Accounts/{SID}/Messages.json", b"To=1", method="POST")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{SID}:no".encode()).decode())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        with refused.value as answer:
            body = json.loads(answer.read())
    assert (refused.value.code, body["code"], body["status"]) == (401, 20003, 401)


# The telephone


@contextmanager
def telephone(base_url: str, callback_url: str | None = None) -> Iterator[VoiceChannel]:
    """The voice channel pointed at an address."""
    opened = VoiceChannel(Twilio(SID, TOKEN, "+12025550153", base_url, callback_url, "+12025550154"))
    try:
        yield opened
    finally:
        opened.close()


def test_a_call_says_the_text_twice_and_asks_for_a_key() -> None:
    """Twilio's API takes the call; Chinese is spoken; the key's address carries the notice."""
    with peer() as (account, url), telephone(url, REPORTS.url) as voice:
        outcome = voice.send(notice())
        call = account.messages[0]
        assert outcome == Sent(call.sid)
        assert call.sid.startswith("CA")
        assert "疑似焚烧。签收请按一。" in call.body
        assert call.keys_to == "https://straw.example/callbacks/twilio/keys?notice=n-1"
    spoken = twiml(notice(), None)
    assert 'language="zh-CN"' in spoken
    assert 'loop="2"' in spoken


def test_only_who_may_accept_is_asked_for_a_key(world: World) -> None:
    """Neither a county's duty, nor anybody once the half hour has passed, nor who is called in a drill."""
    placed, unplaced = world.sighting(at=FIELD), world.sighting(at=move(*CAMERA, 250.0, 60_000.0))
    expander = Expander(["voice"], ZONE)
    asked: dict[tuple[str, str, str], bool] = {}
    for _ in range(2):
        with world.database.write() as session:
            expander.step(session, world.now)
            for one in session.scalars(select(Notice)):
                outgoing = Outgoing(one.id, one.person.login, one.person.phone, "zh", one.payload)
                key = one.payload["incident"], one.person.login, one.payload["kind"]
                asked[key] = "Gather" in twiml(outgoing, "https://straw.example/keys")
        world.advance(minutes=31)
    assert asked[placed, "worker-1", "dispatch"]
    assert not asked[unplaced, "county", "dispatch"]
    assert not asked[placed, "county", "breach"]
    drill = Outgoing("n-1", "worker-1", "+8612000000001", "zh", {"id": "n-1", "text": "通知测试", "drill": True})
    assert "Gather" not in twiml(drill, "https://straw.example/keys")


def test_a_call_that_twilio_refuses_has_its_meaning() -> None:
    """As with texts."""
    with peer() as (account, url), telephone(url) as voice:
        account.faults.append(20429)
        assert isinstance(voice.send(notice()), TryAgain)
        assert isinstance(voice.send(notice("+86123")), Never)
        assert isinstance(voice.send(notice(None)), Never)


# Status reports


class Reporter:
    """Twilio's side of a status report about the only SMS there is."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = Client(application(world))  # type: ignore[arg-type]
        self.code = world.sighting(at=FIELD)
        with world.database.write() as session:
            Expander(["sms"], ZONE).step(session, world.now)
        with world.database.read() as session:
            self.notice = session.scalars(select(Notice.id)).one()

    def post(self, status: str, *, sid: str = "SM1", token: str = TOKEN, notice: str | None = None) -> int:
        """Send a report signed with a token; returns the HTTP status."""
        query = f"?notice={notice or self.notice}"
        fields = {"MessageSid": sid, "MessageStatus": status, "ErrorCode": "30003"}
        signature = RequestValidator(token).compute_signature(REPORTS.url + query, fields)
        path = "/callbacks/twilio/status" + query
        return self.client.post(path, data=fields, headers={"X-Twilio-Signature": signature}).status_code

    def signed(self, path: str, fields: dict[str, str], *, token: str = TOKEN) -> TestResponse:
        """Post fields to a path below the callbacks, signed."""
        signature = RequestValidator(token).compute_signature(REPORTS.url.removesuffix("status") + path, fields)
        headers = {"X-Twilio-Signature": signature}
        return self.client.post("/callbacks/twilio/" + path, data=fields, headers=headers)

    def press(self, key: str, *, call: str = "CA1") -> str:
        """A key during the call about the notice; returns what is said."""
        return self.signed(f"keys?notice={self.notice}", {"CallSid": call, "Digits": key}).get_data(as_text=True)

    def reply(self, body: str, *, phone: str = "+8612000000001", sid: str = "SM9") -> str:
        """A text sent back; returns the answer."""
        return self.signed("reply", {"MessageSid": sid, "From": phone, "Body": body}).get_data(as_text=True)

    def state(self) -> str:
        """The notice's state."""
        return told(self.world, self.code)[0].state


@pytest.fixture
def reporter(world: World) -> Reporter:
    """One SMS written, and somebody to report on it."""
    return Reporter(world)


def test_a_delivery_report_stamps_the_delivery_once(reporter: Reporter) -> None:
    """Delivered, and the same report again changes nothing; it may overtake our own record of the sending."""
    assert reporter.post("delivered") == 204
    assert reporter.post("delivered") == 204
    assert reporter.state() == "delivered"
    assert reporter.world.events(reporter.code)[-2:] == ["sent", "delivered"]


def test_a_forged_report_is_refused(reporter: Reporter) -> None:
    """Signed by somebody else, or for another notice: 403, nothing changes."""
    assert reporter.post("delivered", token="guess") == 403
    assert reporter.client.post("/callbacks/twilio/status", data={"MessageSid": "SM1"}).status_code == 403
    assert reporter.state() == "pending"


def test_a_report_on_a_notice_nobody_sent_is_refused(reporter: Reporter) -> None:
    """Well signed but about nothing of ours: 404."""
    assert reporter.post("delivered", notice="none") == 404


def test_an_undelivered_text_is_on_record_as_unreached(reporter: Reporter) -> None:
    """Failed with Twilio's error; a late "sent" changes nothing."""
    assert reporter.post("undelivered") == 204
    assert reporter.post("sent") == 204
    assert reporter.state() == "failed"
    assert "30003" in reporter.world.journal(reporter.code)[-1].data["reason"]


def test_a_delivery_is_not_undone_by_a_later_report(reporter: Reporter) -> None:
    """Out of order: delivered stays delivered."""
    assert reporter.post("delivered") == 204
    assert reporter.post("undelivered") == 204
    assert reporter.state() == "delivered"


def test_the_key_one_accepts_once_and_counts_as_a_receipt(reporter: Reporter) -> None:
    """Accepted by telephone; the same call's key again gives the same answer and changes nothing."""
    assert "已签收" in reporter.press("1")
    assert "已签收" in reporter.press("1")
    assert reporter.world.state(reporter.code) is State.ACCEPTED
    assert reporter.world.events(reporter.code).count("accept") == 1
    assert reporter.state() == "delivered"


def test_another_key_accepts_nothing(reporter: Reporter) -> None:
    """Only 1 does."""
    assert "Say" not in reporter.press("2")
    assert reporter.world.state(reporter.code) is State.DISPATCHED


def test_a_second_to_press_is_told_that_somebody_was_first(reporter: Reporter) -> None:
    """The first answer wins."""
    reporter.world.apply(reporter.code, Event.ACCEPT, "worker-2")
    assert "已由他人签收" in reporter.press("1")


def test_who_accepted_before_is_not_told_that_somebody_else_did(reporter: Reporter) -> None:
    """By page and then by text and telephone: they are on their way, and stay so."""
    reporter.world.apply(reporter.code, Event.ACCEPT, "worker-1")
    assert "您已经签收过了" in reporter.reply(reporter.code)
    assert "您已经签收过了" in reporter.press("1")
    assert reporter.world.events(reporter.code).count("accept") == 1


def test_a_forged_key_is_refused(reporter: Reporter) -> None:
    """403."""
    fields = {"CallSid": "CA1", "Digits": "1"}
    assert reporter.signed(f"keys?notice={reporter.notice}", fields, token="guess").status_code == 403
    assert reporter.world.state(reporter.code) is State.DISPATCHED


def wide(text: str) -> str:
    """As a Chinese keyboard may write it."""
    return "".join(chr(ord(sign) + 0xFEE0) for sign in text)


def eastern(text: str) -> str:
    """Its digits as an Arabic keyboard writes them."""
    return "".join(chr(0x660 + int(sign)) if sign.isdecimal() else sign for sign in text)


@pytest.mark.parametrize(
    "body",
    [
        *("{code}", " {lower} ok", "签收 {code}。", "1 {code}"),
        *("{wide}", "签收{wide}，马上去", "{eastern}", "{spaced}", "{dashed}.", "\u202d{code}\u202c"),
    ],
)
def test_the_code_sent_back_accepts(reporter: Reporter, body: str) -> None:
    """In capitals or not, with words around it, full-width, in other digits, with its signs apart."""
    code = reporter.code
    apart = {"spaced": " ".join(code), "dashed": f"{code[:2]}-{code[2:]}"}
    written = body.format(code=code, lower=code.lower(), wide=wide(code), eastern=eastern(code), **apart)
    assert "已签收" in reporter.reply(written)
    assert reporter.world.state(reporter.code) is State.ACCEPTED


@pytest.mark.parametrize("body", ["", "ok", "ZZZZ", "签收"])
def test_a_reply_without_a_known_code_is_asked_for_one(reporter: Reporter, body: str) -> None:
    """And accepts nothing."""
    assert "请回复编号" in reporter.reply(body)
    assert reporter.world.state(reporter.code) is State.DISPATCHED


def test_a_reply_for_somebody_elses_fire_accepts_nothing(reporter: Reporter) -> None:
    """Another village's owner, and a number nobody has."""
    assert "不能签收" in reporter.reply(reporter.code, phone="+8612000000004")
    assert "Message>" not in reporter.reply(reporter.code, phone="+8612000000999")
    assert reporter.world.state(reporter.code) is State.DISPATCHED


def test_a_whole_delivery_with_repeated_reports(world: World, tmp_path: Path) -> None:
    """Dispatcher, Twilio client, peer, signed reports (each twice) and the web application: delivered, once."""
    port = free_port()
    reports = StatusReports(TOKEN, f"http://127.0.0.1:{port}/callbacks/twilio/status")
    web = make_server("127.0.0.1", port, application(world, reports), threaded=True)  # type: ignore[arg-type]
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        with (
            peer(callback_copies=2) as (account, url),
            channel(url, callback_url=reports.url) as sms,
            Dispatcher(world.database, WorldClock(world), Expander(["sms"], ZONE), [sms]) as dispatcher,
        ):
            code = world.sighting(at=FIELD)
            dispatcher.step()
            dispatcher.settle()
            for _ in range(400):
                if told(world, code)[0].state == "delivered" and account.messages[0].status == "delivered":
                    break
                threading.Event().wait(0.02)
    finally:
        web.shutdown()
        web.server_close()
    assert told(world, code)[0].state == "delivered"
    assert (world.events(code).count("sent"), world.events(code).count("delivered")) == (1, 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_provider_that_fails_a_third_and_repeats_its_reports_tells_everybody_once(
    world: World, tmp_path: Path
) -> None:
    """Three in ten requests fail, every report comes three times and in any order: each text once, all delivered."""
    port = free_port()
    reports = StatusReports(TOKEN, f"http://127.0.0.1:{port}/callbacks/twilio/status")
    web = make_server("127.0.0.1", port, application(world, reports), threaded=True)  # type: ignore[arg-type]
    threading.Thread(target=web.serve_forever, daemon=True).start()
    chance = random.Random(1530)
    with (
        peer(callback_copies=3) as (account, url),
        channel(url, callback_url=reports.url) as sms,
        Dispatcher(world.database, WorldClock(world), Expander(["sms"], ZONE), [sms]) as dispatcher,
    ):
        account.faults.extend(chance.choices((0, 20500, 20429), (0.7, 0.15, 0.15), k=500))
        codes = [world.sighting(at=move(*CAMERA, bearing, 1_000)) for bearing in range(0, 240, 30)]
        for _ in range(40):
            dispatcher.step()
            dispatcher.settle()
            world.advance(seconds=20)
        states: list[str] = []
        for _ in range(400):
            with world.database.read() as session:
                states = list(session.scalars(select(Notice.state)))
            if set(states) == {"delivered"}:
                break
            threading.Event().wait(0.05)
        asked, bodies = account.asked, [(message.to, message.body) for message in account.messages]
    web.shutdown()
    web.server_close()
    assert set(states) == {"delivered"}
    assert len(bodies) == len(set(bodies))
    assert asked > len(bodies)
    for code in codes:
        sent = [line.data["notice"] for line in world.journal(code) if line.event is Event.SENT]
        delivered = [line.data["notice"] for line in world.journal(code) if line.event is Event.DELIVERED]
        assert len(sent) == len(set(sent)) == len(delivered) == len(set(delivered)) == len(told(world, code))
