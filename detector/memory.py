# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeping a long-running box small: what it frees goes back to the system."""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
"""From glibc's malloc.h."""
LARGE = 256 * 1024


def give_back() -> None:
    """Pictures are megabytes, made and freed in several threads. Left to itself glibc keeps them in one heap for each
    thread, ever more broken up; here large blocks come from the system and go back to it. Elsewhere nothing is done."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_ARENA_MAX, 2)
