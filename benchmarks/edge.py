# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 bench edge``: four 1080p cameras of camera-sim through RTSP, watched by `straw1530 detector run` as it is
shipped, with its page open in somebody's browser: how much of a processor it takes and how much memory."""

from __future__ import annotations

import argparse
import itertools
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import psutil

from benchmarks import figures
from benchmarks.city import mosquitto
from camera_sim.scene import Scene
from camera_sim.spec import builtin_scenes, load_spec

SCENES = ("quzhou-west", "quzhou-haze", "quzhou-dusk", "quzhou-look-alikes")
WIDTH, HEIGHT, FPS, CLIP_S = 1920, 1080, 10, 4
EDGE = "edge-bench"
_PASSWORD = "password-of-the-bench"


def clips(folder: Path) -> list[Path]:
    """A few seconds of each scene without fires, rendered once and then shown in a loop: rendering live would take the
    processor that is measured on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in SCENES:
        path = folder / f"{name}.mp4"
        if not path.exists():
            spec = load_spec(builtin_scenes()[name])
            camera = spec.camera.model_copy(update={"width": WIDTH, "height": HEIGHT, "fps": FPS})
            _render(Scene(spec.model_copy(update={"camera": camera, "fires": ()})), path)
        paths.append(path)
    return paths


def _render(scene: Scene, path: Path) -> None:
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(FPS))
        stream.width, stream.height, stream.pix_fmt, stream.options = WIDTH, HEIGHT, "yuv420p", {"crf": "20"}
        for number in range(FPS * CLIP_S):
            frame = av.VideoFrame.from_ndarray(scene.frame(number / FPS), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.rename(path)


@contextmanager
def cameras(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Served by camera-sim in a process of its own: their URLs."""
    command = [sys.executable, "-m", "straw1530.cli", "camera-sim", "--port", "0", "--control-port", "0", "--scene"]
    process = subprocess.Popen([*command, *map(str, paths)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = list(itertools.takewhile(lambda line: line.startswith("rtsp"), process.stdout))
        if len(lines) != len(paths):
            raise SystemExit("bench: camera-sim did not start")
        yield [line.strip() for line in lines]
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def detector(
    folder: Path, urls: Sequence[str], broker: tuple[str, int], interval_s: float, port: int
) -> Iterator[psutil.Process]:
    """The edge box as it is shipped, but for where things are and how often it looks; its page on ``port``."""
    (folder / "password").write_text(_PASSWORD)
    lines = [f"  - {{id: cam-{number}, url: '{url}', interval_s: {interval_s:g}}}" for number, url in enumerate(urls)]
    (folder / "edge.yaml").write_text(
        f"edge: {EDGE}\ndata_dir: data\n"
        f"broker: {{host: {broker[0]}, port: {broker[1]}, username: {EDGE}, password_file: password}}\n"
        f"preview: {{port: {port}, token_file: password}}\ncameras:\n" + "\n".join(lines) + "\n"
    )
    command = [sys.executable, "-m", "straw1530.cli", "detector", "run", str(folder / "edge.yaml")]
    with (folder / "detector.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def visitor(port: int, names: Sequence[str]) -> Iterator[Counter[str]]:
    """Asks for what an open page asks for: the state each second, and each camera's picture with it."""
    stop, got = threading.Event(), Counter[str]()

    def fetch(path: str) -> None:
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {_PASSWORD}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                got[path] += len(answer.read()) > 0
        except OSError:
            got["refused"] += 1

    def run() -> None:
        while not stop.wait(1):
            for path in ("/state.json", *(f"/picture/{name}.jpg" for name in names)):
                fetch(path)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield got
    finally:
        stop.set()
        thread.join()


def measure(folder: Path, paths: Sequence[Path], *, interval_s: float, warm_s: float, seconds: float) -> dict[str, Any]:
    """Shares of one core over ``seconds`` after ``warm_s``, in which the kept frames fill their memory."""
    with mosquitto(folder, {EDGE: _PASSWORD}) as broker, cameras(paths) as urls:
        port, names = _free_port(), [f"cam-{number}" for number in range(len(urls))]
        with detector(folder, urls, broker, interval_s, port) as process, visitor(port, names) as visits:
            warming, memory = _watch(process, warm_s)
            watched = [_watch(process, 10) for _ in range(max(1, round(seconds / 10)))]
        log = (folder / "detector.log").read_text()
    return {
        "cameras": len(paths),
        "size": f"{WIDTH}x{HEIGHT}",
        "fps": FPS,
        "interval_s": interval_s,
        "seconds": 10 * len(watched),
        "cores": round(sum(share for share, _ in watched) / len(watched), 3),
        "cores_each_10_s": [round(share, 3) for share, _ in watched],
        "cores_while_starting": round(warming, 3),
        "peak_rss_mib": round(max(memory, *(most for _, most in watched)), 1),
        "states_shown": visits["/state.json"],
        "pictures_shown": sum(count for path, count in visits.items() if path.startswith("/picture")),
        "sightings": log.count("SMOKE confirmed"),
        "suspicions": log.count("suspicion"),
        "pictures_there": log.count("picture is there"),
        "tracebacks": log.count("Traceback"),
        "warnings": sum(" WARNING " in line for line in log.splitlines()),
    }


def _watch(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Its share of a core over so long, and the most memory that it had at any of the seconds, MiB."""
    before, began, most = sum(process.cpu_times()[:2]), time.monotonic(), 0
    while time.monotonic() < began + seconds:
        time.sleep(1)
        most = max(most, process.memory_info().rss)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
    return share, most / 2**20


def main(argv: Sequence[str]) -> int:
    """1 when it took a core or more, or more than 512 MiB."""
    parser = argparse.ArgumentParser(prog="straw1530 bench edge", description=__doc__)
    parser.add_argument("--interval", type=float, default=5, help="seconds between looks (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure (default %(default)s)")
    parser.add_argument("--warm", type=float, default=80, help="seconds before it (default %(default)s)")
    parser.add_argument("--clips", type=Path, help="keep the rendered clips here, and take them from here")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="straw1530-bench-") as name:
        folder = Path(name)
        paths = clips(args.clips or folder / "clips")
        found = measure(folder, paths, interval_s=args.interval, warm_s=args.warm, seconds=args.seconds)
    figures.write(args.json, "edge", found)
    return 1 if found["cores"] >= 1 or found["peak_rss_mib"] > 512 or found["tracebacks"] else 0
