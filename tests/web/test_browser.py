# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages in a real browser: a thumb on a phone, a screen on a wall."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright
from werkzeug.serving import make_server

from server.domain.lifecycle import Event, State
from server.services import incidents, push, tickets
from tests.support.world import VILLAGE, jpeg
from tests.web.conftest import PASSWORD, Site
from tests.web.test_api import with_picture

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt-get install chromium)"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=_QUIET)
        yield opened
        opened.close()


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    """The site served over HTTP on this machine."""
    server = make_server("127.0.0.1", 0, site.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    site.running[0] = False
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Device:
    """Somebody's browser window, logged in."""

    context: BrowserContext
    page: Page
    address: str
    errors: list[str]

    def go(self, path: str) -> Page:
        """Open a page."""
        self.page.goto(self.address + path)
        return self.page


def _device(browser: Browser, address: str, login: str, width: int, height: int, *, phone: bool) -> Device:
    context = browser.new_context(
        viewport={"width": width, "height": height}, has_touch=phone, is_mobile=phone, locale="zh-CN"
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
    device = Device(context, page, address, errors)
    device.go("/login")
    page.fill("[name=login]", login)
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    page.wait_for_url("**/w" if phone else "**/console")
    return device


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Device]:
    """The village owner's phone."""
    device = _device(browser, address, "worker-1", 390, 844, phone=True)
    yield device
    device.context.close()
    assert device.errors == []


@pytest.fixture
def wall(browser: Browser, address: str) -> Iterator[Device]:
    """The county's screen."""
    device = _device(browser, address, "county", 1440, 900, phone=False)
    yield device
    device.context.close()
    assert device.errors == []


def _fire(site: Site) -> str:
    code, _ = with_picture(site.world)
    site.world.apply(code, Event.DISPATCH, by=None)
    with site.world.database.write() as session:
        incidents.lock(session, code).grid_code = VILLAGE
    return code


def test_one_thumb_accepts_and_arrives(site: Site, phone: Device) -> None:
    """Two taps, no scrolling: the big button is on the screen, large, and leads to the next step."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    button = page.get_by_role("button", name="签收：我去")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 60
    assert box["width"] >= 300
    assert box["y"] + box["height"] <= 844
    button.tap()
    page.get_by_role("button", name="我到场了").tap()
    expect(page.locator(".camera-first:visible")).to_have_text("火灭了，拍照")  # at once, before the server knows
    expect(page.locator(".bar-title strong")).to_have_text("已到场", timeout=15_000)
    assert site.world.state(code) is State.ON_SITE
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_tap_without_signal_is_kept_and_sent_later(site: Site, phone: Device) -> None:
    """Accepting and arriving in a dead spot shows what waits, survives closing the page, and arrives once, in order,
    with the phone's own times."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    phone.context.route("**/api/v1/answers", lambda route: route.abort())
    page.get_by_role("button", name="签收：我去").tap()
    expect(page.locator("#queue")).to_contain_text("没有信号。“签收”已存在手机里")
    page.get_by_role("button", name="我到场了").tap()
    assert site.world.state(code) is State.DISPATCHED
    page.close()
    phone.context.unroute("**/api/v1/answers")
    page = phone.context.new_page()
    page.goto(f"{phone.address}/w/{code}")
    expect(page.locator(".bar-title strong")).to_have_text("已到场")
    assert site.world.events(code)[-2:] == ["accept", "arrive"]
    assert all("phone_at" in entry.data for entry in site.world.journal(code)[-2:])


def test_an_expired_login_keeps_the_answer_and_says_so(site: Site, phone: Device) -> None:
    """Nothing seems to be on its way that is not; after logging in again it goes by itself."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    page.wait_for_load_state("networkidle")  # an answer under way would bring the cookie back
    phone.context.clear_cookies(name="straw1530")
    page.get_by_role("button", name="签收：我去").tap()
    expect(page.locator("#queue")).to_contain_text("登录已过期，答复还在手机里")
    expect(page.locator("#queue")).not_to_contain_text("正在发送")
    page.locator("#expired a").tap()
    page.fill("[name=login]", "worker-1")
    page.fill("[name=password]", PASSWORD)
    page.click("button.primary")
    expect(page.locator(".bar-title strong")).to_have_text("已签收", timeout=30_000)
    assert site.world.state(code) is State.ACCEPTED


def test_an_answer_whose_confirmation_was_lost_counts_once(site: Site, phone: Device) -> None:
    """The server got it, the phone never heard: the second sending carries the same id and changes nothing."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    lost: list[bool] = []

    def lose_the_first(route: Route) -> None:
        if lost:
            route.continue_()
            return
        lost.append(True)
        route.fetch()
        route.abort()

    phone.context.route("**/api/v1/answers", lose_the_first)
    page.get_by_role("button", name="签收：我去").tap()
    expect(page.locator(".bar-title strong")).to_have_text("已签收", timeout=20_000)
    assert site.world.events(code).count("accept") == 1


def test_who_taps_second_is_told_who_was_first(site: Site, phone: Device) -> None:
    """The refusal is a sentence on the page, and the page shows the incident as it is."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    site.world.apply(code, Event.ACCEPT, by="worker-2")
    page.get_by_role("button", name="签收：我去").tap()
    expect(page.locator("#queue .error")).to_contain_text("已由他人签收")
    expect(page.locator("#main")).to_contain_text("已由 某2 签收")


def test_a_photograph_is_shrunk_previewed_and_sent(site: Site, phone: Device, tmp_path: Path) -> None:
    """A 12-megapixel picture goes out as a JPEG of at most 1600 pixels and closes the worker's part."""
    code = _fire(site)
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    site.world.apply(code, Event.ARRIVE, by="worker-1")
    photo = tmp_path / "scene.jpg"
    photo.write_bytes(jpeg(140, 4000, 3000))
    page = phone.go(f"/w/{code}")
    panel = page.locator("[data-panel=on_site]")
    panel.locator("input[name=photo]").set_input_files(photo)
    expect(panel.locator(".preview")).to_be_visible()
    panel.get_by_role("button", name="处置完成，发送").tap()
    expect(page.locator("#act")).to_contain_text("已反馈，等县里核查")
    url = site.login("worker-1").json(f"/api/v1/incidents/{code}")["incident"]["photos"][0]["url"]
    kept = Image.open(io.BytesIO(site.login("county").client.get(url, buffered=True).data))
    assert (kept.format, kept.size) == ("JPEG", (1600, 1200))


def test_a_photograph_survives_the_confirmation_of_the_step_before(site: Site, phone: Device, tmp_path: Path) -> None:
    """On a slow line the word that the step before has arrived comes after the photograph was taken: it stays."""
    code = _fire(site)
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    site.world.apply(code, Event.ARRIVE, by="worker-1")
    photo = tmp_path / "scene.jpg"
    photo.write_bytes(jpeg(140, 800, 600))
    page = phone.go(f"/w/{code}")
    held: list[Route] = []
    phone.context.route("**/api/v1/answers", lambda route: held.append(route))
    page.locator("[data-panel=on_site]").get_by_role("button", name="开始处置").tap()
    panel = page.locator("[data-panel=in_hand]")
    panel.locator("input[name=photo]").set_input_files(photo)
    expect(panel.locator(".preview")).to_be_visible()
    held[0].continue_()
    phone.context.unroute("**/api/v1/answers")
    expect(page.locator("#queue")).to_contain_text("已送达：开始处置")
    panel.get_by_role("button", name="处置完成，发送").tap()
    expect(page.locator("#act")).to_contain_text("已反馈，等县里核查")


def test_a_mistaken_tap_is_taken_back_on_the_phone(site: Site, phone: Device) -> None:
    """The undo button stands beside the next step and counts down."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    page.get_by_role("button", name="签收：我去").tap()
    page.get_by_role("button", name="撤销").tap()
    expect(page.locator(".bar-title strong")).to_have_text("已派单")
    assert site.world.state(code) is State.DISPATCHED


def test_the_position_is_asked_for_at_arrival_only(site: Site, phone: Device) -> None:
    """Accepting carries no position; arriving carries the phone's."""
    phone.context.set_geolocation({"latitude": 28.9612, "longitude": 118.8133})
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    page.get_by_role("button", name="签收：我去").tap()
    expect(page.get_by_role("button", name="我到场了")).to_be_visible()
    phone.context.grant_permissions(["geolocation"])
    page.get_by_role("button", name="我到场了").tap()
    expect(page.locator(".bar-title strong")).to_have_text("已到场")
    accepted, arrived = site.world.journal(code)[-2:]
    assert "lat" not in accepted.data
    assert (arrived.data["lat"], arrived.data["lon"]) == (28.9612, 118.8133)


def test_the_console_follows_without_reloading(site: Site, wall: Device) -> None:
    """A new fire appears and an answer moves it; the document stays, and with it a half-filled form."""
    first = _fire(site)
    page = wall.go(f"/console/{first}")
    page.evaluate("window.sameDocument = true")
    expect(page.locator("#link")).to_have_class("link live")
    page.locator("#step-mark_false").click()
    page.locator(".step-mark_false [name=note]").fill("正在核实")
    second = site.world.sighting(at=(28.9465, 118.800))
    expect(page.locator(f"#row-{second}")).to_be_visible()
    expect(page.locator(".step-mark_false [name=note]")).to_have_value("正在核实")
    site.world.apply(first, Event.ACCEPT, by="worker-1")
    expect(page.locator(f"#row-{first} .badge")).to_have_text("已签收")
    expect(page.locator("#detail .journal li").first).to_contain_text("签收")
    assert page.evaluate("window.sameDocument") is True


def test_the_console_acts_with_confirmation_and_undo(site: Site, wall: Device) -> None:
    """False alarm takes a reason and a second tap, and can be taken back."""
    code = _fire(site)
    page = wall.go("/console")
    page.locator(f"#row-{code}").click()
    page.locator("#step-mark_false").click()
    page.get_by_text("烟囱", exact=True).first.click()
    page.get_by_role("button", name="确认误报").click()
    expect(page.locator("#detail .badge").first).to_have_text("误报")
    assert site.world.state(code) is State.FALSE_ALARM
    page.get_by_role("button", name="撤销").click()
    expect(page.locator("#detail .badge").first).to_have_text("已派单")
    assert site.world.state(code) is State.DISPATCHED


def test_what_is_typed_on_the_console_outlives_news(site: Site, wall: Device) -> None:
    """Somebody accepts while the county writes why it was no fire: the sheet stays open with its words."""
    code = _fire(site)
    page = wall.go(f"/console/{code}")
    page.locator("#step-mark_false").click()
    page.locator(".step-mark_false").get_by_text("炊烟").click()
    page.locator(".step-mark_false [name=note]").fill("灶房的烟")
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    expect(page.locator(".detail-head .badge")).to_have_text("已签收")
    expect(page.locator(".step-mark_false [name=note]")).to_have_value("灶房的烟")
    page.locator(".step-mark_false .confirm").click()
    expect(page.locator(".detail-head .badge")).to_have_text("误报")


def test_by_keyboard_the_reader_goes_on_in_the_pane(site: Site, wall: Device) -> None:
    """Enter on a fire of the list leads to its heading, so that the next tab is its first button."""
    code = _fire(site)
    page = wall.go("/console")
    page.locator(f"#row-{code}").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".detail-head h2")).to_be_focused()


def test_a_clock_that_passes_its_limit_turns_late_on_the_screen(site: Site, wall: Device) -> None:
    """The wall shows 超时 by itself when the moment has passed, counted on the server's time."""
    code = _fire(site)
    site.world.advance(minutes=4, seconds=58)
    page = wall.go("/console")
    respond = page.locator(f"#row-{code} .clock").nth(1)
    expect(respond.locator(".clock-word")).to_have_text("剩余")
    expect(respond.locator(".clock-word")).to_have_text("超时")
    expect(respond).to_have_class("clock broken over")


def test_without_the_maps_files_the_console_says_so_and_works(site: Site, wall: Device, tmp_path: Path) -> None:
    """The script of the map is not there: the list and the detail still work."""
    code = _fire(site)
    wall.context.route("**/vendor/**", lambda route: route.abort())
    page = wall.go("/console")
    page.locator(f"#row-{code}").click()
    expect(page.locator("#detail h2")).to_have_text("东村")


def test_when_the_live_connection_fails_the_console_polls(site: Site, wall: Device) -> None:
    """A proxy that breaks event streams costs seconds, not the picture."""
    wall.context.route("**/api/v1/events", lambda route: route.abort())
    page = wall.go("/console")
    code = _fire(site)
    expect(page.locator(f"#row-{code}")).to_be_visible(timeout=20_000)
    expect(page.locator("#link")).to_have_class("link polling")


def test_what_was_handed_over_can_be_answered_no_more(site: Site, phone: Device) -> None:
    """After a hand-over the page says so, and its buttons are gone."""
    code = _fire(site)
    page = phone.go(f"/w/{code}")
    page.get_by_text("转派", exact=True).first.tap()
    page.locator("[data-panel=dispatched] select").select_option(index=1)
    page.get_by_role("button", name="确认转派").tap()
    expect(page.locator("#queue")).to_contain_text("已不归您")
    expect(page.locator("#act")).to_have_count(0)


def test_the_last_pages_are_there_without_signal_and_alerts_are_offered(site: Site, phone: Device) -> None:
    """The service worker keeps what was last seen; the button to turn alerts on is there where push is set up."""
    site.app.jinja_env.globals["push_key"] = push.public_key(push.new_key())
    code = _fire(site)
    page = phone.go("/w")
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    phone.go("/w")
    expect(page.locator("#push")).to_be_visible()
    expect(page.locator(f'a[href="/w/{code}"]')).to_be_visible()
    phone.context.set_offline(True)
    page.reload()
    expect(page.locator(f'a[href="/w/{code}"]')).to_be_visible()
    expect(page.locator("#queue")).to_contain_text("没有信号。这是")
    assert page.evaluate("document.querySelector('.clock-time').textContent") != "5:00"  # not the kept page's time
    phone.context.set_offline(False)
    expect(page.locator("#queue")).not_to_contain_text("没有信号")


def test_a_signed_link_is_one_page_with_one_button(site: Site, phone: Device) -> None:
    """Large enough for a thumb, and then what to do next."""
    code = _fire(site)
    until = site.world.now + timedelta(hours=1)
    page = phone.go("/t/" + tickets.tap("k" * 40, 1, site.world.people["worker-1"], until))
    button = page.locator("form[method=post] button.primary")
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    button.click()
    expect(page.locator(".message")).to_contain_text("已签收")
    assert site.world.state(code) is State.ACCEPTED


def test_the_wall_screen_can_be_muted(site: Site, wall: Device) -> None:
    """It stays so for this screen."""
    page = wall.page
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "false")
    page.click("#mute")
    page.reload()
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
