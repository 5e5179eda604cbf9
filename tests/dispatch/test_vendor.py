# SPDX-License-Identifier: AGPL-3.0-or-later
"""Texts by template, against a local peer that checks signature and parameters as Alibaba Cloud does."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import select

from dispatch.addresses import Account, Template
from dispatch.channels import Never, Outgoing, Sent, TryAgain
from dispatch.channels.vendor import VendorSmsChannel, signature
from dispatch.texts import room
from server.domain.place import move
from server.models import Notice
from server.services import outcomes
from server.settings import Settings, SettingsError
from server.web.app import create_app
from tests.dispatch.helpers import WorldClock, expand, told
from tests.support.http_peer import http_peer
from tests.support.world import CAMERA, FIELD, World

TEMPLATE = Template("SMS_1530", "${code} ${place} 疑似焚烧，${time}发现，请${limit}分钟内签收")
ACCOUNT = Account("aliyun", "key-id", "key-secret", "秸秆禁烧", {"dispatch": TEMPLATE})
OK = json.dumps({"Code": "OK", "Message": "OK", "BizId": "9006^0", "RequestId": "x"}).encode()


def notice(what: str = "dispatch", place: str = "石梁镇东村", phone: str | None = "+8612000000001") -> Outgoing:
    """A notice as the dispatcher writes it for texts."""
    params = {"code": "K7F3", "place": place, "time": "19:52", "limit": "5", "lead": "", "minutes": "0"}
    return Outgoing("n-1", "worker-1", phone, "zh", {"text": "…", "template": {"what": what, "params": params}})


def account(url: str) -> Account:
    """Ours, at the peer."""
    return Account(ACCOUNT.provider, ACCOUNT.key, ACCOUNT.secret, ACCOUNT.sign, ACCOUNT.templates, url)


def test_a_text_goes_by_its_template_signed() -> None:
    """The number without its country, the sign, the template and its parameters, our id for the report."""
    with http_peer(OK) as peer:
        sms = VendorSmsChannel(account(peer.url))
        assert sms.send(notice()) == Sent("9006^0")
        sms.close()
        query = dict(parse_qsl(urlsplit(peer.requests[0].path).query))
    given = query.pop("Signature")
    assert given == signature(query, "key-secret")
    assert given != signature(query | {"PhoneNumbers": "12000000002"}, "key-secret")
    assert (query["PhoneNumbers"], query["SignName"], query["OutId"]) == ("12000000001", "秸秆禁烧", "n-1")
    assert query["TemplateCode"] == "SMS_1530"
    assert json.loads(query["TemplateParam"]) == {"code": "K7F3", "place": "石梁镇东村", "time": "19:52", "limit": "5"}


def test_the_signature_is_the_published_one() -> None:
    """The worked example of the provider's documentation of signature version 1.0 (DescribeRegions)."""
    query = {
        "AccessKeyId": "testid",
        "Action": "DescribeRegions",
        "Format": "XML",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "SignatureVersion": "1.0",
        "Timestamp": "2016-02-23T12:46:24Z",
        "Version": "2014-05-26",
    }
    assert signature(query, "testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("isv.MOBILE_NUMBER_ILLEGAL", Never),
        ("isv.TEMPLATE_MISSING_PARAMETERS", Never),
        ("isv.BUSINESS_LIMIT_CONTROL", TryAgain),
        ("isv.AMOUNT_NOT_ENOUGH", TryAgain),
        ("Throttling.User", TryAgain),
    ],
)
def test_the_providers_answers_have_their_meaning(code: str, kind: type) -> None:
    """What speaks of the number or the text is final; what speaks of the hour or the account is not."""
    with http_peer() as peer:
        sms = VendorSmsChannel(account(peer.url))
        peer.answers = [(400, json.dumps({"Code": code, "Message": "…"}).encode()), (502, b"<html>")]
        assert isinstance(sms.send(notice()), kind)
        assert isinstance(sms.send(notice()), TryAgain)
        sms.close()


def test_long_names_are_cut_so_that_it_stays_one_text() -> None:
    """The code and what to do stay whole."""
    with http_peer(OK) as peer:
        sms = VendorSmsChannel(account(peer.url))
        assert isinstance(sms.send(notice(place="某" * 60)), Sent)
        sms.close()
        params = json.loads(dict(parse_qsl(urlsplit(peer.requests[0].path).query))["TemplateParam"])
    assert room("【秸秆禁烧】" + TEMPLATE.render(params)) == 0
    assert params["place"].endswith("某…")
    assert params["code"] == "K7F3"


def test_what_has_no_template_or_no_number_goes_another_way() -> None:
    """The next channel takes over at once; nothing is asked of the provider."""
    with http_peer(OK) as peer:
        sms = VendorSmsChannel(account(peer.url))
        assert isinstance(sms.send(notice(what="taken")), Never)
        assert isinstance(sms.send(notice(phone=None)), Never)
        sms.close()
        assert peer.requests == []


def test_an_unknown_provider_is_refused() -> None:
    """At the start, with those that are known."""
    with pytest.raises(SettingsError, match="no provider 'carrier pigeon' \\(known: aliyun\\)"):
        VendorSmsChannel(Account("carrier pigeon", "k", "s", "x", {}))


def test_the_providers_reports_count_once_and_only_at_the_secret_address(world: World, tmp_path: Path) -> None:
    """Delivered, undelivered with its reason, again, about nobody, and to another address."""
    secret = "s" * 24
    url = world.database.url.render_as_string(hide_password=False)
    settings = Settings(tmp_path, url, "k" * 40, None, sms_report_secret=secret)
    client = create_app(settings, world.database, WorldClock(world)).test_client()
    code = world.sighting(at=FIELD)
    expand(world, ["sms"])
    with world.database.write() as session:
        number = session.scalars(select(Notice.id)).one()
        outcomes.record_sent(session, {number: "9006^0"}, world.now)
    report = [{"out_id": number, "success": True, "err_code": "DELIVERED"}, {"out_id": "nobody", "success": True}, 7]
    assert client.post("/callbacks/sms/" + "x" * 24, json=report).status_code == 404
    assert client.post(f"/callbacks/sms/{secret}", data="[").status_code == 400
    for _ in range(2):
        assert client.post(f"/callbacks/sms/{secret}", json=report).get_json()["code"] == 0
    assert [one.state for one in told(world, code)] == ["delivered"]
    late = [{"out_id": number, "success": False, "err_code": "MK:0001"}]
    client.post(f"/callbacks/sms/{secret}", json=late)
    assert [one.state for one in told(world, code)] == ["delivered"]
    assert world.events(code).count("delivered") == 1


def test_a_report_counts_for_every_fire_in_the_text_and_not_for_an_earlier_text(world: World, tmp_path: Path) -> None:
    """Two fires went in one text, after a first attempt whose report comes late: that one changes nothing, the other
    settles both."""
    secret = "s" * 24
    url = world.database.url.render_as_string(hide_password=False)
    settings = Settings(tmp_path, url, "k" * 40, None, sms_report_secret=secret)
    client = create_app(settings, world.database, WorldClock(world)).test_client()
    codes = [world.sighting(at=move(*CAMERA, bearing, 1_000)) for bearing in (0, 40)]
    expand(world, ["sms"])
    with world.database.write() as session:
        numbers = session.scalars(select(Notice.id).order_by(Notice.id)).all()
        outcomes.record_sent(session, dict.fromkeys(numbers, "9007^0"), world.now)
    reports = [
        {"out_id": numbers[0], "biz_id": "9006^0", "success": False, "err_code": "MK:0001"},
        {"out_id": numbers[0], "biz_id": "9007^0", "success": True, "err_code": "DELIVERED"},
    ]
    for report, state in zip(reports, ("sent", "delivered"), strict=True):
        assert client.post(f"/callbacks/sms/{secret}", json=[report]).get_json()["code"] == 0
        assert [told(world, code)[0].state for code in codes] == [state, state]
