# SPDX-License-Identifier: AGPL-3.0-or-later
"""The built-in demo region; see README.md beside this file. SYNTHETIC borders: never for real dispatch."""

from pathlib import Path

FOLDER = Path(__file__).parent
