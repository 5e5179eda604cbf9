# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 evidence`` as an operator and an auditor use it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from server.domain.lifecycle import Event
from straw1530.cli import main
from tests.support.world import World


@pytest.fixture
def data(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The server's data folder, with the environment set as an operator would."""
    folder = tmp_path / "data"
    monkeypatch.setenv("STRAW1530_DATA", str(folder))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    monkeypatch.chdir(tmp_path)
    return folder


def test_from_export_to_verdict(world: World, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Export, verify with the published key, change a byte, verify again."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1", note="马上到")
    assert main(["evidence", "export", fire.lower()]) == 0
    verify = ["evidence", "verify", f"{fire}.zip", "--key", str(data / "evidence.pub")]
    assert main(verify) == 0
    assert "INTACT" in capsys.readouterr().out
    content = bytearray(Path(f"{fire}.zip").read_bytes())
    content[len(content) // 2] ^= 1
    Path(f"{fire}.zip").write_bytes(content)
    assert main(verify) in (1, 2)


def test_from_a_kept_checkpoint_to_proof_of_growth(
    world: World, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody keeps today's checkpoint; next week the server proves that it only added to it."""
    world.dispatched()
    assert main(["evidence", "checkpoint"]) == 0
    Path("kept.txt").write_text(capsys.readouterr().out)
    world.advance(minutes=11)
    assert main(["evidence", "checkpoint"]) == 0
    capsys.readouterr()
    assert main(["evidence", "growth", "kept.txt"]) == 0
    Path("proof.json").write_text(capsys.readouterr().out)
    arguments = ["evidence", "verify", "--key", str(data / "evidence.pub"), "--growth", "proof.json"]
    assert main(arguments) == 0
    assert main(["evidence", "check", "--checkpoint", "kept.txt"]) == 0
    proof = json.loads(Path("proof.json").read_text())
    proof["path"] = proof["path"][:-1] + ["00" * 32]
    Path("proof.json").write_text(json.dumps(proof))
    assert main(arguments) == 1
    assert "history was rewritten" in capsys.readouterr().out


def test_a_kept_checkpoint_is_held_against_a_bundle(
    world: World, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another size it says nothing until the server proves that one log holds both; what it cannot prove is said."""
    fire = world.dispatched()
    assert main(["evidence", "checkpoint"]) == 0
    Path("kept.txt").write_text(capsys.readouterr().out)
    world.advance(minutes=3)
    assert main(["evidence", "export", fire]) == 0
    Path("own.txt").write_bytes(zipfile.ZipFile(f"{fire}.zip").read("checkpoint.txt"))
    world.advance(minutes=11)
    assert main(["evidence", "checkpoint"]) == 0
    verify = ["evidence", "verify", f"{fire}.zip", "--key", str(data / "evidence.pub")]
    assert main([*verify, "--checkpoint", "own.txt"]) == 0
    for name in ("kept", "own"):
        capsys.readouterr()
        assert main(["evidence", "growth", f"{name}.txt"]) == 0
        Path(f"{name}.json").write_text(capsys.readouterr().out)
    assert main([*verify, "--checkpoint", "kept.txt"]) == 2
    assert main([*verify, "--checkpoint", "kept.txt", "--growth", "kept.json"]) == 2
    assert "UNKNOWN" in capsys.readouterr().out
    assert main([*verify, "--checkpoint", "kept.txt", "--growth", "kept.json", "--growth", "own.json"]) == 0


def test_erasing_and_what_cannot_be_done_is_said_in_a_sentence(
    world: World, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A note goes; a second time, an unknown incident and a checkpoint of nobody are refused."""
    fire = world.dispatched()
    world.apply(fire, Event.ACCEPT, "worker-1", note="马上到")
    seq = str(world.journal(fire)[-1].seq)
    assert main(["evidence", "erase", fire, seq, "note"]) == 0
    assert world.journal(fire)[-1].data["erased"] == ["note"]
    for arguments, sentence in (
        (["erase", fire, seq, "note"], "holds no 'note'"),
        (["export", "ZZZZ"], "there is no incident"),
        (["growth", "nothing.txt"], "nothing.txt"),
    ):
        assert main(["evidence", *arguments]) == 1
        assert sentence in capsys.readouterr().err
    Path("nobody.txt").write_text("straw1530/00000000\n3\nAAAA\n\n— nobody AAAA\n")
    assert main(["evidence", "check", "--checkpoint", "nobody.txt"]) == 1
    assert "carries no signature" in capsys.readouterr().err
