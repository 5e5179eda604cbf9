# SPDX-License-Identifier: AGPL-3.0-or-later
"""Measurements of the parts: ``straw1530 bench NAME --json FILE``. No figure is better than the machine is quiet."""
