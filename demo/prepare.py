# SPDX-License-Identifier: AGPL-3.0-or-later
"""Setting up the demo's folder: database, region, people, cameras, passwords, settings files. Idempotent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from sqlalchemy import func, select
from werkzeug.security import check_password_hash, generate_password_hash

from camera_sim.server import recording_id
from demo.people import add_people
from demo.region import FOLDER
from demo.site import HOST, CameraSite, Demo
from server.admin import region, schema
from server.admin.brokerusers import write_users
from server.admin.cameras import add_camera, parse_camera
from server.db import Database, DatabaseClock
from server.domain.policy import Policy
from server.models import Division, Person, PolicyVersion
from server.services import policies

Say = Callable[[str], None]


def prepare(demo: Demo, say: Say) -> None:
    """Make everything the processes need; a second call finds it done and takes a fraction of a second."""
    demo.server_data.mkdir(parents=True, exist_ok=True)
    database = Database(f"sqlite:///{demo.server_data / 'straw1530.sqlite'}")
    try:
        say("database …")
        schema.upgrade(database)
        _policy(database)
        _region(database, say)
        _people(database, demo, say)
        _cameras(database, demo)
    finally:
        database.dispose()
    say("passwords and settings …")
    users = ["engine", "dispatch", *(site.edge for site in demo.sites), *demo.logins()]
    write_users(demo.broker_users, {user: demo.secret(f"mqtt:{user}") for user in users})
    for site in demo.sites:
        _edge_file(demo, site)
        _scene_file(demo, site)


def _policy(database: Database) -> None:
    with database.write() as session:
        if session.scalar(select(func.count()).select_from(PolicyVersion)) == 0:
            policies.publish(session, None, Policy(), DatabaseClock().now(session))


def _region(database: Database, say: Say) -> None:
    with database.read() as session:
        if session.scalar(select(func.count()).select_from(Division)):
            return
    say("the demo region: Quzhou, 1,771 divisions with invented township and village borders …")
    checked = region.check_region(FOLDER, {}, crs="wgs84", mend=False)
    with database.write() as session:
        region.import_region(session, checked)


def _people(database: Database, demo: Demo, say: Say) -> None:
    with database.write() as session:
        added = add_people(session)
        if added:
            say(f"the demo's people: {added:,} invented grid workers, leaders and supervisors …")
        for login in demo.logins():
            person = session.scalars(select(Person).where(Person.login == login)).one()
            password = demo.secret(f"login:{login}")
            if person.password_hash is None or not check_password_hash(person.password_hash, password):
                person.password_hash = generate_password_hash(password)


def _cameras(database: Database, demo: Demo) -> None:
    with database.write() as session:
        for site in demo.sites:
            camera = site.scene.camera
            values = {
                "id": site.camera,
                "edge": site.edge,
                "county": site.county,
                "name": camera.name.partition(" / ")[0],
                "lat": camera.lat,
                "lon": camera.lon,
                "height_m": camera.height_m,
                "pan": camera.pan_deg,
                "tilt": camera.tilt_deg,
                "hfov": camera.hfov_deg,
            }
            add_camera(session, parse_camera(values))


def _edge_file(demo: Demo, site: CameraSite) -> None:
    folder = demo.edge_file(site).parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "broker-password").touch(mode=0o600)
    (folder / "broker-password").write_text(demo.secret(f"mqtt:{site.edge}"))
    settings = {
        "edge": site.edge,
        "data_dir": "data",
        "broker": {
            "host": HOST,
            "port": demo.ports.broker,
            "username": site.edge,
            "password_file": "broker-password",
        },
        "model": {"threads": 1},
        "cameras": [{"id": site.camera, "url": stream_url(demo, site), **_pace(demo)}],
    }
    demo.edge_file(site).write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def _pace(demo: Demo) -> dict[str, float]:
    """How often the edge box looks: every picture of a folder is judged, streams every five seconds."""
    if demo.video is None or demo.video_is_stream or not Path(demo.video).is_dir():
        return {"interval_s": 5.0, "burst_interval_s": 2.0}
    each = min(max(1 / demo.video_fps, 0.5), 5.0)
    return {"interval_s": each, "burst_interval_s": each}


def stream_url(demo: Demo, site: CameraSite) -> str:
    """Where the edge box reads its camera: the user's own stream, or the simulator."""
    if demo.video is None:
        return f"rtsp://{HOST}:{demo.ports.rtsp}/{site.camera}"
    if demo.video_is_stream:
        return demo.video
    return f"rtsp://{HOST}:{demo.ports.rtsp}/{recording_id(Path(demo.video))}"


def scene_file(demo: Demo, site: CameraSite) -> Path:
    """The scene as the simulator is given it: without its scheduled fire, which the demo lights itself."""
    return demo.data / site.edge / "scene.yaml"


def _scene_file(demo: Demo, site: CameraSite) -> None:
    plain = site.scene.model_dump(mode="json", exclude_none=True) | {"fires": [], "start": "on_request"}
    scene_file(demo, site).write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
