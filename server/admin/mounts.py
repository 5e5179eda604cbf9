# SPDX-License-Identifier: AGPL-3.0-or-later
"""``straw1530 admin camera calibrate`` and ``straw1530 admin terrain check``: what fires are placed by."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.admin.tables import Problem, Refused, read_csv
from server.db import Database
from server.domain.errors import Missing
from server.domain.place import MAX_RANGE_M
from server.locate.calibrate import Calibration, Landmark
from server.locate.ground import Tangent
from server.locate.terrain import Terrain, open_terrain
from server.models import Camera
from server.services import mounts

_COLUMNS = ("name", "x", "y", "lat", "lon", "height_m")


def read_landmarks(path: Path) -> list[Landmark]:
    """The landmarks of a CSV file. Raises Refused with every fault."""
    problems, found = [], []
    for number, row in read_csv(path, _COLUMNS):
        try:
            x, y, lat, lon, height_m = (float(row[name]) for name in _COLUMNS[1:])
        except ValueError as error:
            text = str(error).replace("could not convert string to float", "no number")
            problems.append(Problem(path.name, f"line {number}", text))
            continue
        found.append(Landmark(row["name"] or f"line {number}", x, y, lat, lon, height_m))
    if problems:
        raise Refused(problems)
    return found


def calibrate_camera(args: argparse.Namespace, database: Database) -> int:
    """Solve a camera's mount from landmarks in one of its pictures, and show what is left over."""
    landmarks = read_landmarks(args.points)
    with database.write() as session:
        camera = _camera(session, args.camera)
        stated = (
            camera.pan if args.pan is None else args.pan,
            camera.tilt if args.tilt is None else args.tilt,
            camera.hfov if args.hfov is None else args.hfov,
        )
        found = mounts.solve(camera, stated, (args.width, args.height), landmarks)
        if args.save:
            mounts.keep(session, camera, found, landmarks, person=None, now=datetime.now(UTC))
    print(table(found))
    print("saved" if args.save else "nothing was changed; --save keeps it")
    return 0


def table(found: Calibration) -> str:
    """The residuals, a landmark a line, and what was solved."""
    width = max(len(one.name) for one in found.residuals)
    lines = [f"{'landmark':<{width}}  {'range m':>8}  {'dx px':>7}  {'dy px':>7}"]
    lines += [f"{one.name:<{width}}  {one.range_m:8.0f}  {one.dx:7.1f}  {one.dy:7.1f}" for one in found.residuals]
    return "\n".join(
        [
            *lines,
            f"root mean square {found.rms_px:.1f} px",
            f"pan {found.pan_offset:+.2f}° ± {found.pan_error:.2f}°,"
            f" tilt {found.tilt_offset:+.2f}° ± {found.tilt_error:.2f}°,"
            f" roll {found.roll:+.2f}° ± {found.roll_error:.2f}°,"
            f" field of view × {found.hfov_factor:.3f} ± {found.hfov_error:.3f}",
        ]
    )


def check_terrain(args: argparse.Namespace, database: Database) -> int:
    """Read a folder of elevation tiles and say how it serves the cameras; 1 when ground in their reach is unknown."""
    terrain = open_terrain(args.folder)
    print(f"{len(terrain.tiles)} tiles: {', '.join(tile.name for tile in terrain.tiles)}")
    faults = 0
    with database.read() as session:
        for camera in session.scalars(select(Camera).order_by(Camera.id)):
            unknown, text = _about(camera, terrain)
            faults += unknown
            print(f"camera {camera.id}: {text}")
    return 1 if faults else 0


def _about(camera: Camera, terrain: Terrain) -> tuple[bool, str]:
    foot = terrain.at(camera.lat, camera.lon)
    if foot is None:
        return True, "its own ground is not in the tiles"
    angles = np.radians(np.arange(0, 360, 2.0))[:, None]
    ranges = np.arange(200.0, MAX_RANGE_M, 200.0)
    lats, lons = Tangent.at(camera.lat, camera.lon).to_degrees(ranges * np.sin(angles), ranges * np.cos(angles))
    share = float(np.isnan(terrain.elevation(lats.ravel(), lons.ravel())).mean())
    gaps = f"; {share:.0%} of the ground within 20 km is unknown: smoke beyond it is a bearing alone" if share else ""
    if camera.altitude_m is None:
        return bool(share), f"ground {foot:.0f} m; placed on flat ground until its altitude is registered{gaps}"
    above = camera.altitude_m - foot
    odd = "" if 2 <= above <= 150 else ": is the altitude right?"
    return bool(share or odd), f"ground {foot:.0f} m, lens {above:.0f} m above it{odd}{gaps}"


def _camera(session: Session, name: str) -> Camera:
    camera = session.get(Camera, name)
    if camera is None:
        raise Missing(f"there is no camera {name!r}")
    return camera


def add_commands(
    camera: argparse._SubParsersAction[argparse.ArgumentParser],
    terrain: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    """Add ``calibrate`` to the parser of ``admin camera`` and ``check`` to that of ``admin terrain``."""
    command = camera.add_parser("calibrate", help=calibrate_camera.__doc__, description=calibrate_camera.__doc__)
    command.set_defaults(run=calibrate_camera)
    command.add_argument("camera")
    command.add_argument(
        "points", type=Path, help=f"CSV: {', '.join(_COLUMNS)}; x, y in pixels, height as the camera's"
    )
    for name, size in (("width", 1920), ("height", 1080)):
        command.add_argument(f"--{name}", type=int, default=size, help="of the picture, pixels (default %(default)s)")
    for name in ("pan", "tilt", "hfov"):
        command.add_argument(f"--{name}", type=float, help="as the camera stated it (default: as registered)")
    command.add_argument("--save", action="store_true", help="keep what was solved")
    command = terrain.add_parser("check", help=check_terrain.__doc__, description=check_terrain.__doc__)
    command.set_defaults(run=check_terrain)
    command.add_argument("folder", type=Path, help="holds .hgt or GeoTIFF tiles (STRAW1530_TERRAIN)")
