# SPDX-License-Identifier: AGPL-3.0-or-later
"""`straw1530 replay` over folders and videos, with the shipped model."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from detector.camera.footage import open_footage
from detector.errors import StreamError
from detector.measure.replay import main
from tests.detector.live import noise
from tests.detector.make import START


@pytest.fixture
def plume(shared: Path, tmp_path: Path) -> Path:
    """Five frames without anything, then eight of a real plume, ten seconds apart."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 6):
        cv2.imwrite(str(folder / f"{number:04d}.jpg"), np.full((480, 640, 3), 128, np.uint8))
    source = shared / "data" / "smoke" / "sequences" / "boucher-hill-west-2017-12-07"
    for number in range(6, 14):
        (folder / f"{number:04d}.jpg").write_bytes((source / f"{10 * number:04d}.jpg").read_bytes())
    return folder


def replayed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Sightings and summary."""
    assert main([*arguments, "--json"]) == 0
    *sightings, summary = map(json.loads, capsys.readouterr().out.splitlines())
    return sightings, summary


def test_a_plume_is_found_once_and_the_delay_measured(
    plume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The confirming frame, its time and box; then the summary with the delay after the onset."""
    pictures = tmp_path / "kept"
    sightings, summary = replayed(capsys, str(plume), "--interval", "10", "--onset", "6", "--pictures", str(pictures))
    [sighting] = sightings
    assert sighting["frame"] in {7, 8}
    assert sighting["seconds"] == 10 * (sighting["frame"] - 1)
    assert sighting["first_positive_seconds"] == 50
    assert sighting["box"][0] < 0.45 < sighting["box"][2]
    assert summary["frames"] == 13
    assert summary["sightings"] == 1
    assert summary["frames_with_detection"] == 8
    delay = sighting["frame"] - 6
    assert (summary["delay_frames"], summary["delay_seconds"]) == (delay, 10 * delay)
    assert summary["false_sightings_before_onset"] == 0
    assert [path.name for path in pictures.iterdir()] == [f"{sighting['frame']:06d}.jpg"]


def test_a_sighting_before_the_onset_is_a_false_alarm(plume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is confirmed before the given onset counts as false, and no delay is made up."""
    _, summary = replayed(capsys, str(plume), "--onset", "13")
    assert summary["false_sightings_before_onset"] == 1
    assert summary["frames_with_detection_before_onset"] == 7
    assert summary["delay_frames"] is None


def test_the_readable_form_says_the_same(plume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each sighting and a last one that begins with summary."""
    assert main([str(plume)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("frame      ")
    assert "smoke" in first
    assert last.startswith("summary: frames 13, sightings 1")


def video(path: Path, seconds: Sequence[float], **options: str) -> Path:
    """A video with one picture at each of these times, `noise` of its number."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, at in enumerate(seconds):
            picture = av.VideoFrame.from_ndarray(noise(number), format="bgr24")
            picture.pts, picture.time_base = round(1000 * at), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def test_a_video_gives_the_picture_at_each_interval(tmp_path: Path) -> None:
    """Ten seconds of video at 5 frames a second, asked for every two seconds: the first of each two seconds."""
    path = video(tmp_path / "video.mp4", [number / 5 for number in range(50)])
    frames = list(open_footage(path, 2.0, START))
    assert [frame.index for frame in frames] == [1, 2, 3, 4, 5]
    assert [frame.monotonic for frame in frames] == [0, 2, 4, 6, 8]
    assert [(frame.captured_at - START).total_seconds() for frame in frames] == [0, 2, 4, 6, 8]
    for frame, number in zip(frames, (0, 10, 20, 30, 40), strict=True):
        assert np.abs(frame.image.astype(int) - noise(number)).mean() < 12


def test_a_video_with_gaps_keeps_its_own_time(tmp_path: Path) -> None:
    """A picture stands at its own time, not at the first that was missed before it."""
    path = video(tmp_path / "video.mkv", [0, 1, 2, 2.5, 8.7, 9.2, 10])
    assert [frame.monotonic for frame in open_footage(path, 1.0, START)] == [0, 1, 2, 8, 9, 10]


def test_a_video_without_a_clock_goes_by_its_rate(tmp_path: Path) -> None:
    """A raw stream of 100 pictures, at the 25 a second that it is read with."""
    path = video(tmp_path / "video.h264", [number / 5 for number in range(100)], format="h264")
    assert [frame.monotonic for frame in open_footage(path, 1.0, START)] == [0, 1, 2, 3]


def test_joined_videos_go_on_where_the_clock_begins_anew(tmp_path: Path) -> None:
    """Two recordings of four seconds, one behind the other."""
    part = video(tmp_path / "part.ts", [number / 5 for number in range(20)], format="mpegts").read_bytes()
    path = tmp_path / "video.ts"
    path.write_bytes(part + part)
    assert [frame.monotonic for frame in open_footage(path, 1.0, START)] == list(range(8))


def test_a_damaged_place_in_a_video_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What comes after it is still seen, at its own time, and the damage is told."""
    path = video(tmp_path / "video.mp4", [number / 5 for number in range(50)])
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + third // 2] = bytes(third // 2)
    path.write_bytes(content)
    frames = list(open_footage(path, 1.0, START))
    assert frames[0].monotonic == 0
    assert frames[-1].monotonic == 9
    assert "damaged pieces are left out" in caplog.text


def test_a_video_from_a_telephone_held_upright_is_upright(tmp_path: Path) -> None:
    """Its pictures are stored lying, and a matrix in the file's track says how to turn them."""
    path = video(tmp_path / "video.mp4", [0, 0.2, 0.4])
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 4 + 20 + 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 240 << 16, 0, 1 << 30)
    path.write_bytes(content)
    frame = next(open_footage(path, 1.0, START))
    assert frame.size == (240, 320)
    assert np.abs(frame.image.astype(int) - cv2.rotate(noise(0), cv2.ROTATE_90_CLOCKWISE)).mean() < 12


def torn(path: Path) -> None:
    path.write_bytes(b"torn")


def nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("spoil", [torn, Path.touch, Path.mkdir, nowhere])
def test_a_damaged_picture_keeps_its_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
) -> None:
    """It is named and left out, and those after it keep their times."""
    for number in (1, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), noise(number))
    spoil(tmp_path / "2.png")
    assert [frame.index for frame in open_footage(tmp_path, 10, START)] == [1, 3]
    assert "2.png cannot be read" in caplog.text


def test_pictures_are_kept_in_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of that name is told of before the replay, not at its first sighting."""
    (tmp_path / "kept").touch()
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--pictures", str(tmp_path / "kept")])
    assert "kept is none" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"no video"])
def test_what_is_no_footage_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or not a video: one sentence with the path."""
    path = tmp_path / "video.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StreamError, match=r"video\.mp4"):
        list(open_footage(path, 10, START))


def test_an_empty_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with status 2 and the sentence."""
    assert main([str(tmp_path)]) == 2
    assert "holds no readable pictures" in capsys.readouterr().err


def test_a_missing_model_ends_the_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before any picture is read."""
    assert main([str(tmp_path), "--model", str(tmp_path / "none.onnx")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """2.png before 10.png, in the folder or in its images/."""
    (tmp_path / "images").mkdir()
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), noise(number))
    frames = list(open_footage(tmp_path, 10, START))
    for frame, number in zip(frames, (1, 2, 10), strict=True):
        assert np.array_equal(frame.image, noise(number))


def test_a_macs_notes_beside_the_frames_are_no_frames(tmp_path: Path) -> None:
    """Named like them, they would take the first numbers, and the onset's too."""
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), noise(number))
        torn(tmp_path / f"._frame{number}.png")
    assert [frame.index for frame in open_footage(tmp_path, 10, START)] == [1, 2]


def test_an_onset_after_the_last_frame_is_refused(plume: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing can be said of a delay then."""
    assert main([str(plume), "--onset", "14"]) == 2
    assert "lies after the last frame, 13" in capsys.readouterr().err


@pytest.mark.parametrize("interval", ["0", "nan", "inf", "1e11"])
def test_an_interval_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: str) -> None:
    """Before the model is loaded, and with what is allowed."""
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--interval", interval])
    assert "--interval must be more than 0 and at most 86400 seconds" in capsys.readouterr().err


def test_a_folder_of_folders_says_which_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two sequences are two replays."""
    for name in ("east", "west"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), noise(1))
    assert main([str(tmp_path)]) == 2
    assert "one of its folders (east, west)" in capsys.readouterr().err
