# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's address, opened by what it leads to."""

from __future__ import annotations

from detector.camera.rtsp import RtspSource
from detector.camera.snapshot import SnapshotSource, gives_pictures
from detector.camera.stream import Source
from detector.clock import Clock


def open_source(url: str, clock: Clock) -> Source:
    """A stream (RTSP, or video over HTTP), or single pictures by HTTP. Raises StreamError."""
    if url.startswith("http") and gives_pictures(url):
        return SnapshotSource(url, clock)
    return RtspSource(url, clock)
