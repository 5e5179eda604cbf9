# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's settings: checked whole, faults named by line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from detector.config import read_settings
from detector.errors import ConfigError

GOOD = """\
edge: edge-1
data_dir: data
broker:
  host: 10.0.0.1
  username: edge-1
  password_file: secret
cameras:
  - id: west
    url: rtsp://10.0.0.2/main
  - id: east
    url: rtsp://10.0.0.3/main
    interval_s: 60
    view: {pan: 271.5, tilt: -2, hfov: 32}
    confirm: {least_hits: 4, repeat_after_s: 600}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "edge.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    """What is not said has a sensible default; paths are meant from the file's folder."""
    settings = read_settings(write(tmp_path, GOOD))
    west, east = settings.cameras
    assert (west.interval_s, west.burst_interval_s, west.view) == (10, 2, None)
    assert settings.broker.port == 1883
    assert settings.outbox_path() == tmp_path / "data" / "outbox.sqlite"
    assert west.confirm_params().window_s == 40
    assert east.confirm_params().window_s == 240
    assert (east.confirm_params().least_hits, east.confirm_params().repeat_after_s) == (4, 600)


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("edge: edge-1", "edge: Edge 1", r"edge\.yaml:1: edge: .*pattern"),
        ("  username: edge-1\n", "", r"edge\.yaml:3: broker\.username: Field required"),
        ("10.0.0.1", "10.0.0.1\n  prot: 1", r"edge\.yaml:5: broker\.prot: .*no such setting; do you mean port\?"),
        ("interval_s: 60", "interval_s: 0", r"edge\.yaml:12: cameras\.1\.interval_s: .*greater than or equal to 0\.5"),
        ("rtsp://10.0.0.3", "ftp://10.0.0.3", r"edge\.yaml:11: cameras\.1\.url: .*must begin with one of rtsp://"),
        ("id: east", "id: west", r"edge\.yaml:7: cameras: .*two cameras are called west"),
        ("rtsp://10.0.0.3/main", "http://[fe80::1/snap.jpg", r"edge\.yaml:11: cameras\.1\.url: Invalid IPv6 URL"),
        (
            "rtsp://10.0.0.3/main",
            "http://10.0.0.3:99999/snap.jpg",
            r"edge\.yaml:11: cameras\.1\.url: Port out of range",
        ),
        ("interval_s: 60", "ptz: http://10.0.0.3:99999", r"edge\.yaml:12: cameras\.1\.ptz: Port out of range"),
        ("least_hits: 4", "evidence: .inf", r"edge\.yaml:14: cameras\.1\.confirm\.evidence: .*finite"),
        ("hfov: 32", "hfov: 0", r"edge\.yaml:13: cameras\.1\.view\.hfov: .*greater than 0"),
        ("edge: edge-1", "edge: [", r"is not YAML"),
        ("interval_s: 60", "interval_s: 60\n    interval_s: 6", r"edge\.yaml:13: interval_s: stands here twice"),
        ("  - id: east", "cameras:\n  - id: east", r"edge\.yaml:10: cameras: stands here twice"),
        ("edge: edge-1", "edge: &all [*all]", r"edge\.yaml:1: edge: "),
        ("id: west", 'id: west, preset: "a\\0b"', r"preset"),
        (GOOD, "", r"edge\.yaml:1: the file:"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, wrong: str, right: str, says: str) -> None:
    """File, line, field and what is allowed."""
    with pytest.raises(ConfigError, match=says):
        read_settings(write(tmp_path, GOOD.replace(wrong, right)))


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    """Two faults, two lines."""
    text = GOOD.replace("interval_s: 60", "interval_s: 0").replace("id: west", "id: W")
    with pytest.raises(ConfigError) as caught:
        read_settings(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Also when it is not text."""
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "binary.yaml")


def test_the_password_stands_in_a_file(tmp_path: Path) -> None:
    """Missing or empty, the sentence says which file; it is not shown where settings are printed."""
    settings = read_settings(write(tmp_path, GOOD))
    with pytest.raises(ConfigError, match="secret cannot be read"):
        settings.broker_access()
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(ConfigError, match="secret is empty"):
        settings.broker_access()
    (tmp_path / "secret").write_text("open sesame\n")
    access = settings.broker_access()
    assert access.password == "open sesame"
    assert "sesame" not in repr(access)
