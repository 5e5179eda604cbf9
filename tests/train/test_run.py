# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole of `train run`, where torch is installed."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from detector.vision.card import read_card

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs the train extra (torch is not installed)"
)
CHECKPOINTS = 4  # the small budget saves an epoch in as many parts


def test_an_interrupted_run_goes_on_where_it_stopped_and_ends_in_a_model(dataset: Path, tmp_path: Path) -> None:
    """Killed after its second checkpoint and resumed, it trains the other two only, and exports what the edge loads."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "straw1530.cli", "train", "run", str(dataset), "--out", str(out)]
    command += ["--pictures", "16", "--epochs", "1", "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (out / "fit/weights/epoch1.pt").exists():
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        process.kill()
    before = (out / "fit/weights/epoch0.pt").stat().st_mtime_ns
    subprocess.run(
        [*command, "--resume"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300
    )
    assert (out / "fit/weights/epoch0.pt").stat().st_mtime_ns == before
    with (out / "fit/results.csv").open() as file:
        assert [int(line["epoch"]) for line in csv.DictReader(file)] == list(range(1, CHECKPOINTS + 1))
    (chosen,) = out.glob("blend-0.65/smoke.onnx")
    assert read_card(chosen).views == ["whole", "band", "detail"]


def test_a_checkpoint_torn_by_a_kill_is_mended(tmp_path: Path) -> None:
    """The newest from what was written just before it, or what was to be gone on from by the newest that is whole."""
    from detector.train.fit import _mend

    def write(name: str, epoch: int, whole: bool) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("data", f"epoch {epoch}" * 100)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content if whole else content[:200])
        return tmp_path / name

    last, torn = write("last.pt", 1, True), write("epoch1.pt", 1, False)
    write("epoch0.pt", 0, True)
    _mend(last)
    assert torn.read_bytes() == last.read_bytes()
    write("last.pt", 2, False)
    _mend(last)
    assert last.read_bytes() == torn.read_bytes()
    for name in ("last.pt", "epoch0.pt", "epoch1.pt"):
        write(name, 0, False)
    _mend(last)
    assert list(tmp_path.iterdir()) == []
