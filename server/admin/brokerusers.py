# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who may use the broker, in the files that mosquitto reads; the embedded broker reads the same ones.

Passwords are PBKDF2-SHA512 in mosquitto's ``$7$iterations$salt$hash`` form. The access rules let an edge box or a
person use the topics below its own name only; see docs/wire.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

_ITERATIONS = 20_000
ROOT = "straw1530/v1"
# The parts of the system that see all topics. Edge boxes and people may not take these names.
SYSTEM_USERS = ("engine", "dispatch")
# What everybody else may do, %u being their own name: (read or write, topic).
OWN_TOPICS = (
    ("write", f"{ROOT}/edge/%u/sighting"),
    ("write", f"{ROOT}/edge/%u/picture/+"),
    ("write", f"{ROOT}/edge/%u/status"),
    ("write", f"{ROOT}/edge/%u/coverage"),
    ("write", f"{ROOT}/edge/%u/onset"),
    ("write", f"{ROOT}/edge/%u/time"),
    ("read", f"{ROOT}/edge/%u/time-reply"),
    ("read", f"{ROOT}/edge/%u/ack"),
    ("read", f"{ROOT}/edge/%u/update"),
    ("write", f"{ROOT}/edge/%u/want"),
    ("read", f"{ROOT}/edge/%u/piece/+/+"),
    ("read", f"{ROOT}/edge/%u/places"),
    ("read", f"{ROOT}/person/%u/notice"),
    ("read", f"{ROOT}/person/%u/open"),
    ("read", f"{ROOT}/person/%u/result"),
    ("write", f"{ROOT}/person/%u/receipt"),
    ("write", f"{ROOT}/person/%u/answer"),
    # What the server says of itself is for everybody: the more copies of a checkpoint, the better.
    ("read", f"{ROOT}/server/heartbeat"),
    ("read", f"{ROOT}/server/checkpoint"),
)


def hash_password(password: str) -> str:
    """The password as mosquitto keeps it."""
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify_password(password: str, hashed: str) -> bool:
    """Whether the password is the one that was hashed."""
    try:
        _, kind, iterations, salt, digest = hashed.split("$")
    except ValueError:
        return False
    if kind != "7":
        return False
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(salt), int(iterations))
    return hmac.compare_digest(found, base64.b64decode(digest))


def read_users(path: Path) -> dict[str, str]:
    """Name → hashed password. Raises OSError when the file cannot be read."""
    lines = path.read_text().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def write_users(path: Path, passwords: Mapping[str, str]) -> None:
    """Write the password file, readable by its owner alone, in one step."""
    _write(path, {name: hash_password(password) for name, password in passwords.items()})


def set_password(path: Path, name: str, password: str) -> None:
    """Give one user a password, new or in place of the old; the other lines stay. Raises OSError."""
    known = read_users(path) if path.exists() else {}
    _write(path, known | {name: hash_password(password)})


def _write(path: Path, hashed: Mapping[str, str]) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    temporary = path.with_suffix(".new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.writelines(f"{name}:{line}\n" for name, line in sorted(hashed.items()))
    temporary.chmod(mode)
    temporary.replace(path)


def acl_file_text() -> str:
    """The access rules as mosquitto's ``acl_file``."""
    lines = [f"user {name}\ntopic readwrite {ROOT}/#\n" for name in SYSTEM_USERS]
    lines += [f"pattern {verb} {topic}" for verb, topic in OWN_TOPICS]
    return "\n".join(lines) + "\n"


def allowed(username: str, verb: str, topic: str) -> bool:
    """The same rules as a function: may this user ``read`` or ``write`` this topic (or subscription)?"""
    if username in SYSTEM_USERS:
        return topic.startswith(f"{ROOT}/")
    return any(verb == rule and _matches(pattern.replace("%u", username), topic) for rule, pattern in OWN_TOPICS)


def _matches(pattern: str, topic: str) -> bool:
    wanted, given = pattern.split("/"), topic.split("/")
    return len(wanted) == len(given) and all(w in ("+", g) and g != "#" for w, g in zip(wanted, given, strict=True))
