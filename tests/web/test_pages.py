# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages as plain HTML, without any script."""

from __future__ import annotations

import io
import re

import pytest
from sqlalchemy import select

from server.domain.lifecycle import Event, State
from server.models import Notice, Person
from server.services import incidents, outcomes
from tests.dispatch.helpers import expand
from tests.support.world import FIELD, NEIGHBOUR, VILLAGE, jpeg
from tests.web.conftest import Site
from tests.web.test_api import with_picture

# The pages are the same on every database: one is enough here.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_worker_answers_with_forms_alone(site: Site) -> None:
    """Accept, arrive, and done with a photograph, by the buttons of the page and nothing else."""
    world = site.world
    code = world.dispatched()
    worker = site.login("worker-1")
    assert code in worker.get("/w").text
    path = f"/w/{code}/answer"
    assert "已记录：签收" in worker.submit(path, event="accept").text
    assert "我到场了" in worker.get(f"/w/{code}").text
    worker.submit(path, event="arrive")
    page = worker.submit(path, event="report_done", photo=(io.BytesIO(jpeg()), "scene.jpg"))
    assert "已反馈，等县里核查" in page.text
    assert world.state(code) is State.REPORTED


def test_a_forms_own_id_makes_a_second_tap_harmless(site: Site) -> None:
    """The id is in the form, so the same form sent twice counts once."""
    code = site.world.dispatched()
    worker = site.login("worker-1")
    page = worker.get(f"/w/{code}").text
    minted = re.search(r'name="id" value="([^"]+)">\s*<input type="hidden" name="event" value="accept"', page)
    assert minted is not None
    for _ in range(2):
        assert worker.submit(f"/w/{code}/answer", event="accept", id=minted[1]).status_code == 200
    assert site.world.events(code).count("accept") == 1


def test_a_refused_form_says_why_on_the_next_page(site: Site) -> None:
    """The page comes back with the sentence; nothing is lost."""
    code = site.world.dispatched()
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    page = site.login("worker-2", language="zh").submit(f"/w/{code}/answer", event="accept")
    assert "已由他人签收" in page.text
    assert "已由 某1 签收" in page.text


def test_not_a_fire_takes_a_reason(site: Site) -> None:
    """Without one it is refused, with one the county sees it."""
    code = site.world.dispatched()
    worker = site.login("worker-1")
    worker.submit(f"/w/{code}/answer", event="accept")
    assert "内容有误" in worker.submit(f"/w/{code}/answer", event="report_false").text
    worker.submit(f"/w/{code}/answer", event="report_false", reason="fog")
    assert "现场不是火（晨雾）" in site.login("county").get(f"/console/{code}").text


def test_a_hand_over_offers_the_nearest_grids_first(site: Site) -> None:
    """The neighbour is on the list, the own grid is not; afterwards it is the neighbour's."""
    code = site.world.dispatched()
    worker = site.login("worker-1")
    page = worker.get(f"/w/{code}").text
    assert f'<option value="{NEIGHBOUR}">南村 · 石梁镇 · ' in page
    assert '<option value="330802100201">' not in page
    worker.submit(f"/w/{code}/answer", event="transfer", to=NEIGHBOUR)
    assert site.login("neighbour").get(f"/w/{code}").status_code == 200


def test_the_worker_sees_place_picture_map_and_clocks(site: Site) -> None:
    """Village big, both clocks with their limits, the picture with its box and the sketch with its ellipse."""
    code, digest = with_picture(site.world)
    site.world.apply(code, Event.DISPATCH, by=None)
    page = site.login("leader").get("/w").text
    assert code not in page  # not placed yet
    with site.world.database.write() as session:
        incidents.lock(session, code).grid_code = VILLAGE
    page = site.login("worker-1").get(f"/w/{code}").text
    assert "<h1>东村</h1>" in page
    assert "柯城区 石梁镇 东村" in page
    assert "5分钟响应" in page
    assert "30分钟处置" in page
    assert f'href="/media/{digest}.jpg"' in page
    assert "smoke-box" in page
    assert '<ellipse class="doubt"' in page
    assert "data-due=" in page


def test_a_calm_page_when_nothing_burns(site: Site) -> None:
    """An empty list says so."""
    assert "现在没有火点" in site.login("worker-1").get("/w").text


@pytest.mark.parametrize(("language", "word"), [("zh", "剩余"), ("en", "left")])
def test_the_language_is_chosen_and_remembered(site: Site, language: str, word: str) -> None:
    """The switch is on every page; the cookie decides from then on."""
    site.world.dispatched()
    worker = site.login("worker-1", language="zh" if language == "en" else "en")
    worker.get(f"/language/{language}?next=/w")
    page = worker.get("/w").text
    assert word in page
    assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in page
    for path in ("/w", f"/w/{site.world.dispatched()}", "/nowhere"):
        assert "/language/" in worker.get(path).text, path


def test_without_a_choice_the_person_and_then_chinese_decide(site: Site) -> None:
    """A person's own language is the default; a browser that asks for nothing gets Chinese."""
    assert "登录" in site.app.test_client().get("/login").text
    english = site.login("worker-2")
    english.client.delete_cookie("lang")
    assert "My fires" in english.get("/w").text


def test_the_console_verifies_and_closes_with_forms_alone(site: Site) -> None:
    """Each state offers its own steps, and each step asks for confirmation."""
    world = site.world
    code = world.dispatched()
    world.apply(code, Event.ACCEPT, by="worker-1")
    world.apply(code, Event.ARRIVE, by="worker-1")
    county = site.login("county")
    page = county.get(f"/console/{code}").text
    assert "确认误报" in page
    assert "确认核查通过" not in page
    world.report_done(code, "worker-1")
    page = county.submit(f"/console/{code}/answer", event="verify").text
    assert "撤销" in page
    assert "确认结案" in page
    county.submit(f"/console/{code}/answer", event="close")
    assert world.state(code) is State.CLOSED


def test_the_console_takes_back_a_mistake(site: Site) -> None:
    """A false alarm marked by mistake is open again after undo."""
    code = site.world.dispatched()
    county = site.login("county")
    county.submit(f"/console/{code}/answer", event="mark_false", reason="cloud")
    assert site.world.state(code) is State.FALSE_ALARM
    county.submit(f"/console/{code}/answer", event="undo")
    assert site.world.state(code) is State.DISPATCHED


def test_an_overdue_incident_is_first_and_says_so(site: Site) -> None:
    """超时 stands in words beside the colour, and the tally counts it."""
    world = site.world
    late = world.dispatched()
    world.advance(minutes=6)
    fresh = world.sighting(at=(28.9465, 118.800))
    page = site.login("county").get("/console").text
    assert page.index(f'id="row-{late}"') < page.index(f'id="row-{fresh}"')
    row = page[page.index(f'id="row-{late}"') : page.index(f'id="row-{fresh}"')]
    assert "超时" in row
    assert "1:00" in row
    assert '<div class="tally alarm"><b class="tnum">1</b>' in page


def test_the_time_line_shows_when_a_step_was_truly_due(site: Site) -> None:
    """What the clock wrote carries its own due time to the millisecond."""
    code = site.world.dispatched()
    site.world.advance(minutes=6)
    assert "响应时限已过，告知乡镇负责人（应于 17:05:00.000）" in site.login("county").get(f"/console/{code}").text


def test_the_parts_for_the_script_are_the_pages_own(site: Site) -> None:
    """List and detail alone, for the live page."""
    code = site.world.dispatched()
    county = site.login("county")
    assert f'id="row-{code}"' in county.get("/console/part/list").text
    part = county.get(f"/console/part/incident/{code}").text
    assert part.lstrip().startswith("<article")
    assert f'data-code="{code}"' in part


def test_an_unknown_page_and_a_wrong_method_are_sentences(site: Site) -> None:
    """A browser gets a page, a program gets JSON."""
    county = site.login("county")
    assert "没有这一页" in county.get("/nowhere").text
    assert county.client.get("/api/v1/nowhere").get_json()["code"] == "http_404"
    assert county.client.get("/api/v1/answers").status_code == 405


# Late, disputed, excused, appealed, reopened


def late_fire(site: Site) -> str:
    """Accepted after ten minutes."""
    code = site.world.dispatched()
    site.world.advance(minutes=10)
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    return code


def test_a_worker_appeals_and_the_county_decides_with_forms_alone(site: Site) -> None:
    """The reason is on the console with both decisions; an upheld one stands beside the verdict and changes none."""
    code = late_fire(site)
    worker = site.login("worker-1")
    assert "超时有原因" in worker.get(f"/w/{code}").text
    worker.submit(f"/w/{code}/answer", event="appeal", note="桥断了")
    assert "超时有原因" not in worker.get(f"/w/{code}").text
    county = site.login("county")
    page = county.get(f"/console/{code}").text
    assert "桥断了" in page
    line = re.search(r'name="answers" value="(\d+)"', page)
    assert line is not None
    page = county.submit(f"/console/{code}/answer", event="appeal", answers=line[1], upheld="true", note="属实").text
    assert "申诉成立，免责：属实" in page
    assert 'name="answers"' not in page
    respond = site.world.clocks(code)[1]
    assert (respond.verdict.value, respond.excused) == ("broken", True)
    again = county.submit(f"/console/{code}/answer", event="appeal", answers=line[1], upheld="false").text
    assert "already decided" in again or "已有结论" in again
    assert site.world.clocks(code)[1].excused


def test_a_worker_who_was_in_time_is_not_asked_to_appeal(site: Site) -> None:
    """There is nothing to appeal against."""
    code = site.world.dispatched()
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    assert "超时有原因" not in site.login("worker-1").get(f"/w/{code}").text


def test_an_excuse_says_beforehand_what_it_does_and_afterwards_who_gave_it(site: Site) -> None:
    """While it burns it ends the incident; after the close it is a note."""
    code = late_fire(site)
    county = site.login("county")
    assert "本火点就此结束；判定旁注明免责" in county.get(f"/console/{code}").text
    page = county.submit(f"/console/{code}/answer", event="excuse", reason="permitted").text
    assert "免责（批准的焚烧） · 某6" in page
    assert "只是注明，时间和判定不变" in page
    assert "另开一个新火点" in page  # what reopening would do
    reopened = county.submit(f"/console/{code}/answer", event="reopen").text
    new = site.world.journal(code)[-1].data["opened"]
    assert f'href="/console/{new}"' in reopened
    assert f"重开前次火点 {code}" in county.get(f"/console/{new}").text


def test_a_disputed_discovery_is_explained_in_words(site: Site) -> None:
    """The limit lies inside what can be known; the page says so and not only "disputed"."""
    code = site.world.sighting(seen_s=55)
    page = site.login("county").get(f"/console/{code}").text
    assert "<b>发现存疑</b>" in page
    assert "60 秒在其间，判不了" in page


def test_a_tap_taken_back_stays_visible_as_such(site: Site) -> None:
    """Struck through, marked, and named by the line that took it back."""
    code = site.world.dispatched()
    site.world.apply(code, Event.ACCEPT, by="worker-1")
    site.world.apply(code, Event.UNDO, by="worker-1")
    page = site.login("county").get(f"/console/{code}").text
    assert 'class="line-accept undone"' in page
    assert "（已撤销）" in page
    assert "撤销：签收" in page


def test_a_department_sees_the_console_without_buttons(site: Site) -> None:
    """It is told and may look; each step is refused."""
    code = late_fire(site)
    with site.world.database.write() as session:
        county = session.get_one(Person, site.world.people["county"])
        county.role = "department"
    page = site.login("county").get(f"/console/{code}").text
    assert "step-mark_false" not in page
    site.login("county").submit(f"/console/{code}/answer", event="mark_false", reason="fog")
    assert site.world.state(code) is State.ACCEPTED


def test_the_console_says_who_need_not_be_told_and_why(site: Site) -> None:
    """What was spared and what only informed has words of its own."""
    code = site.world.sighting(at=FIELD)
    expand(site.world, ["mqtt", "voice"])
    with site.world.database.write() as session:
        call = session.scalars(select(Notice).where(Notice.channel == "voice")).one()
        outcomes.skip(session, call, "it arrived by mqtt", site.world.now)
    page = site.login("county").get(f"/console/{code}").text
    assert "不必再发" in page
    assert "已由推送送达" in page
