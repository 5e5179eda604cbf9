# SPDX-License-Identifier: AGPL-3.0-or-later
"""Copies the front-end files that `npm ci` fetched to where the pages find them: `python -m server.web.vendor`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
TARGET = _HERE / "static" / "vendor"
SOURCE = _HERE.parents[1] / "node_modules"
# file in node_modules -> name in static/vendor
FILES = {
    "leaflet/dist/leaflet.js": "leaflet.js",
    "leaflet/dist/leaflet.css": "leaflet.css",
    "leaflet/LICENSE": "leaflet.LICENSE",
}


def copy(source: Path = SOURCE, target: Path = TARGET) -> list[str]:
    """Copy what is new or changed; returns the names of files that `npm ci` has not fetched."""
    target.mkdir(parents=True, exist_ok=True)
    missing = []
    for name, to in FILES.items():
        if not (source / name).is_file():
            missing.append(name)
            continue
        shutil.copyfile(source / name, target / to)
    return missing


def main() -> int:
    """Copy, and say what is missing; 1 when something is."""
    missing = copy()
    if missing:
        print(f"not in node_modules: {', '.join(missing)}; run `npm ci` first", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
