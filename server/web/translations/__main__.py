# SPDX-License-Identifier: AGPL-3.0-or-later
"""`python -m server.web.translations` compiles the catalogues."""

from __future__ import annotations

from server.web.translations import compile_catalogues

for path in compile_catalogues():
    print(path)
