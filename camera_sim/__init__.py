# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lookout cameras to test against: rendered scenes with known ignitions, served as real H.264 over RTSP."""
