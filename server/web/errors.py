# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one place where refusals become HTTP: a status, a stable code, and a sentence in the reader's language."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify, render_template, request
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from server.domain import errors
from server.web import words


class NotLoggedIn(errors.DomainError):
    """Nobody is logged in."""

    code = "not_logged_in"


class WrongPassword(errors.DomainError):
    """The name does not exist, has no password yet, or the password is another."""

    code = "wrong_password"


class Busy(errors.DomainError):
    """All live connections are taken."""

    code = "busy"


_STATUS = {
    "refused": 422,
    "not_allowed_now": 409,
    "already_answered": 409,
    "too_late": 409,
    "not_concerned": 404,  # what lies outside a person's area does not exist for them
    "not_permitted": 403,
    "missing": 404,
    "invalid": 422,
    "not_logged_in": 401,
    "wrong_password": 401,
    "busy": 503,
}


def sentence(error: errors.DomainError) -> str:
    """The refusal in words, in the reader's language."""
    if isinstance(error, errors.NotAllowedNow):
        return str(
            _(
                "现在是“%(state)s”，不能再“%(event)s”。",
                state=words.STATES[error.state],
                event=words.EVENTS[error.event],
            )
        )
    if isinstance(error, errors.AlreadyAnswered) and error.themselves:
        return str(_("您已经签收过了。"))
    if isinstance(error, errors.Invalid):
        return str(_("内容有误：%(reason)s", reason=words.fault(str(error))))
    return str(_SENTENCES.get(error.code, _SENTENCES["refused"])())


_SENTENCES = {
    "refused": lambda: _("没有接受。"),
    "already_answered": lambda: _("已由他人签收。"),
    "too_late": lambda: _("撤销的时间已过。"),
    "not_concerned": lambda: _("没有这个火点，或者不在您的辖区。"),
    "not_permitted": lambda: _("您的岗位没有这一步的权限。"),
    "missing": lambda: _("没有这个火点，或者不在您的辖区。"),
    "not_logged_in": lambda: _("请先登录。"),
    "wrong_password": lambda: _("名字或密码不对。"),
    "busy": lambda: _("实时连接已满，页面改为定时刷新。"),
}


def init(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(errors.DomainError, _domain)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)


def _domain(error: errors.DomainError) -> Any:
    return _answer(_STATUS.get(error.code, 422), error.code, sentence(error))


def _csrf(_error: CSRFError) -> Any:
    return _answer(400, "csrf", str(_("页面放得太久了，请刷新后再试。")))


def _http(error: HTTPException) -> Any:
    if error.code is None or error.response is not None:
        return error
    known = {
        400: _("请求的格式不对。"),
        404: _("没有这一页。"),
        405: _("不能这样访问。"),
        413: _("照片太大了。"),
        429: _("试得太频繁，请一分钟后再试。"),
        500: _("服务器出错了，已经记下。请再试一次。"),
    }
    return _answer(error.code, f"http_{error.code}", str(known.get(error.code) or error.name))


def _answer(status: int, code: str, text: str) -> tuple[Response | str, int]:
    if request.path.startswith("/api/") or request.path == "/healthz" or not request.accept_mimetypes.accept_html:
        return jsonify(code=code, message=text), status
    return render_template("error.html", status=status, text=text), status
