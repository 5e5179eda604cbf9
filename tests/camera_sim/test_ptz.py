# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera that turns: its mount, its picture, and its ONVIF device as a kept client sees it."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import zeep.exceptions
from onvif import ONVIFCamera

from camera_sim.auth import Credentials
from camera_sim.control import ControlServer
from camera_sim.mount import Mount, Pose
from camera_sim.noise import U8
from camera_sim.onvif import OnvifServer
from camera_sim.server import CameraServer, open_camera
from camera_sim.spec import Ptz, SceneError
from tests.camera_sim.make import folder, post, spec, watch

PTZ = {
    "presets": [
        {"name": "west", "pan_deg": 281, "tilt_deg": -2.5, "hfov_deg": 32},
        {"name": "north", "pan_deg": 301, "tilt_deg": -2.5, "hfov_deg": 20},
    ]
}
USER = Credentials("viewer", "right")


@pytest.fixture(scope="module")
def device() -> Iterator[OnvifServer]:
    """One camera that turns, behind a password."""
    camera = open_camera(spec("tower", camera={"width": 160, "height": 90}, villages=[], ptz=PTZ))
    with CameraServer([camera], credentials=USER) as cameras, OnvifServer(cameras, "tower", credentials=USER) as onvif:
        yield onvif


def mount() -> Mount:
    return Mount(spec(ptz=PTZ).camera, Ptz(pan_deg_s=10, tilt_deg_s=5, zoom_s=4))


def test_each_axis_takes_its_time() -> None:
    """20 degrees of pan at 10 a second: half way after one second, there after two, and never beyond."""
    turning = mount()
    turning.move(Pose(301, -5, turning.pose(0).zoom), 100)
    assert turning.moving(101)
    assert turning.pose(101).pan_deg == pytest.approx(291)
    assert turning.pose(101).tilt_deg == -5
    assert not turning.moving(102)
    assert turning.pose(500) == Pose(301, -5, turning.pose(0).zoom)


def test_it_turns_the_shorter_way() -> None:
    """From 281 degrees to 5 through north."""
    turning = mount()
    turning.move(Pose(5, -2.5, 0), 0)
    assert turning.pose(8).pan_deg == pytest.approx(1)


def test_a_steady_turn_ends_when_it_is_stopped_or_at_the_end_of_its_range() -> None:
    """Pan goes on round; tilt and zoom have ends."""
    turning = mount()
    turning.drive(1, -1, 1, 0)
    assert turning.pose(2).pan_deg == pytest.approx(301)
    assert turning.pose(59).tilt_deg == -45
    assert turning.pose(59).zoom == 1
    turning.stop(10)
    assert not turning.moving(10)
    assert turning.pose(99).pan_deg == pytest.approx(21)


def test_zoom_and_field_of_view_are_one_table() -> None:
    """A 37-fold lens: 58 degrees, 7.2 at a quarter, 2.8 at the end, and back."""
    turning = mount()
    assert [round(turning.field_at(zoom), 1) for zoom in (0, 0.25, 1)] == [58, 7.2, 2.8]
    assert turning.field_at(turning.zoom_for(20)) == pytest.approx(20)


@pytest.mark.parametrize(
    ("ptz", "words"),
    [
        ({"fields": [[0, 58], [1, 60]]}, "the fields of view fall"),
        ({"presets": [{"name": "far", "pan_deg": 1, "tilt_deg": 0, "hfov_deg": 1}]}, "no field of view of 1 degrees"),
        ({"presets": [PTZ["presets"][0]] * 2}, "same name"),
    ],
)
def test_a_lens_that_cannot_be_is_refused(ptz: dict[str, Any], words: str) -> None:
    """One sentence."""
    with pytest.raises(ValueError, match=words):
        spec(ptz=ptz)


def apart(one: U8, other: U8) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_turning_really_moves_the_picture(device: OnvifServer) -> None:
    """On the way the picture is another at each moment; back again, it is the one it was."""
    source = device.cameras.cameras[0].source
    turning = device.cameras.mount("tower")
    home = turning.pose(0)
    before = source.frame(1000)
    turning.move(Pose(301, -2.5, turning.zoom_for(20)), 1000)
    middle, there = source.frame(1000.2), source.frame(1010)
    turning.move(home, 1010)
    back = source.frame(1020)
    assert apart(before, back) < 2
    assert apart(before, middle) > 8
    assert apart(middle, there) > 8


def test_what_both_views_show_is_at_the_same_bearing(device: OnvifServer) -> None:
    """The picture made for a view on the way is the one that would be drawn for it."""
    source = device.cameras.cameras[0].source
    turning = device.cameras.mount("tower")
    turning.move(Pose(283, -2.5, turning.pose(0).zoom), 2000)
    view = turning.view(2000.0249)
    assert source.scene.view.pan_deg < view.pan_deg < 282.1  # type: ignore[attr-defined]
    made, drawn = source._made(view, 3000), source.scene.still(view)  # type: ignore[attr-defined]
    assert apart(made[20:-5, :-12], drawn[20:-5, :-12]) < 6
    turning.move(Pose(281, -2.5, turning.pose(3000).zoom), 3000)


def ask(device: OnvifServer, talk: Callable[[Any, str], Awaitable[Any]], password: str = "right") -> Any:
    """Talk to the device's PTZ service by the kept client."""

    async def run() -> Any:
        camera = ONVIFCamera(device.host, device.port, "viewer", password, no_cache=True, adjust_time=True)
        try:
            await camera.update_xaddrs()
            media = await camera.create_media_service()
            profile = (await media.GetProfiles())[0].token
            return await talk(camera, profile)
        finally:
            await camera.close()

    return asyncio.run(run())


def test_a_kept_client_finds_the_stream_and_the_snapshot(device: OnvifServer) -> None:
    """Both addresses that the device names give its picture."""

    async def talk(camera: Any, profile: str) -> tuple[str, str]:
        media = await camera.create_media_service()
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        stream = await media.GetStreamUri({"StreamSetup": setup, "ProfileToken": profile})
        shot = await media.GetSnapshotUri({"ProfileToken": profile})
        return stream.Uri, shot.Uri

    stream, shot = ask(device, talk)
    assert watch(stream.replace("rtsp://", "rtsp://viewer:right@"), 2)[0].shape == (90, 160, 3)
    assert picture(shot, "right").shape == (90, 160, 3)


def picture(url: str, password: str, handler: type[Any] = urllib.request.HTTPDigestAuthHandler) -> U8:
    known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    known.add_password(None, url, "viewer", password)
    with urllib.request.build_opener(handler(known)).open(url, timeout=10) as answer:
        assert answer.headers["Content-Type"] == "image/jpeg"
        return np.asarray(cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR), np.uint8)


@pytest.mark.parametrize("handler", [urllib.request.HTTPDigestAuthHandler, urllib.request.HTTPBasicAuthHandler])
def test_every_camera_has_a_snapshot_behind_its_password(device: OnvifServer, handler: type[Any]) -> None:
    """Digest or basic; a wrong password gets none, a stalled camera answers 503."""
    with ControlServer(device.cameras) as control:
        url = f"http://127.0.0.1:{control.port}/cameras/tower/snapshot.jpg"
        assert picture(url, "right", handler).shape == (90, 160, 3)
        with pytest.raises((urllib.error.HTTPError, ValueError), match="401"):
            picture(url, "wrong", handler)
        device.cameras.stall("tower")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            picture(url, "right", handler)
        device.cameras.unfreeze("tower")


async def until_idle(ptz: Any, profile: str) -> Any:
    for _ in range(100):
        status = await ptz.GetStatus({"ProfileToken": profile})
        if status.MoveStatus.PanTilt == "IDLE":
            return status
        await asyncio.sleep(0.05)
    raise AssertionError("it never came to rest")


def test_moves_presets_and_status_over_onvif(device: OnvifServer) -> None:
    """To a preset and back, a relative and a steady turn that is stopped, a preset stored where it stands."""

    async def talk(camera: Any, profile: str) -> list[float]:
        ptz = await camera.create_ptz_service()
        who = {"ProfileToken": profile}
        presets = await ptz.GetPresets(who)
        assert [preset.Name for preset in presets] == ["west", "north"]
        await ptz.GotoPreset(who | {"PresetToken": presets[1].token})
        assert (await ptz.GetStatus(who)).MoveStatus.PanTilt == "MOVING"
        seen = [await until_idle(ptz, profile)]
        await ptz.RelativeMove(who | {"Translation": {"PanTilt": {"x": 0.05, "y": 0}}})
        seen.append(await until_idle(ptz, profile))
        await ptz.ContinuousMove(who | {"Velocity": {"PanTilt": {"x": 0.5, "y": 0}}})
        await asyncio.sleep(0.1)
        await ptz.Stop(who)
        seen.append(await until_idle(ptz, profile))
        token = await ptz.SetPreset(who | {"PresetName": "here"})
        await ptz.AbsoluteMove(who | {"Position": {"PanTilt": {"x": -79 / 180, "y": -2.5 / 90}, "Zoom": {"x": 0.07}}})
        seen.append(await until_idle(ptz, profile))
        await ptz.GotoPreset(who | {"PresetToken": token})
        seen.append(await until_idle(ptz, profile))
        await ptz.GotoPreset(who | {"PresetToken": presets[0].token})
        await until_idle(ptz, profile)
        return [180 * status.Position.PanTilt.x for status in seen]

    north, further, driven, home, stored = ask(device, talk)
    assert north == pytest.approx(-59, abs=0.01)
    assert further == pytest.approx(-50, abs=0.01)
    assert driven > further + 0.5
    assert home == pytest.approx(-79, abs=0.01)
    assert stored == pytest.approx(driven, abs=0.01)


@pytest.mark.parametrize(
    ("password", "fault", "words"),
    [("wrong", None, "not authorized"), ("right", "refuses", "the motor is switched off")],
)
def test_a_refusal_is_a_soap_fault(device: OnvifServer, password: str, fault: Any, words: str) -> None:
    """As the client raises it."""

    async def talk(camera: Any, profile: str) -> None:
        ptz = await camera.create_ptz_service()
        await ptz.GotoPreset({"ProfileToken": profile, "PresetToken": "1"})

    device.fault = fault
    try:
        with pytest.raises(zeep.exceptions.Fault, match=words):
            ask(device, talk, password)
    finally:
        device.fault = None


def test_a_hand_on_the_control_desk(device: OnvifServer) -> None:
    """The control interface turns a camera that turns, and says that another does not."""
    with ControlServer(device.cameras) as control:
        assert post(control.port, "/cameras/tower/turn", pan_deg=282, tilt_deg=-2.5)[0] == 200
        assert device.cameras.mount("tower").target.pan_deg == 282


def test_a_camera_that_stands_still_is_no_onvif_device(tmp_path: Any) -> None:
    """One sentence."""
    cameras = CameraServer([open_camera(folder(tmp_path / "recording", [(1, 2, 3)]))])
    with pytest.raises(SceneError, match="does not turn"):
        OnvifServer(cameras, "recording")
