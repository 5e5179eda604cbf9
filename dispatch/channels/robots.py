# SPDX-License-Identifier: AGPL-3.0-or-later
"""The robots of DingTalk, WeCom and Feishu, addressed as apprise has them.

They answer 200 to a refusal, too (a wrong signature, a keyword that is missing, too many in a minute), and apprise 2.2
looks at the status alone and escapes DingTalk's signature twice, so that no signed message ever arrives. So these three
are asked here, and what they answer is read; every other service goes by apprise.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

import requests
from apprise.plugins.dingtalk import NotifyDingTalk
from apprise.plugins.feishu import NotifyFeishu
from apprise.plugins.wecombot import NotifyWeComBot

from dispatch.channels import Outcome, Sent, TryAgain

_TIMEOUT_S = 8.0


def send(robot: Any, title: str, body: str) -> Outcome:
    """Hand a message to one robot of apprise's. A refusal is tried again: it speaks of the robot, not of the notice."""
    text = f"{title}\n{body}"
    if isinstance(robot, NotifyDingTalk):
        return _ask("DingTalk", "https://oapi.dingtalk.com/robot/send", _dingtalk(robot), _words(text), "errcode")
    if isinstance(robot, NotifyWeComBot):
        url = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
        return _ask("WeCom", url, {"key": robot.key}, _words(text), "errcode")
    if isinstance(robot, NotifyFeishu):
        url = f"https://open.feishu.cn/open-apis/bot/v2/hook/{robot.token}"
        return _ask("Feishu", url, {}, {"msg_type": "text", "content": {"text": text}}, "code")
    taken: bool = robot.notify(body=body, title=title)
    return Sent() if taken else TryAgain("the chat robot refused it or cannot be reached")


def _words(text: str) -> dict[str, Any]:
    return {"msgtype": "text", "text": {"content": text}}


def _dingtalk(robot: NotifyDingTalk) -> dict[str, str]:
    if not robot.secret:
        return {"access_token": robot.token}
    at = str(round(time.time() * 1000))
    digest = hmac.new(robot.secret.encode(), f"{at}\n{robot.secret}".encode(), hashlib.sha256).digest()
    return {"access_token": robot.token, "timestamp": at, "sign": base64.b64encode(digest).decode()}


def _ask(name: str, url: str, query: dict[str, str], message: dict[str, Any], word: str) -> Outcome:
    try:
        reply = requests.post(url, params=query, json=message, timeout=_TIMEOUT_S, allow_redirects=False)
        answer = reply.json()
        code = answer.get(word)
    except (requests.RequestException, ValueError, AttributeError) as error:
        return TryAgain(f"{name} cannot be reached: {type(error).__name__}")
    if reply.ok and code == 0:
        return Sent()
    return TryAgain(f"{name} answered {code}: {answer.get('errmsg') or answer.get('msg') or reply.status_code}")
