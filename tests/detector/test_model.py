# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model's face: the same boxes from each back end, and clear words for what is no model."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from detector.errors import ModelError
from detector.vision.model import SHIPPED, Backend, Detection, load_model
from detector.vision.yolo import decode, letterbox


def picture_of(shared: Path, frame: str) -> np.ndarray:
    image = cv2.imread(str(shared / "data" / "smoke" / "sequences" / "boucher-hill-west-2017-12-07" / frame))
    assert image is not None
    return np.asarray(image, np.uint8)


def overlap(first: Detection, second: Detection) -> float:
    """Intersection over union."""
    a, b = np.array(first.box), np.array(second.box)
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (1920, 1080)])
def test_smoke_is_found_at_its_place(shared: Path, backend: Backend, size: tuple[int, int]) -> None:
    """A real plume is found where it is, in pixels of the picture as given, whatever its size."""
    image = np.asarray(cv2.resize(picture_of(shared, "0050.jpg"), size), np.uint8)
    model = load_model(backend=backend, threads=1)
    found = model.detect(image, model.card.confidence)
    assert found
    x1, y1, x2, y2 = found[0].box
    width, height = size
    assert 0.3 < (x1 + x2) / 2 / width < 0.5
    assert 0.45 < (y1 + y2) / 2 / height < 0.62
    assert found[0].label == "smoke"
    assert [each.confidence for each in found] == sorted((each.confidence for each in found), reverse=True)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_model_leaves_the_process_on_every_core(backend: Backend) -> None:
    """A looking thread tied to one core waits there for every other box on the machine."""
    cores = os.sched_getaffinity(0)
    load_model(backend=backend, threads=1)
    assert os.sched_getaffinity(0) == cores


def test_back_ends_agree(shared: Path) -> None:
    """OpenVINO and ONNX Runtime give the same boxes with the same confidences."""
    image = picture_of(shared, "0100.jpg")
    one, other = (load_model(backend=name, threads=1).detect(image, 0.2) for name in ("openvino", "onnxruntime"))
    assert one
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert overlap(first, second) > 0.98
        assert first.confidence == pytest.approx(second.confidence, abs=0.01)


def test_an_empty_picture_has_no_smoke() -> None:
    """Grey all over: nothing."""
    assert load_model(threads=1).detect(np.full((720, 1280, 3), 128, np.uint8), 0.25) == []


def test_the_letterbox_goes_there_and_back() -> None:
    """A box drawn in the input comes back to its place in the picture, and outside it is cut off."""
    blob, placed = letterbox(np.zeros((720, 1280, 3), np.uint8), 640, 640, 114)
    assert blob.shape == (1, 3, 640, 640)
    assert blob[0, 0, 0, 0] == pytest.approx(114 / 255)
    assert blob[0, 0, 320, 320] == 0
    boxes = np.array([[100, 240, 200, 340], [-50, 0, 700, 640]], np.float32)
    assert placed.undo(boxes, 1280, 720).tolist() == [[200, 200, 400, 400], [0, 0, 1280, 720]]


def test_colours_reach_the_network_as_red_green_blue() -> None:
    """OpenCV's pictures are blue first; the network's input is red first, 0 to 1."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (255, 0, 51)
    blob, _ = letterbox(image, 64, 64, 114)
    assert blob[0, :, 32, 32].tolist() == pytest.approx([0.2, 0, 1])


def test_overlaps_are_suppressed_within_a_class_only() -> None:
    """Twins of one class become their best; smoke over fire stays both; the weak are left out."""
    columns = [
        (100, 100, 50, 50, 0.9, 0.0),
        (102, 101, 50, 50, 0.8, 0.0),
        (100, 100, 50, 50, 0.0, 0.7),
        (300, 300, 20, 40, 0.6, 0.1),
        (400, 400, 20, 40, 0.2, 0.1),
    ]
    boxes, scores, classes = decode(np.array(columns, np.float32).T[None], 0.25, 0.5)
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert classes.tolist() == [0, 1, 0]
    assert boxes[2].tolist() == [290, 280, 310, 320]


def test_nothing_found_is_an_empty_list() -> None:
    """No anchor above the threshold: no boxes, no complaint."""
    boxes, scores, classes = decode(np.zeros((1, 6, 100), np.float32), 0.25, 0.5)
    assert (boxes.shape, scores.size, classes.size) == ((0, 4), 0, 0)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped model and its card, to be damaged."""
    for suffix in (".onnx", ".yaml"):
        shutil.copy(SHIPPED.with_suffix(suffix), tmp_path / f"smoke{suffix}")
    return tmp_path / "smoke.onnx"


def change_card(model: Path, **changes: object) -> None:
    path = model.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    """The sentence says which file and which setting."""
    with pytest.raises(ModelError, match=r"none\.onnx does not exist: put it there or set model\.path"):
        load_model(tmp_path / "none.onnx")


def test_a_missing_card_is_named(copy: Path) -> None:
    """A model without its card is not run."""
    copy.with_suffix(".yaml").unlink()
    with pytest.raises(ModelError, match="copy it beside the model"):
        load_model(copy)


def test_a_damaged_model_is_named(copy: Path) -> None:
    """One wrong byte is noticed before anything is run."""
    with copy.open("r+b") as file:
        file.seek(1000)
        file.write(b"\x00\x01\x02")
    with pytest.raises(ModelError, match="damaged or not the one on its card"):
        load_model(copy)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_what_is_no_onnx_is_named(copy: Path, backend: Backend) -> None:
    """A file that matches its card but is no network gets a sentence too."""
    copy.write_bytes(b"not a network")
    change_card(copy, sha256=hashlib.sha256(b"not a network").hexdigest())
    with pytest.raises(ModelError, match="cannot load"):
        load_model(copy, backend)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_model_with_other_classes_is_refused(copy: Path, backend: Backend) -> None:
    """Other names on the card, or another number in the network, is no smoke model."""
    change_card(copy, classes=["cat", "dog"])
    with pytest.raises(ModelError, match="names the classes cat, dog"):
        load_model(copy, backend)
    change_card(copy, classes=["smoke"])
    with pytest.raises(ModelError, match="is not 1 classes"):
        load_model(copy, backend)


def test_a_card_that_is_none_is_named(copy: Path) -> None:
    """The field at fault is in the sentence."""
    change_card(copy, sha256="short")
    with pytest.raises(ModelError, match="sha256"):
        load_model(copy)


def test_damaged_weights_beside_an_xml_are_named(tmp_path: Path) -> None:
    """The .bin is under the card's digest too: one flipped byte, a missing file, a card that says nothing of it."""
    for suffix in (".xml", ".bin", ".yaml"):
        shutil.copy(SHIPPED.with_name(f"smoke-int8{suffix}"), tmp_path / f"m{suffix}")
    model, weights, card = (tmp_path / f"m{suffix}" for suffix in (".xml", ".bin", ".yaml"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"m\.bin is damaged or not the one on its card"):
        load_model(model)
    weights.unlink()
    with pytest.raises(ModelError, match=r"m\.bin is not beside it"):
        load_model(model)
    weights.write_bytes(whole)
    card.write_text(re.sub("weights_sha256.*\n", "", card.read_text()))
    with pytest.raises(ModelError, match="its card has no weights_sha256"):
        load_model(model)


STRANGER = """
import os, threading
os.environ.pop("CI", None)
from detector.vision.model import load_model, SHIPPED
load_model(SHIPPED, "openvino", 1)
print(sorted(os.listdir(os.environ["HOME"])), [thread.name for thread in threading.enumerate()])
"""


def test_nobody_is_told_that_a_box_has_started(tmp_path: Path) -> None:
    """OpenVINO would count its imports at its maker's: no identity is made up for that, and no thread sends it."""
    pytest.importorskip("openvino")
    ran = subprocess.run(
        [sys.executable, "-c", STRANGER], env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, check=True
    )
    assert ran.stdout.decode().strip() == "[] ['MainThread']"
