# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bad lines: what is large and holds no token goes compressed."""

from __future__ import annotations

import pytest

from demo.region import FOLDER
from server.admin.region import import_region
from server.admin.region_files import read_region
from tests.web.conftest import Site


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_outlines_are_compressed_and_pages_are_not(site: Site) -> None:
    """A city's township borders shrink to less than half; the page with its token stays as it is."""
    with site.world.database.write() as session:
        import_region(session, read_region(FOLDER))
    client = site.login("city").client
    asked = {"Accept-Encoding": "gzip"}
    plain = client.get("/api/v1/divisions/township", headers={"Accept-Encoding": "identity"})
    small = client.get("/api/v1/divisions/township", headers=asked)
    assert small.headers["Content-Encoding"] == "gzip"
    assert len(small.data) < len(plain.data) / 2
    assert "Content-Encoding" not in client.get("/console", headers=asked | {"Accept": "text/html"}).headers
