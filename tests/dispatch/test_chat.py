# SPDX-License-Identifier: AGPL-3.0-or-later
"""Chat robots and webhooks against a local peer, and the file of addresses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from dispatch.addresses import Addresses, Hook, read_addresses
from dispatch.channels import Never, Outgoing, Sent, TryAgain
from dispatch.channels.chat import ChatChannel, WebhookChannel
from server.settings import SettingsError
from tests.support.http_peer import http_peer
from tests.support.tls_proxy import TlsProxy, tls_proxy

SECRET = "a secret of some length"


def notice(login: str = "group") -> Outgoing:
    """A notice to a group."""
    return Outgoing("n-1", login, None, "zh", {"id": "n-1", "title": "疑似焚烧 东村", "text": "K7F3 东村 疑似焚烧"})


def test_a_robot_gets_title_and_text() -> None:
    """By apprise, to the group's own address."""
    with http_peer() as peer:
        chat = ChatChannel({"group": (peer.url.replace("http://", "json://"),)})
        assert chat.send(notice()) == Sent()
        content = json.loads(peer.requests[0].body)
        assert (content["title"], content["message"]) == ("疑似焚烧 东村", "K7F3 东村 疑似焚烧")
        assert isinstance(chat.send(notice("somebody else")), Never)


def test_a_robot_that_refuses_is_tried_again() -> None:
    """A status other than success, or nobody there."""
    with http_peer() as peer:
        chat = ChatChannel({"group": (peer.url.replace("http://", "json://"),)})
        peer.answers = [(500, b"")]
        assert isinstance(chat.send(notice()), TryAgain)
    assert isinstance(chat.send(notice()), TryAgain)


ROBOTS = (
    "dingtalk://SECabcdef@abcdef1234567890",
    "wecombot://693a91f6-7abc-4bc4-97a0-0ec2aaaaaaaa",
    "feishu://abcdef123456",
)
TEXT = "疑似焚烧 东村\nK7F3 东村 疑似焚烧"


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsProxy]:
    """What goes to the three providers' own addresses, over a proxy as the environment names one."""
    hosts = ["oapi.dingtalk.com", "qyapi.weixin.qq.com", "open.feishu.cn"]
    with tls_proxy(tmp_path, hosts, b'{"errcode": 0, "errmsg": "ok", "code": 0, "msg": "success"}') as proxy:
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        yield proxy


def test_dingtalk_wecom_and_feishu_get_what_their_documents_ask_for(providers: TlsProxy) -> None:
    """The address with its key, the text, and DingTalk's signature: HMAC-SHA-256 over the time and the secret."""
    chat = ChatChannel({"group": ROBOTS})
    assert chat.send(notice()) == Sent()
    (ding, first), (wecom, second), (feishu, third) = providers.requests
    assert (ding, wecom, feishu) == ("oapi.dingtalk.com", "qyapi.weixin.qq.com", "open.feishu.cn")
    query = dict(parse_qsl(urlsplit(first.path).query))
    content = f"{query['timestamp']}\nSECabcdef".encode()
    assert base64.b64decode(query["sign"]) == hmac.new(b"SECabcdef", content, hashlib.sha256).digest()
    assert query["access_token"] == "abcdef1234567890"
    assert json.loads(first.body) == json.loads(second.body) == {"msgtype": "text", "text": {"content": TEXT}}
    assert second.path == "/cgi-bin/webhook/send?key=693a91f6-7abc-4bc4-97a0-0ec2aaaaaaaa"
    assert third.path == "/open-apis/bot/v2/hook/abcdef123456"
    assert json.loads(third.body) == {"msg_type": "text", "content": {"text": TEXT}}


@pytest.mark.parametrize(
    ("robot", "answer", "reason"),
    [
        (ROBOTS[0], b'{"errcode": 310000, "errmsg": "sign not match"}', "DingTalk answered 310000: sign not match"),
        (ROBOTS[1], b'{"errcode": 45009, "errmsg": "api freq out of limit"}', "WeCom answered 45009"),
        (ROBOTS[2], b'{"code": 19024, "msg": "Key Words Not Found", "data": {}}', "Feishu answered 19024: Key Words"),
        (ROBOTS[2], b"<html>", "Feishu cannot be reached"),
    ],
)
def test_a_refusal_with_status_200_is_no_success(providers: TlsProxy, robot: str, answer: bytes, reason: str) -> None:
    """The three providers say so in the body alone; another robot that takes it is enough."""
    providers.answers = [answer, answer]
    outcome = ChatChannel({"group": (robot,)}).send(notice())
    assert isinstance(outcome, TryAgain)
    assert reason in outcome.reason
    assert ChatChannel({"group": (robot, ROBOTS[1])}).send(notice()) == Sent()


def test_a_webhook_is_signed_so_that_its_receiver_can_check() -> None:
    """Standard Webhooks: the id, the time and the body under HMAC-SHA-256."""
    with http_peer() as peer:
        hooks = WebhookChannel({"group": Hook(f"{peer.url}/straw", SECRET)})
        assert hooks.send(notice()) == Sent()
        hooks.close()
        (request,) = peer.requests
        assert json.loads(request.body) == notice().payload
        content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
        digest = hmac.new(SECRET.encode(), content, hashlib.sha256).digest()
        assert request.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("status", "kind"), [(204, Sent), (302, TryAgain), (400, Never), (404, Never), (429, TryAgain), (503, TryAgain)]
)
def test_a_webhooks_answers_have_their_meaning(status: int, kind: type) -> None:
    """A redirect is not followed: the secret's signature would go elsewhere."""
    with http_peer() as peer:
        hooks = WebhookChannel({"group": Hook(peer.url, SECRET)})
        peer.answers = [(status, b"")]
        assert isinstance(hooks.send(notice()), kind)
        hooks.close()


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """The file of addresses."""
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_file_names_robots_webhooks_and_an_account(tmp_path: Path) -> None:
    """DingTalk, WeCom and Feishu among them, by login."""
    text = """
chat:
  group-1: "dingtalk://SECabcdef@abcdef1234567890"
  group-2: ["wecombot://693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa", "feishu://abcdef123456"]
webhook: {agriculture: {url: "https://example.org/x", secret: "0123456789abcdef"}}
sms:
  provider: aliyun
  key: k
  secret: s
  sign: 秸秆禁烧
  templates: {dispatch: {id: SMS_1, text: "${code} 疑似焚烧"}, bundle: {id: SMS_2, text: "${count}起：${codes}"}}
"""
    found = read_addresses(write(tmp_path / "channels.yaml", text))
    assert set(found.chat) == {"group-1", "group-2"}
    assert found.webhook["agriculture"].url == "https://example.org/x"
    assert found.account is not None
    assert found.account.templates["dispatch"].id == "SMS_1"
    assert read_addresses(write(tmp_path / "empty.yaml", "")) == Addresses()


@pytest.mark.parametrize(
    ("text", "mode", "sentence"),
    [
        ("{}", 0o644, "can be read by everybody"),
        ("chat: [", 0o600, "is no YAML"),
        ("pigeons: {}", 0o600, "holds chat, sms, webhook and nothing else"),
        ("chat: {group: nonsense}", 0o600, "chat: group: is no address that apprise knows"),
        ("webhook: {group: {url: 'https://x', secret: short}}", 0o600, "a secret of at least 16 characters"),
        ("sms: {provider: aliyun}", 0o600, "sms: takes key, provider"),
        (
            "sms: {provider: aliyun, key: k, secret: s, sign: 秸秆禁烧, templates: {dispatch: {id: S, text: '"
            + "长" * 70
            + "'}}}",
            0o600,
            "dispatch: 6 signs more than one text holds",
        ),
        (
            "sms: {provider: aliyun, key: k, secret: s, sign: 秸秆禁烧, templates: {dispatch: {id: S, text: x}}}",
            0o600,
            "bundle: is missing",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_one_sentence(tmp_path: Path, text: str, mode: int, sentence: str) -> None:
    """Naming the place; a template that could never fit is found before the first fire."""
    with pytest.raises(SettingsError) as refused:
        read_addresses(write(tmp_path / "channels.yaml", text, mode))
    assert sentence in str(refused.value)
