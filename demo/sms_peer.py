# SPDX-License-Identifier: AGPL-3.0-or-later
"""A local peer that behaves like Twilio's Messages and Calls APIs, and shows the phones it "reached".

Basic authentication, form fields, JSON answers and error bodies, and status callbacks signed as Twilio signs them.
Nothing leaves this machine. ``python -m demo.sms_peer --help``.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import requests
from flask import Flask, Response, jsonify, render_template_string, request
from twilio.request_validator import RequestValidator
from werkzeug.serving import make_server

from server.admin.phones import to_e164
from server.domain.errors import Invalid

log = logging.getLogger("sms-peer")
_API = "/2010-04-01/Accounts/<account>"
_MESSAGES = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    21218: (400, "Invalid ApplicationSid or Twiml"),
    21211: (400, "The 'To' number {to} is not a valid phone number."),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
}


@dataclass(slots=True)
class Message:
    """A message as the peer keeps it."""

    sid: str
    to: str
    sender: str
    body: str
    at: datetime
    callback: str | None
    status: str = "queued"
    call: bool = False
    keys_to: str | None = None  # where a key pressed during the call goes


@dataclass
class Peer:
    """One account. ``faults``: error codes to answer the next requests with, 0 for none. ``fate``: the statuses each
    message goes through, ``call_fate`` each call; ``callback_copies``: how often each is reported. While ``gate`` is
    closed, requests wait."""

    sid: str
    token: str
    faults: deque[int] = field(default_factory=deque)
    fate: tuple[str, ...] = ("sent", "delivered")
    call_fate: tuple[str, ...] = ("completed",)
    key: str | None = None  # what people press when called
    callback_copies: int = 1
    messages: list[Message] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    gate: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def accept(self, form: Mapping[str, str]) -> Message | int:
        """Take a message, or say which of Twilio's error codes speaks against it."""
        with self.lock:
            self.asked += 1
        self.gate.wait(60)
        with self.lock:
            fault = self.faults.popleft() if self.faults else 0
        if fault:
            return fault
        sender = form.get("From") or form.get("MessagingServiceSid") or ""
        body, to = form.get("Body", ""), form.get("To", "")
        if code := _fault(to, sender, body):
            return code
        sid = f"SM{secrets.token_hex(16)}"
        message = Message(sid, to, sender, body, datetime.now(UTC), form.get("StatusCallback"))
        with self.lock:
            self.messages.append(message)
        return message

    def accept_call(self, form: Mapping[str, str]) -> Message | int:
        """Call somebody, or say which of Twilio's error codes speaks against it."""
        with self.lock:
            self.asked += 1
            fault = self.faults.popleft() if self.faults else 0
        try:
            said = ElementTree.fromstring(form.get("Twiml", ""))  # noqa: S314 - our own dispatcher's
        except ElementTree.ParseError:
            return 21218
        if fault or (fault := _fault(form.get("To", ""), form.get("From", ""), "call")):
            return fault
        gather = said.find("Gather")
        message = Message(
            sid=f"CA{secrets.token_hex(16)}",
            to=form["To"],
            sender=form["From"],
            body="☎ " + "".join(said.itertext()),
            at=datetime.now(UTC),
            callback=form.get("StatusCallback"),
            call=True,
            keys_to=gather.get("action") if gather is not None else None,
        )
        with self.lock:
            self.messages.append(message)
        return message

    def report(self, message: Message) -> None:
        """Take a message or a call through its fate, telling the callback address of each step as Twilio would."""
        if message.call and message.keys_to and self.key is not None:
            fields = {"AccountSid": self.sid, "CallSid": message.sid, "To": message.to, "Digits": self.key}
            self._post(message.keys_to, fields)
        for status in self.call_fate if message.call else self.fate:
            message.status = status
            if message.callback:
                for _ in range(self.callback_copies):
                    self._call_back(message, message.callback, status)

    def _call_back(self, message: Message, url: str, status: str) -> None:
        fields = {"AccountSid": self.sid, "ApiVersion": "2010-04-01", "From": message.sender, "To": message.to}
        if message.call:
            fields |= {"CallSid": message.sid, "CallStatus": status}
        else:
            fields |= {"MessageSid": message.sid, "MessageStatus": status}
            fields |= {"SmsSid": message.sid, "SmsStatus": status}
        if status in ("undelivered", "failed"):
            fields["ErrorCode"] = "30003"
        self._post(url, fields)

    def _post(self, url: str, fields: dict[str, str]) -> None:
        signature = RequestValidator(self.token).compute_signature(url, fields)
        try:
            requests.post(url, data=fields, headers={"X-Twilio-Signature": signature}, timeout=5)
        except requests.RequestException as error:
            log.warning("a callback did not arrive: %s", type(error).__name__)


def _fault(to: str, sender: str, body: str) -> int:
    try:
        if to_e164(to) != to:
            return 21211
    except Invalid:
        return 21211
    if not sender:
        return 21603
    if not body:
        return 21602
    return 21617 if len(body) > 1600 else 0


def create_peer(peer: Peer) -> Flask:
    """The HTTP side of a peer."""
    app = Flask("sms_peer")

    @app.post(f"{_API}/Messages.json")
    def create_message(account: str) -> tuple[Response, int]:
        """Twilio's "create a message"."""
        return _create(peer, account, peer.accept, _resource)

    @app.post(f"{_API}/Calls.json")
    def create_call(account: str) -> tuple[Response, int]:
        """Twilio's "make a call"."""
        return _create(peer, account, peer.accept_call, _call_resource)

    @app.get("/")
    def phones() -> str:
        """The phones and their texts."""
        with peer.lock:
            messages = list(reversed(peer.messages))
        by_phone: dict[str, list[Message]] = {}
        for message in messages:
            by_phone.setdefault(f"••• {message.to[-4:]}", []).append(message)
        return render_template_string(_PAGE, phones=by_phone, zone=_ZONE, words=_WORDS)

    return app


def _create(
    peer: Peer,
    account: str,
    accept: Callable[[Mapping[str, str]], Message | int],
    resource: Callable[[Peer, Message], dict[str, Any]],
) -> tuple[Response, int]:
    given = request.authorization
    if given is None or (given.username, given.password) != (peer.sid, peer.token):
        return _error(20003, "")
    if account != peer.sid:
        return _error(20404, "")
    made = accept(request.form)
    if isinstance(made, int):
        return _error(made, request.form.get("To", ""))
    threading.Thread(target=peer.report, args=(made,), daemon=True).start()
    return jsonify(resource(peer, made)), 201


def _error(code: int, to: str) -> tuple[Response, int]:
    status, text = _MESSAGES[code]
    more = f"https://www.twilio.com/docs/errors/{code}"
    return jsonify(code=code, message=text.format(to=to), more_info=more, status=status), status


def _resource(peer: Peer, message: Message) -> dict[str, Any]:
    """Twilio's message resource."""
    at = format_datetime(message.at)
    service = message.sender if message.sender.startswith("MG") else None
    return {
        "account_sid": peer.sid,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": at,
        "date_sent": None,
        "date_updated": at,
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": None if service else message.sender,
        "messaging_service_sid": service,
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": message.sid,
        "status": "queued",
        "subresource_uris": {},
        "to": message.to,
        "uri": f"/2010-04-01/Accounts/{peer.sid}/Messages/{message.sid}.json",
    }


def _call_resource(peer: Peer, message: Message) -> dict[str, Any]:
    """Twilio's call resource."""
    return {
        "account_sid": peer.sid,
        "api_version": "2010-04-01",
        "date_created": format_datetime(message.at),
        "direction": "outbound-api",
        "from": message.sender,
        "sid": message.sid,
        "status": "queued",
        "subresource_uris": {},
        "to": message.to,
        "uri": f"/2010-04-01/Accounts/{peer.sid}/Calls/{message.sid}.json",
    }


_ZONE = ZoneInfo("Asia/Shanghai")  # the demo region's
_WORDS = {
    "queued": "待发",
    "sent": "已发出",
    "delivered": "已送达",
    "undelivered": "未送达",
    "failed": "失败",
    "completed": "已接听",
    "no-answer": "无人接听",
}
_PAGE = """<!doctype html><html lang="zh"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>短信 SMS</title>
<style>
 body{font:16px/1.45 system-ui,"Noto Sans CJK SC",sans-serif;background:#dfe3e8;margin:0;padding:1rem;color:#15202b}
 h1{font-size:1.1rem;margin:0 0 1rem} main{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
 section{background:#fff;border-radius:1.4rem;padding:1rem;width:18rem;box-shadow:0 1px 4px #0003}
 h2{font-size:.95rem;text-align:center;margin:0 0 .6rem;border-bottom:1px solid #e3e6ea;padding-bottom:.5rem}
 p{background:#e9eaee;border-radius:.2rem 1rem 1rem 1rem;padding:.5rem .75rem;margin:.5rem 0 .1rem;
   overflow-wrap:anywhere}
 small{color:#5b6672}
</style>
<h1>演示手机（虚构号码） · Demo phones (fictional numbers; nothing left this machine)</h1>
<main>{% for phone, messages in phones.items() %}<section><h2>{{ phone }}</h2>
{% for message in messages %}<p>{{ message.body }}</p>
<small>{{ message.at.astimezone(zone).strftime("%H:%M:%S") }} ·
{{ words.get(message.status, "") }} {{ message.status }}</small>{% endfor %}
</section>{% else %}<section><h2>—</h2><small>还没有短信 · no texts yet</small></section>{% endfor %}</main></html>
"""


def serve(peer: Peer, host: str, port: int) -> tuple[Any, int]:
    """Serve a peer from a thread; returns the server (``shutdown()`` stops it) and its port (a free one for 0)."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server(host, port, create_peer(peer), threaded=True)
    threading.Thread(target=server.serve_forever, name="sms-peer", daemon=True).start()
    return server, server.server_port


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; 2 when the port is taken or the account is not given."""
    parser = argparse.ArgumentParser(prog="python -m demo.sms_peer", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8040, help="default %(default)s")
    parser.add_argument("--sid", default=os.environ.get("STRAW1530_TWILIO_SID"), help="default $STRAW1530_TWILIO_SID")
    args = parser.parse_args(argv)
    token = os.environ.get("STRAW1530_TWILIO_TOKEN")
    if not (args.sid and token):
        print(
            "sms-peer: STRAW1530_TWILIO_SID and STRAW1530_TWILIO_TOKEN are not set: invent an account", file=sys.stderr
        )
        return 2
    try:
        socket.create_server((args.host, args.port)).close()
    except OSError as error:
        print(
            f"sms-peer: cannot listen on {args.host}:{args.port}: {error.strerror}; give another --port",
            file=sys.stderr,
        )
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server, port = serve(Peer(args.sid, token), args.host, args.port)
    print(f"sms-peer: http://{args.host}:{port}/", flush=True)
    stop.wait()
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
