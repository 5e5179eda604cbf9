# SPDX-License-Identifier: AGPL-3.0-or-later
"""A person with a program instead of a browser: logs in and uses the API as the pages do (docs/api.md)."""

from __future__ import annotations

from typing import Any

import requests


class Visitor:
    """One person's session. Network faults read as "not yet": the caller waits and tries again."""

    def __init__(self, base: str, login: str, password: str) -> None:
        self._base = base
        self._credentials = {"login": login, "password": password}
        self._session = requests.Session()
        self._csrf = ""

    def try_login(self) -> bool:
        """Log in; False when the pages do not answer (yet) or do not let in."""
        try:
            me = self._session.get(f"{self._base}/api/v1/me", timeout=5)
            self._csrf = me.json()["csrf_token"]
            answer = self._post("/api/v1/session", json=self._credentials)
            if not answer.ok:
                return False
            self._csrf = answer.json()["csrf_token"]
        except (requests.RequestException, KeyError, ValueError):
            return False
        return True

    def incidents(self) -> list[dict[str, Any]]:
        """The incidents this person may see, newest first; empty when the pages do not answer."""
        found: list[dict[str, Any]] = self._get("/api/v1/incidents").get("incidents", [])
        return found

    def incident(self, code: str) -> dict[str, Any]:
        """One incident; ``{"state": ""}`` when it cannot be read now."""
        found: dict[str, Any] = self._get(f"/api/v1/incidents/{code}").get("incident", {})
        return {"state": ""} | found

    def cameras(self) -> list[dict[str, Any]]:
        """The cameras this person may see."""
        found: list[dict[str, Any]] = self._get("/api/v1/cameras").get("cameras", [])
        return found

    def answer(self, code: str, event: str, answer_id: str, photo: bytes | None = None) -> str:
        """Answer an incident; the reason when it was refused, empty when it was taken."""
        fields = {"id": answer_id, "incident": code, "event": event}
        try:
            if photo is None:
                answer = self._post("/api/v1/answers", json=fields)
            else:
                files = {"photo": ("scene.jpg", photo, "image/jpeg")}
                answer = self._post("/api/v1/answers", data=fields, files=files)
            return "" if answer.ok else str(answer.json().get("message", answer.status_code))
        except (requests.RequestException, ValueError) as error:
            return f"the pages do not answer: {error}"

    @staticmethod
    def texts_mention(base: str, code: str) -> bool:
        """Whether a phone on the SMS peer's page shows a text with this incident's code."""
        try:
            return code in requests.get(base, timeout=5).text
        except requests.RequestException:
            return False

    def _get(self, path: str) -> dict[str, Any]:
        try:
            answer = self._session.get(f"{self._base}{path}", timeout=5)
            found: dict[str, Any] = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError):
            return {}
        return found

    def _post(self, path: str, **content: Any) -> requests.Response:
        return self._session.post(f"{self._base}{path}", headers={"X-CSRFToken": self._csrf}, timeout=20, **content)
