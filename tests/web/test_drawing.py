# SPDX-License-Identifier: AGPL-3.0-or-later
"""The close-up of a picture and the sketch of a place: geometry alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.domain.place import move
from server.queries.incidents import Seen
from server.web import sketch, vendor
from server.web.pictureframe import closeup
from tests.support.world import square


@pytest.mark.parametrize(
    "box", [(0.41, 0.52, 0.44, 0.57), (0.0, 0.0, 0.02, 0.02), (0.97, 0.9, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)]
)
def test_a_closeup_lies_in_the_frame_and_shows_the_box(box: tuple[float, float, float, float]) -> None:
    """Whatever the box, the part shown is inside the picture, has the shape asked for, and holds the box's middle."""
    x, y, width, height = closeup(Seen("0" * 64, box, 1280, 720))
    assert x >= 0
    assert y >= 0
    assert x + width <= 1280.1
    assert y + height <= 720.1
    assert width / height == pytest.approx(1.6, abs=0.01)
    assert x <= (box[0] + box[2]) / 2 * 1280 <= x + width
    assert y <= (box[1] + box[3]) / 2 * 720 <= y + height


def test_thin_smoke_fills_a_good_part_of_the_closeup() -> None:
    """A box three hundredths of the frame wide is at least an eighth of what the phone shows."""
    _, _, width, _ = closeup(Seen("0" * 64, (0.41, 0.52, 0.44, 0.57), 1280, 720))
    assert 0.03 * 1280 / width > 1 / 8


def test_the_sketch_is_true_to_scale_and_north_is_up() -> None:
    """A point 500 m north-east of the fire is drawn up and to the right, at the scale bar's scale."""
    drawn = sketch.draw(square(118.80, 28.95, 118.83, 28.97), 28.96, 118.815, 90.0, 200.0, 20.0)
    assert drawn is not None
    assert drawn.fire is not None
    assert drawn.scale_px == pytest.approx(drawn.scale_m * drawn.per_metre)
    lat, lon = move(28.96, 118.815, 45.0, 500.0)
    other = sketch.draw(square(118.80, 28.95, 118.83, 28.97), lat, lon, 90.0, 200.0, 20.0)
    assert other is not None
    assert other.fire is not None
    assert other.fire[0] > drawn.fire[0]
    assert other.fire[1] < drawn.fire[1]


def test_the_error_region_is_longest_along_the_line_of_sight() -> None:
    """Two standard deviations each way, turned to the bearing."""
    drawn = sketch.draw(None, 28.96, 118.815, 30.0, 400.0, 25.0)
    assert drawn is not None
    assert drawn.region is not None
    assert drawn.region.along == pytest.approx(800 * drawn.per_metre)
    assert drawn.region.across == pytest.approx(50 * drawn.per_metre)
    assert drawn.region.turn == 30.0


def test_without_outline_and_position_there_is_no_sketch() -> None:
    """There is no default place."""
    assert sketch.draw(None, None, None, 30.0, None, None) is None


def test_vendor_files_are_copied_and_missing_ones_named(tmp_path: Path) -> None:
    """Set-up copies what npm fetched and says what is not there."""
    source, target = tmp_path / "node_modules", tmp_path / "vendor"
    assert vendor.copy(source, target) == list(vendor.FILES)
    for name in vendor.FILES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    assert vendor.copy(source, target) == []
    assert (target / "leaflet.js").read_text() == "leaflet/dist/leaflet.js"
