# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's own page: who may see it, what it says, and masks drawn on it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from werkzeug.test import Client

from detector.config import read_settings
from detector.errors import ConfigError
from detector.judgement.eye import Knowledge
from detector.judgement.masks import MaskBook, ViewMasks
from detector.link.outbox import Outbox
from detector.link.publisher import Broker, Publisher
from detector.preview.app import PreviewApp
from detector.preview.doorkeeper import MOST_WRONG, WRONG_S, Doorkeeper
from detector.preview.gallery import Gallery
from detector.preview.server import PreviewServer
from detector.preview.view import Glance
from detector.upkeep.maskdesk import MaskDesk
from detector.upkeep.versions import Versions
from tests.detector.make import START, sighting
from tests.detector.test_box import SMOKE, Bench, camera
from tests.detector.test_config import GOOD, write

TOKEN = "a token of some length"
AREA = {"name": "砖厂", "kind": "chimney", "polygon": [[0.1, 0.1], [0.3, 0.1], [0.3, 0.3], [0.1, 0.3]]}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Box:
    """Two cameras, a scripted model, and the page over them."""

    def __init__(self, folder: Path) -> None:
        self.versions = Versions(folder / "versions")
        installed = MaskBook(cameras={"west": {"": ViewMasks()}, "east": {"p1": ViewMasks()}})
        self.desk = MaskDesk(installed, self.versions)
        knowledge = Knowledge(self.desk.of, lambda _camera, _preset: ())
        self.desk.on_change(knowledge.changed)
        gallery = Gallery()
        cameras = camera("west"), camera("east", 640, preset="p1")
        self.bench = Bench(*cameras, knowledge=knowledge, gallery=gallery)
        self.outbox = Outbox(folder / "outbox.sqlite")
        publisher = Publisher("edge-1", Broker("127.0.0.1", 1, "edge-1", "x"), self.outbox, self.bench.keeper)
        glance = Glance(
            *("edge-1", "scripted 1", self.bench.watches, self.bench.looker),
            *(self.outbox, publisher, self.bench.keeper, self.versions),
        )
        self.app = PreviewApp(glance, gallery, self.desk, Doorkeeper(TOKEN, self.bench.clock))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.outbox.close()


@pytest.fixture
def visitor(box: Box) -> Client:
    """Somebody who has logged in."""
    client = Client(box.app)
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    return client


def test_nothing_is_shown_without_the_token(box: Box) -> None:
    """A stranger is sent to the login; the page's data, pictures, metrics and masks are refused."""
    stranger = Client(box.app)
    assert stranger.get("/").headers["Location"] == "/login"
    for path in ("/state.json", "/picture/west.jpg", "/metrics"):
        assert stranger.get(path).status_code == 403
    assert stranger.post("/masks/west", json={}).status_code == 403
    assert stranger.get("/health").get_json() == {"well": False}
    assert stranger.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_guessing_is_stopped(box: Box) -> None:
    """After five wrong tokens in a minute the right one is refused too; a minute later it is taken."""
    client = Client(box.app)
    for _ in range(MOST_WRONG):
        assert client.post("/login", data={"token": "wrong"}).status_code == 403
    assert client.post("/login", data={"token": TOKEN}).status_code == 403
    box.bench.clock.seconds += WRONG_S + 1
    assert client.post("/login", data={"token": TOKEN}).status_code == 303


def test_the_page_says_what_the_box_sees_and_thinks(box: Box, visitor: Client) -> None:
    """Clear, then suspect, then confirmed, with the box; blind with its cause before the view is known."""

    def judgement() -> str:
        return str(visitor.get("/state.json").get_json()["cameras"][0]["judgement"])

    assert judgement() == "blind"
    box.bench.run(1)
    assert judgement() == "blind"
    box.bench.run(8)
    assert judgement() == "clear"
    box.bench.model.sees = [SMOKE]
    box.bench.run(8)
    assert judgement() == "suspect"
    box.bench.run(8)
    assert judgement() == "confirmed"
    state = visitor.get("/state.json").get_json()
    [view] = state["cameras"][0]["views"]
    assert view["hits"] == [{"box": [0.1, 0.1, 0.2, 0.2], "confidence": 0.7, "label": "smoke"}]
    assert state["cameras"][1]["preset"] == "p1"
    jpeg = visitor.get("/picture/east.jpg?preset=p1").data
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (240, 640, 3)


def test_drawn_masks_count_at_once_and_can_be_taken_back(box: Box, visitor: Client) -> None:
    """Saved as a version that outlives a restart; undo brings back the one before."""
    box.bench.model.sees = [SMOKE]
    masks = {"sky": 0.05, "areas": [AREA]}
    assert visitor.post("/masks/west", json=masks).status_code == 200
    box.bench.run(21)
    assert {found.camera for found, _ in box.bench.kept} == {"east"}
    [view] = visitor.get("/state.json").get_json()["cameras"][0]["views"]
    assert [each["why"] for each in view["dropped"]] == ["chimney 砖厂"]
    again = MaskDesk(MaskBook(), Versions(box.versions._folder))
    assert again.of("west", None).model_dump(mode="json") == masks
    assert visitor.post("/masks-undo", json={}).get_json() == {"undone": True}
    assert box.desk.of("west", None) == ViewMasks()
    assert visitor.post("/masks-undo", json={}).get_json() == {"undone": False}


def test_masks_drawn_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    """Several people on the page, each at another camera."""
    names = [f"tower-{number}" for number in range(8)]
    desk = MaskDesk(MaskBook(cameras={name: {"": ViewMasks()} for name in names}), Versions(tmp_path))
    with ThreadPoolExecutor(len(names)) as people:
        list(people.map(lambda name: desk.draw(name, None, ViewMasks(sky=0.3)), names))
    again = MaskDesk(MaskBook(), Versions(tmp_path))
    assert [desk.of(name, None).sky for name in names] == [again.of(name, None).sky for name in names] == [0.3] * 8


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/masks/west", {"areas": [AREA | {"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}]}, "crosses the side"),
        ("/masks/west", {"sky": 1.5}, "sky: Input should be less than or equal to 1"),
        ("/masks/north", {}, "no camera north"),
        ("/masks/west?preset=p9", {}, "with preset 'p9'"),
    ],
)
def test_a_wrong_mask_is_refused_with_its_reason(visitor: Client, path: str, body: object, says: str) -> None:
    """And nothing is changed."""
    answer = visitor.post(path, json=body)
    assert answer.status_code in {400, 404}
    assert says in answer.text
    assert visitor.get("/state.json").get_json()["undoable"] is False


def test_metrics_and_health(box: Box, visitor: Client) -> None:
    """Prometheus' text with a figure for each camera, the outbox and the process; health says what is wrong."""
    box.outbox.put(sighting(), None, START)
    box.bench.run(11)
    text = visitor.get("/metrics").text
    assert 'straw1530_edge_looks_total{camera="west"} 4.0' in text
    assert 'straw1530_edge_outbox_waiting{part="sighting"} 1.0' in text
    assert 'straw1530_edge_camera_state{camera="east",state="ok"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    answer = visitor.get("/health")
    assert answer.status_code == 503
    assert answer.get_json()["findings"] == ["no connection to the broker; alarms wait in the outbox"]


def test_the_last_look_grows_old_while_no_picture_comes(box: Box, visitor: Client) -> None:
    """However often somebody asks: by this age a camera that is down is known from afar."""
    box.bench.run(60)
    box.bench.watches[0].stream._fail("the camera does not answer")
    for _ in range(3):
        box.bench.clock.seconds += 100
        [west, _] = visitor.get("/state.json").get_json()["cameras"]
    assert west["state"] == "stream_down"
    assert 300 <= west["look_age_s"] <= 310
    [line] = [line for line in visitor.get("/metrics").text.splitlines() if 'look_age_seconds{camera="west"}' in line]
    assert float(line.split()[-1]) == pytest.approx(west["look_age_s"])


def test_the_page_is_bound_to_this_machine_and_needs_a_token(tmp_path: Path) -> None:
    """Off by default; loopback by default; a short token is refused."""
    assert read_settings(write(tmp_path, GOOD)).preview_token() is None
    settings = read_settings(write(tmp_path, GOOD + "preview: {token_file: token}\n"))
    assert settings.preview is not None
    assert settings.preview.host == "127.0.0.1"
    (tmp_path / "token").write_text("short")
    with pytest.raises(ConfigError, match="token holds 5 characters: write at least 12"):
        settings.preview_token()


def test_a_taken_port_is_named(box: Box) -> None:
    """One sentence, before anything starts; who only makes a server leaves no thread behind."""
    before = threading.active_count()
    with served(box.app) as port, pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be listened on"):
        PreviewServer(box.app, "127.0.0.1", port)
    PreviewServer(box.app, "127.0.0.1", 0)
    assert threading.active_count() == before


@contextmanager
def served(app: PreviewApp) -> Iterator[int]:
    """The page on a free port, until the end."""
    server = PreviewServer(app, "127.0.0.1", 0)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)")
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_a_chimney_is_drawn_by_clicking(box: Box, tmp_path: Path, width: int, height: int) -> None:
    """Log in, open a camera, click round the chimney, name it, save; nothing on the page is cut off."""
    box.bench.run(9)
    box.bench.model.sees = [SMOKE]
    box.bench.run(10)
    errors: list[str] = []
    with served(box.app) as port, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_label("口令").fill(TOKEN)
        page.get_by_role("button", name="进入").click()
        expect(page.locator(".badge").first).to_have_text("确认烟火 Confirmed")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=tmp_path / f"page-{width}.png")
        page.get_by_role("button", name="画屏蔽区").first.click()
        page.get_by_role("button", name="烟囱").click()
        canvas = page.locator("#canvas")
        area = canvas.bounding_box()
        assert area is not None
        for x, y in ((0.05, 0.05), (0.25, 0.05), (0.25, 0.25), (0.05, 0.25)):
            canvas.click(position={"x": x * area["width"], "y": y * area["height"]})
        page.get_by_role("button", name="完成这一块").click()
        page.get_by_label("名称").fill("砖厂")
        page.get_by_role("button", name="保存").click()
        expect(page.get_by_role("alert")).to_contain_text("已保存")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=tmp_path / f"editor-{width}.png")
        browser.close()
    assert errors == []
    [drawn] = box.desk.of("west", None).areas
    assert (drawn.name, drawn.kind, len(drawn.polygon)) == ("砖厂", "chimney", 4)
    assert drawn.polygon[2] == pytest.approx((0.25, 0.25), abs=0.01)
