# SPDX-License-Identifier: AGPL-3.0-or-later
"""Addresses to go on to."""

from __future__ import annotations

from server.queries.viewer import Viewer


def local_path(wanted: str | None) -> str:
    """``wanted`` when it is a path on this server, else the front page: a link must not lead people elsewhere."""
    if wanted and wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable():
        return wanted
    return "/"


def home(viewer: Viewer) -> str:
    """Where a person's work is."""
    return "/console" if viewer.oversees else "/w"
