# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's mount by ONVIF: its presets, the order to go to one, and where it says it stands.

The library and its schemas cost 50 MB and a second, once: they are loaded when the first mount is connected to, so that
a box of fixed cameras never pays for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from detector.errors import PtzError, PtzRefused

CONNECT_S, ANSWER_S = 20.0, 3.0
"""A device that is silent for so long is not there."""

Position = tuple[float, float, float]
"""Pan, tilt and zoom in the device's own units, which say nothing of degrees."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PtzStatus:
    """What the device says of itself: None where it does not say."""

    position: Position | None
    moving: bool | None


class Head(Protocol):
    """A mount. Each call raises PtzError when the device does not answer, PtzRefused when it says no."""

    def presets(self) -> dict[str, Position | None]:
        """Stored views by name and by token, with their positions where the device gives them."""

    def go(self, preset: str) -> None:
        """Order the camera to a preset; returns at once."""

    def status(self) -> PtzStatus:
        """Where it stands, and whether it moves."""

    def close(self) -> None:
        """Let go of the connection."""


class OnvifHead:
    """One camera by ONVIF's Device, Media and PTZ services. For use from one thread."""

    def __init__(self, url: str, answer_s: float = ANSWER_S) -> None:
        """Connect to `url` (http://user:password@host:port)."""
        parts = urlsplit(url)
        self._where = (parts.hostname or "", parts.port or 80)
        self._user = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._answer_s = answer_s
        self._loop = asyncio.new_event_loop()
        self._camera: Any = None
        self._tokens: dict[str, str] = {}
        try:
            self._ptz, self._profile = self._ask(self._connect(), CONNECT_S)
        except PtzError:
            self.close()
            raise

    def presets(self) -> dict[str, Position | None]:
        """See Head."""
        found = self._ask(self._ptz.GetPresets({"ProfileToken": self._profile})) or []
        positions: dict[str, Position | None] = {}
        for names in ([each.token for each in found], [each.Name for each in found]):  # a name wins over a token
            for name, each in zip(names, found, strict=True):
                if name:
                    self._tokens[name] = each.token
                    positions[name] = _position(each.PTZPosition)
        return positions

    def go(self, preset: str) -> None:
        """See Head."""
        token = self._tokens.get(preset)
        if token is None:
            raise PtzRefused(f"the camera knows no preset {preset!r} (it knows: {', '.join(self._tokens) or 'none'})")
        self._ask(self._ptz.GotoPreset({"ProfileToken": self._profile, "PresetToken": token}))

    def status(self) -> PtzStatus:
        """See Head."""
        try:
            said = self._ask(self._ptz.GetStatus({"ProfileToken": self._profile}))
        except PtzRefused:  # the standard leaves this to the device
            return PtzStatus(None, None)
        states = [getattr(said.MoveStatus, axis, None) for axis in ("PanTilt", "Zoom")] if said.MoveStatus else []
        known = [state for state in states if state in {"IDLE", "MOVING"}]
        return PtzStatus(_position(said.Position), "MOVING" in known if known else None)

    def close(self) -> None:
        """See Head."""
        if self._camera is not None:
            self._loop.run_until_complete(self._camera.close())
            self._camera = None
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _connect(self) -> tuple[Any, str]:
        from onvif import ONVIFCamera

        # The device's own clock is allowed to be wrong, and the addresses it gives may be those of its own network.
        self._camera = ONVIFCamera(*self._where, *self._user, no_cache=True, adjust_time=True, nat_override=True)
        await self._camera.update_xaddrs()
        media = await self._camera.create_media_service()
        profiles = await media.GetProfiles()
        turning = [profile for profile in profiles or [] if profile.PTZConfiguration] or profiles
        if not turning:
            raise PtzRefused("the camera has no media profile: make one on its own page")
        return await self._camera.create_ptz_service(), turning[0].token

    def _ask(self, question: Coroutine[Any, Any, T], within_s: float | None = None) -> T:
        from onvif import ONVIFError
        from zeep.exceptions import Fault

        try:
            return self._loop.run_until_complete(asyncio.wait_for(question, within_s or self._answer_s))
        except PtzError:
            raise
        except TimeoutError as error:
            raise PtzError("the camera's ONVIF does not answer: check that it is on and reached") from error
        except Fault as error:
            if any("NotAuthorized" in str(code) for code in error.subcodes or ()):
                raise PtzError("the camera's ONVIF refuses the password: check user and password in ptz") from error
            raise PtzRefused(f"the camera refuses: {error}") from error
        except ONVIFError as error:
            raise PtzError(f"the camera's ONVIF failed: {error}") from error
        except OSError as error:  # aiohttp's connection errors among them
            raise PtzError("the camera's ONVIF cannot be reached: check host and port of ptz") from error
        except Exception as error:
            # Whatever a device may send, the library may stumble over it in any way.
            raise PtzError(f"the camera's ONVIF says what cannot be read ({type(error).__name__})") from error


def _position(said: Any) -> Position | None:
    turn, zoom = getattr(said, "PanTilt", None), getattr(said, "Zoom", None)
    if turn is None or turn.x is None or turn.y is None:
        return None
    return float(turn.x), float(turn.y), float(zoom.x) if zoom is not None and zoom.x is not None else 0.0
