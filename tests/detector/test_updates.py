# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates from the server: what is signed and works is kept, everything else is refused or rolled back, by name."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from detector.cli import main
from detector.config import read_settings
from detector.errors import ModelError
from detector.upkeep.effective import model_in_use, settings_in_use
from detector.upkeep.maskdesk import MaskDesk
from detector.upkeep.selftest import self_test
from detector.upkeep.updater import Progress, Updater
from detector.upkeep.updates import public_key
from detector.upkeep.versions import MOST_STARTS, Trial, Versions
from detector.vision.model import SHIPPED, load_model
from server.domain.errors import Missing, NotPermitted
from server.models import EdgeUpdate, Person
from server.services import updates
from tests.detector.live import Camera, live, noise
from tests.detector.make import StillClock
from tests.detector.test_config import GOOD, write
from tests.detector.test_publisher import eventually
from tests.detector.test_timekeeper import engine
from tests.support.brokers import PASSWORDS, RunningBroker
from tests.support.world import World

EDGE = "edge-1"
KEY = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
MASKS = b"cameras: {west: {'': {sky: 0.2}}}\n"
SETTINGS = GOOD + f"updates: {{public_key: {PUBLIC}, trial_s: 60}}\n"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """What is tested here is the box: one kind of database is enough."""
    shutil.copy(sqlite_template, tmp_path / "straw1530.sqlite")
    return f"sqlite:///{tmp_path / 'straw1530.sqlite'}"


class Site:
    """A box and the server, with a link between them that carries what the test lets it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.file = write(folder, SETTINGS)
        (folder / "secret").write_text("open sesame")
        self.store = folder / "store"
        self.clock = StillClock()
        self.progress = Progress({"west": 0, "east": 0}, frozenset({"west", "east"}), True)
        self.refusals: Callable[[object], list[str]] = lambda _settings: []
        self.wants: list[bytes] = []
        self.start()

    def start(self) -> None:
        """The box's process begins (again)."""
        self.restarts = 0
        self.versions = Versions(read_settings(self.file).versions_path())
        self.versions.starting()
        self.settings = settings_in_use(self.file, self.versions)
        self.desk = MaskDesk(self.settings.mask_book(), self.versions)
        self.updater = Updater(
            *(self.settings, self.file, public_key(PUBLIC), self.versions, self.desk, self.clock),
            progress=lambda: self.progress,
            refusals=lambda settings: self.refusals(settings),
            restart=self.count_restart,
            say=lambda _name, payload: self.wants.append(payload),
        )

    def count_restart(self) -> None:
        self.restarts += 1

    def send(self, kind: str, files: Mapping[str, bytes], key: Ed25519PrivateKey = KEY, by: str | None = None) -> None:
        """Somebody at the server sends an update."""
        with self.world.database.write() as session:
            sender = session.scalars(select(Person).where(Person.login == by)).one() if by else None
            updates.send(*(session, EDGE, kind, files), key=key, store=self.store, sender=sender, now=self.world.now)

    def status(self) -> None:
        """The box tells its status, and is offered what is due."""
        told = {kind: line.model_dump() for kind, line in self.versions.report().items()}
        with self.world.database.write() as session:
            offers = updates.reconcile(session, EDGE, told, self.world.now)
        for offer in offers:
            self.updater.offer("", offer)

    def carry(self, most: int = 1000) -> None:
        """The link carries so many pieces."""
        for _ in range(most):
            self.updater.step()
            if not self.wants:
                return
            want = json.loads(self.wants.pop())
            with self.world.database.read() as session:
                piece = updates.piece(session, EDGE, want["sha256"], want["offset"], self.store)
            self.updater.piece(f"{want['sha256']}/{want['offset']}", piece)

    def deliver(self, kind: str, files: Mapping[str, bytes], **how: Any) -> tuple[str | None, str | None]:
        """Send it, carry it, and hear what the server is told of it in the end."""
        self.send(kind, files, **how)
        self.status()
        self.carry()
        return self.outcome()

    def outcome(self) -> tuple[str | None, str | None]:
        """What the server knows of the newest update."""
        self.status()
        with self.world.database.read() as session:
            newest = session.scalars(select(EdgeUpdate).order_by(EdgeUpdate.id.desc()).limit(1)).one()
            return newest.result, newest.reason


@pytest.fixture
def site(world: World, tmp_path: Path) -> Site:
    return Site(world, tmp_path)


def model_files(classes: list[str] | None = None) -> dict[str, bytes]:
    """The shipped model with its card, or with a card that names other classes."""
    card = yaml.safe_load(SHIPPED.with_suffix(".yaml").read_text())
    card |= {"classes": classes or card["classes"], "version": "2"}
    return {"smoke.onnx": SHIPPED.read_bytes(), "smoke.yaml": yaml.safe_dump(card).encode()}


def test_masks_count_at_once(site: Site) -> None:
    """Without a new start; the server hears that they are kept."""
    assert site.deliver("masks", {"masks.yaml": MASKS}) == ("kept", None)
    assert site.desk.of("west", None).sky == 0.2
    assert site.restarts == 0


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("masks", b"cameras: {north: {'': {sky: 0.2}}}", "masks.yaml: camera north is not in this box's settings"),
        ("masks", b"cameras:\n  west:\n    '': {sky: 2}", "masks.yaml:3: cameras.west..sky: Input should be less"),
        ("masks", b"\xff\xfe", "edge.yaml is not text"),
        ("settings", SETTINGS.replace("interval_s: 60", "interval: 60").encode(), "do you mean interval_s?"),
        ("settings", SETTINGS.replace("edge: edge-1", "edge: edge-2").encode(), "edge can be changed on the box alone"),
        ("settings", SETTINGS.replace("secret", "missing").encode(), "password_file"),
        ("settings", SETTINGS.replace("interval_s: 60", "interval_s: 2026-13-45").encode(), "month must be in 1..12"),
        ("settings", SETTINGS.replace("interval_s: 60", "interval_s: " + "[" * 2000).encode(), "is not YAML"),
        ("settings", SETTINGS.replace("trial_s: 60", "trial_s: 1").encode(), "updates can be changed on the box alone"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(site: Site, kind: str, content: bytes, says: str) -> None:
    """Before anything is changed; the server hears why."""
    result, reason = site.deliver(kind, {"edge.yaml": content})
    assert result == "refused"
    assert reason is not None
    assert says in reason
    assert site.restarts == 0
    assert site.versions.number("settings") == site.versions.number("masks") == 0


def test_a_plan_that_cannot_keep_the_minute_is_refused(site: Site) -> None:
    """When the present one can: what was so before does not count against new settings."""
    slow = SETTINGS.replace("interval_s: 60", "interval_s: 300").encode()
    site.refusals = lambda settings: ["camera east: too slow"] if settings is not site.settings else []
    result, reason = site.deliver("settings", {"edge.yaml": slow})
    assert (result, reason) == ("refused", "the plan is refused: camera east: too slow")
    site.refusals = lambda _settings: ["camera east: too slow"]
    assert site.deliver("settings", {"edge.yaml": slow})[0] == "trial"


def test_settings_are_tried_and_kept(site: Site) -> None:
    """In use after the new start; kept once every camera was looked at and the broker reached."""
    new = SETTINGS.replace("interval_s: 60", "interval_s: 30").encode()
    assert site.deliver("settings", {"edge.yaml": new}) == ("trial", None)
    assert site.restarts == 1
    site.start()
    assert site.settings.cameras[1].interval_s == 30
    assert site.settings.broker.password_file == site.file.parent / "secret"
    site.progress = Progress({"west": 3, "east": 1}, frozenset(), True)
    site.updater.step()
    assert site.outcome() == ("trial", None)
    site.clock.seconds += 61
    site.updater.step()
    assert site.outcome() == ("kept", None)
    assert site.restarts == 0


@pytest.mark.parametrize(
    ("progress", "why"),
    [
        (Progress({"west": 3, "east": 0}, frozenset(), True), "not looked at since the start: east"),
        (Progress({"west": 3, "east": 2}, frozenset(), False), "the broker was not reached"),
    ],
)
def test_settings_that_do_not_work_are_rolled_back(site: Site, progress: Progress, why: str) -> None:
    """After the trial the old ones are back, the box starts again, and the server hears why."""
    site.deliver("settings", {"edge.yaml": SETTINGS.replace("interval_s: 60", "interval_s: 30").encode()})
    site.start()
    site.progress = progress
    site.clock.seconds += 61
    site.updater.step()
    assert site.restarts == 1
    assert site.outcome() == ("rolled_back", why)
    site.start()
    assert site.settings.cameras[1].interval_s == 60
    site.status()
    assert site.updater._update is None  # it is not offered again


def test_a_version_that_ends_the_box_is_rolled_back(site: Site) -> None:
    """The process dies at each start with it: the third start has the old one."""
    site.deliver("settings", {"edge.yaml": SETTINGS.replace("interval_s: 60", "interval_s: 30").encode()})
    for _ in range(MOST_STARTS):
        site.start()
        assert site.settings.cameras[1].interval_s == 30
    site.start()
    assert site.settings.cameras[1].interval_s == 60
    result, reason = site.outcome()
    assert result == "rolled_back"
    assert reason is not None
    assert "the box ended 2 times" in reason


def test_a_forged_update_is_not_believed(site: Site) -> None:
    """Signed with another key: nothing changes, and the status says what is wrong."""
    assert site.deliver("masks", {"masks.yaml": MASKS}, key=Ed25519PrivateKey.generate())[0] is None
    assert site.desk.of("west", None).sky == 0
    assert site.updater.trouble is not None
    assert "signature is not by updates.public_key" in site.updater.trouble


def test_an_old_update_cannot_be_played_again(site: Site) -> None:
    """Offers of a version that was dealt with, or of an older one, change nothing."""
    site.deliver("masks", {"masks.yaml": MASKS})
    with site.world.database.read() as session:
        old = session.scalars(select(EdgeUpdate)).one()
    site.deliver("masks", {"masks.yaml": MASKS.replace(b"0.2", b"0.3")})
    site.updater.offer("", json.dumps({"v": 1, "body": old.body, "signature": old.signature}).encode())
    site.carry()
    assert site.desk.of("west", None).sky == 0.3


def test_an_update_for_another_box_is_not_taken(site: Site) -> None:
    """Though the server signed it."""
    body = json.dumps({"edge": "edge-2", "kind": "masks", "version": 1, "files": []})
    signature = base64.b64encode(KEY.sign(updates.CONTEXT + body.encode())).decode()
    site.updater.offer("", json.dumps({"v": 1, "body": body, "signature": signature}).encode())
    assert site.updater.trouble is not None
    assert "files" in site.updater.trouble


def test_a_model_comes_in_pieces_over_a_broken_link(site: Site) -> None:
    """The box is killed in the middle and goes on where it was; a lost piece is asked for again after a while."""
    site.send("model", model_files())
    site.status()
    site.carry(20)
    site.wants.clear()
    site.start()
    site.status()
    site.updater.step()
    assert json.loads(site.wants[0])["offset"] == 20 * updates.PIECE
    site.wants.clear()  # the link loses it
    site.updater.step()
    assert site.wants == []
    site.clock.seconds += 11
    site.carry()
    assert site.outcome() == ("trial", None)
    site.start()
    assert model_in_use(site.settings, site.versions).card.version == "2"
    assert site.versions.on_trial()


def test_an_update_that_found_no_room_is_taken_when_it_is_offered_again(site: Site) -> None:
    """What never began to come is not refused as if it had come wrong."""
    site.send("settings", {"edge.yaml": SETTINGS.replace("interval_s: 60", "interval_s: 30").encode()})
    incoming = site.settings.versions_path() / "incoming"
    incoming.parent.mkdir(parents=True, exist_ok=True)
    incoming.write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        site.status()
    site.carry()
    incoming.unlink()
    site.status()
    site.carry()
    assert site.outcome() == ("trial", None)


@pytest.mark.parametrize("pieces", [20, None])
def test_what_a_power_cut_tore_is_fetched_anew(site: Site, pieces: int | None) -> None:
    """The last of what had come, or all of it, is as long as it should be and holds nothing: no fault of the update."""
    site.send("model", model_files())
    site.status()
    site.carry(20)
    site.wants.clear()
    part = max((site.settings.versions_path() / "incoming").iterdir(), key=lambda each: each.stat().st_size)
    assert part.stat().st_size == 20 * updates.PIECE
    part.write_bytes(part.read_bytes()[:-1000] + bytes(1000) if pieces else bytes(SHIPPED.stat().st_size))
    site.start()
    site.status()
    site.carry()
    assert site.outcome() == ("trial", None)


def test_a_damaged_model_is_refused(site: Site) -> None:
    """Its card names another digest."""
    files = model_files()
    files["smoke.onnx"] = files["smoke.onnx"][:-100] + bytes(100)
    result, reason = site.deliver("model", files)
    assert result == "refused"
    assert reason is not None
    assert "is damaged or not the one on its card" in reason


def test_a_model_whose_card_is_in_another_encoding_is_refused(site: Site) -> None:
    """As an editor of another country writes it: the update is over, and the server hears why."""
    files = model_files()
    files["smoke.yaml"] = files["smoke.yaml"] + "origin: 石梁镇\n".encode("gbk")
    result, reason = site.deliver("model", files)
    assert result == "refused"
    assert reason is not None
    assert "is not a model card" in reason


def test_a_model_that_does_not_see_smoke_is_rolled_back(site: Site) -> None:
    """Whole, signed and loadable, but its classes are swapped: the self-test finds out, and the old one runs."""
    assert site.deliver("model", model_files(["fire", "smoke"]))[0] == "trial"
    site.start()
    assert model_in_use(site.settings, site.versions).card.classes == ["smoke", "fire"]
    result, reason = site.outcome()
    assert result == "rolled_back"
    assert reason is not None
    assert "does not see the smoke in day.jpg" in reason


def test_the_shipped_models_pass_their_self_test() -> None:
    """float32 and int8; at a threshold that nothing passes it fails."""
    for path in (SHIPPED, SHIPPED.with_name("smoke-int8.xml")):
        model = load_model(path, threads=2)
        self_test(model)
    model.card = model.card.model_copy(update={"thresholds": {"smoke": 0.99}})  # type: ignore[misc]
    with pytest.raises(ModelError, match="fails its self-test"):
        self_test(model)


def test_settings_edited_on_the_box_count(site: Site) -> None:
    """Whoever came last is right: a file edited on site since stands above what the server sent before."""
    site.deliver("settings", {"edge.yaml": SETTINGS.replace("interval_s: 60", "interval_s: 30").encode()})
    site.versions.keep("settings")
    site.file.write_text(SETTINGS.replace("interval_s: 60", "interval_s: 45"))
    site.start()
    assert site.settings.cameras[1].interval_s == 45
    assert site.versions.number("settings") == 0


def test_only_an_administrator_of_the_boxs_area_may_send(site: Site) -> None:
    """A supervisor may not, an administrator of another county may not; the city's may, to a box that is there."""
    with pytest.raises(NotPermitted, match="county is no administrator"):
        site.send("masks", {"masks.yaml": MASKS}, by="county")
    with site.world.database.write() as session:
        session.scalars(select(Person).where(Person.login == "other-county")).one().role = "admin"
    with pytest.raises(NotPermitted, match="not in the area of other-county"):
        site.send("masks", {"masks.yaml": MASKS}, by="other-county")
    site.send("masks", {"masks.yaml": MASKS}, by="admin")
    with site.world.database.write() as session, pytest.raises(Missing, match="edge-9"):
        updates.send(
            *(session, "edge-9", "masks", {"m": MASKS}), key=KEY, store=site.store, sender=None, now=site.world.now
        )


def test_a_piece_of_another_boxs_file_is_not_told(site: Site) -> None:
    """Settings hold passwords: a box reads what was signed for it."""
    site.send("masks", {"masks.yaml": MASKS})
    sha256 = next(site.store.iterdir()).name
    with site.world.database.read() as session:
        assert updates.piece(session, EDGE, sha256, 0, site.store) == MASKS
        with pytest.raises(Missing, match="no update of edge box 'edge-2'"):
            updates.piece(session, "edge-2", sha256, 0, site.store)


def test_versions_survive_a_torn_state(tmp_path: Path) -> None:
    """A damaged state means what is installed, and versions go on being written."""
    versions = Versions(tmp_path)
    versions.add("masks", {"masks.yaml": b"1"}, trial=Trial(cameras=()))
    (tmp_path / "state.json").write_text('{"v": 1, "kin')
    again = Versions(tmp_path)
    assert again.current("masks") is None
    again.add("masks", {"masks.yaml": b"2"})
    folder = again.current("masks")
    assert folder is not None
    assert (folder / "masks.yaml").read_bytes() == b"2"


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True)
def test_from_the_command_line_to_a_running_box(
    world: World,
    broker: RunningBroker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`admin edge push` over a real broker: the box starts again with new settings, keeps them, and says so."""
    from server.admin.cli import main as admin

    server_data = tmp_path / "server"
    server_data.mkdir()
    monkeypatch.setenv("STRAW1530_DATA", str(server_data))
    monkeypatch.setenv("STRAW1530_DATABASE", world.database.url.render_as_string(hide_password=False))
    assert admin(["edge", "key"]) == 0
    key = capsys.readouterr().out.strip()

    def script(camera: Camera) -> None:
        for start in range(0, 3000, 5):
            camera.send([noise(start + number) for number in range(5)], group=5, start=start)
            threading.Event().wait(0.2)

    with live(script) as url:
        text = (
            f"edge: {EDGE}\ndata_dir: data\nmodel: {{threads: 1}}\nupdates: {{public_key: {key}, trial_s: 2}}\n"
            f"broker: {{host: 127.0.0.1, port: {broker.port}, username: {EDGE}, password_file: password}}\n"
            f"cameras:\n  - {{id: tower-1, url: '{url}', interval_s: 2}}\n"
        )
        (tmp_path / "password").write_text(PASSWORDS[EDGE])
        (tmp_path / "edge.yaml").write_text(text)
        (tmp_path / "new.yaml").write_text(text.replace("interval_s: 2", "interval_s: 1"))
        command = [sys.executable, "-m", "straw1530.cli", "detector", "run", str(tmp_path / "edge.yaml")]
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log)
        try:
            with engine(world.database, broker, server_data / "evidence"):
                eventually(lambda: "connected to broker" in (tmp_path / "log").read_text(), 60)
                assert admin(["edge", "push", "settings", EDGE, str(tmp_path / "new.yaml")]) == 0

                def result() -> str | None:
                    with world.database.read() as session:
                        return session.scalars(select(EdgeUpdate.result)).one()

                eventually(lambda: result() == "kept", 90)
                process.terminate()
                assert process.wait(15) == 0
                main(["check", str(tmp_path / "edge.yaml")])
                out = capsys.readouterr().out
                assert "ms to the server's, right within" in out
                assert "settings version 1" in out
                failed = [line.split()[0] for line in out.splitlines() if "FAIL" in line]
                assert set(failed) <= {"model"}  # too slow while other tests run
        finally:
            process.kill()
            process.wait(10)
    assert admin(["edge", "list", EDGE]) == 0
    assert "settings 1  " in capsys.readouterr().out
    assert read_settings(tmp_path / "edge.yaml").cameras[0].interval_s == 2
    assert settings_in_use(tmp_path / "edge.yaml").cameras[0].interval_s == 1
