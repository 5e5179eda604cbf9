# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras: their streams, single pictures and turning heads; frames with the moment they were taken."""
