# SPDX-License-Identifier: AGPL-3.0-or-later
"""What stands in a command's way is said in one sentence, with the mend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from demo.cli import main as demo
from server.admin.cli import main as admin
from server.audit.cli import main as audit
from server.evidence.cli import main as evidence

Command = Callable[[Sequence[str]], int]


@pytest.mark.parametrize(
    ("command", "argv", "settings", "words"),
    [
        (admin, ["list"], {"STRAW1530_DATABASE": "xyz"}, "STRAW1530_DATABASE must read"),
        (admin, ["list"], {"STRAW1530_DATABASE": "mysql://a/b"}, "STRAW1530_DATABASE must read"),
        (admin, ["list"], {"STRAW1530_MQTT": "u:p@host:99999"}, "STRAW1530_MQTT must read"),
        (admin, ["list"], {}, "run `straw1530 admin init`"),
        (admin, ["init"], {"STRAW1530_DATA": "/proc/none"}, "/proc/none: No such file"),
        (audit, [], {}, "run `straw1530 admin init`"),
        (evidence, ["export", "K7F3"], {}, "run `straw1530 admin init`"),
        (evidence, ["check", "--checkpoint", "FILE"], {}, "is not text"),
        (demo, ["--port", "70000", "--data", "DATA"], {}, "70000 is no port"),
    ],
)
def test_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: Command,
    argv: list[str],
    settings: dict[str, str],
    words: str,
) -> None:
    """No traceback, no SQL, and what to do."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "file"
    file.write_bytes(b"\xd8\xff\x00")
    status = command([{"FILE": str(file), "DATA": str(tmp_path / "demo")}.get(word, word) for word in argv])
    said = capsys.readouterr().err.strip()
    assert status != 0
    assert words in said
    assert len(said.splitlines()) == 1
