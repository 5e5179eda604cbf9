# SPDX-License-Identifier: AGPL-3.0-or-later
"""Weights become a model the edge can run, or one sentence says why not."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.train.cli import main
from detector.train.composite import add_plume
from detector.vision.card import read_card
from detector.vision.model import SHIPPED, load_model
from tests.train.conftest import Image

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs the train extra (torch is not installed)"
)


def test_the_shipped_model_is_whole_small_and_says_where_it_comes_from() -> None:
    """Its card's digest matches, and licence and origin are there."""
    card = read_card(SHIPPED)
    assert SHIPPED.stat().st_size <= 25_000_000
    assert card.licence == "AGPL-3.0-or-later"
    assert card.origin


def test_both_back_ends_give_the_same_boxes(hills: Image) -> None:
    """The halved weights compute in float32 wherever they run."""
    plume = add_plume(hills, np.random.default_rng(4))
    assert plume is not None
    picture = plume[0]
    one, two = (load_model(SHIPPED, name).detect(picture, 0.02) for name in ("openvino", "onnxruntime"))
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert a.box == pytest.approx(b.box, abs=0.5)
        assert a.confidence == pytest.approx(b.confidence, abs=1e-3)


@needs_torch
def test_export_round_trip(shared: Path, tmp_path: Path) -> None:
    """The starting weights, exported, are found on a tower picture by the edge's own runtime."""
    weights = shared / "weights/yolov8s-fire-smoke.npz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's and the exporter's own
        assert main(["export", "--weights", str(weights), "--out", str(tmp_path), "--name", "again"]) == 0
    model = load_model(tmp_path / "again.onnx")
    picture = cv2.imread(str(sorted((shared / "data/smoke/tower/images").iterdir())[0]))
    assert model.detect(np.asarray(picture, np.uint8), 0.1)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed here")
def test_without_torch_the_command_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence with the command that installs it."""
    weights = tmp_path / "w.npz"
    np.savez(weights, a=np.zeros(1))
    assert main(["export", "--weights", str(weights), "--out", str(tmp_path)]) == 1
    assert "constraints-train.txt" in capsys.readouterr().err


def test_missing_weights_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path is in the sentence."""
    assert main(["export", "--weights", str(tmp_path / "no.npz"), "--out", str(tmp_path)]) == 1
    assert "no weights at" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("nncf") is not None, reason="nncf is installed here")
def test_without_nncf_the_command_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence with the command that installs it."""
    arguments = ["quantise", "--model", str(SHIPPED), "--pictures", str(tmp_path), "--out", str(tmp_path / "q.xml")]
    assert main(arguments) == 1
    assert "constraints-train.txt" in capsys.readouterr().err
