# SPDX-License-Identifier: AGPL-3.0-or-later
"""Importing a region: what is whole comes in, what is broken is refused with the mend."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import mapping, shape
from sqlalchemy import func, select

from demo.region import FOLDER
from server.admin import crs
from server.admin.region import check_region, import_region, known_outlines, strangers
from server.admin.region_files import read_region
from server.admin.tables import Refused
from server.db import Database
from server.domain.place import bearing_to, distance_m
from server.models import Division

HEADER = "code,name,level,parent_code\n"
ROWS = "330800,衢州市,city,330000\n330802,柯城区,county,330800\n330802100,石梁镇,township,330802\n"
VILLAGES = "330802100201,东村,village,330802100\n330802100202,西村,village,330802100\n"


def square(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    """A GeoJSON rectangle."""
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


SHAPES: dict[str, Any] = {
    "330802100": square(118.70, 28.90, 118.80, 29.00),
    "330802100201": square(118.75, 28.90, 118.80, 29.00),
    "330802100202": square(118.70, 28.90, 118.75, 29.00),
}


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small region folder; ``shapes`` replaces outlines by code, ``rows`` the table."""

    def write(rows: str = ROWS + VILLAGES, *, metadata: Any = None, extra: Any = (), **shapes: Any) -> Path:
        outlines = SHAPES | {code.removeprefix("c"): shape for code, shape in shapes.items()}
        features = [
            {"type": "Feature", "properties": {"code": code}, "geometry": shape} for code, shape in outlines.items()
        ]
        (tmp_path / "divisions.csv").write_text(HEADER + rows)
        layer = {"type": "FeatureCollection", "metadata": metadata or {}, "features": [*features, *extra]}
        (tmp_path / "outlines.geojson").write_text(json.dumps(layer))
        return tmp_path

    return write


def refusal(folder: Path, **how: Any) -> str:
    """The one sentence with which a folder is refused."""
    with pytest.raises(Refused) as refused:
        check_region(folder, {}, **how)
    assert len(refused.value.problems) == 1
    return str(refused.value.problems[0])


def test_the_demo_region_comes_in_whole_and_twice_is_the_same(database: Database) -> None:
    """1,771 divisions without a warning; a second import changes nothing."""
    region = check_region(FOLDER, {})
    assert region.warnings == []
    with database.write() as session:
        assert import_region(session, region).added == 1771
    with database.read() as session:
        again = check_region(FOLDER, known_outlines(session))
    with database.write() as session:
        done = import_region(session, again)
        assert (done.added, done.changed, done.unchanged) == (0, 0, 1771)
    with database.read() as session:
        levels = session.execute(select(Division.level, func.count()).group_by(Division.level))
        assert {level: number for level, number in levels} == {"city": 1, "county": 6, "township": 100, "village": 1664}
        prefixes = [session.get_one(Division, code).prefix for code in ("330800", "330802", "330802100")]
        assert prefixes == ["3308", "330802", "330802100"]
        marked = session.scalars(select(Division.level).where(Division.synthetic).distinct())
        assert set(marked) == {"township", "village"}


def test_a_changed_border_is_a_new_revision(database: Database, folder: Callable[..., Path]) -> None:
    """Only what changed is written, under the next number."""
    with database.write() as session:
        import_region(session, check_region(folder(), {}))
    moved = folder(c330802100202=square(118.70, 28.91, 118.75, 29.00))
    with database.write() as session:
        region = check_region(moved, known_outlines(session))
        assert import_region(session, region).changed == 1
        assert session.get_one(Division, "330802100202").revision == 2
        assert session.get_one(Division, "330802100201").revision == 1
        del region.rows["330802100202"]
        assert "1 divisions that the folder does not name" in str(strangers(session, region)[0])


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (ROWS + "330802999201,无村,village,330802999\n" + VILLAGES, "its parent 330802999 is not in the file"),
        (ROWS + VILLAGES + "330802100201,又一村,village,330802100\n", "the code 330802100201 is there twice"),
        (ROWS + VILLAGES + "330802100203,,village,330802100\n", "330802100203 has no name"),
        (ROWS + VILLAGES + "33080210020３,某村,village,330802100\n", "must be 1 to 16 letters and digits"),
        (ROWS + VILLAGES + "330802100203,某村,hamlet,330802100\n", "the level is one of"),
        (ROWS + VILLAGES + "330802100203,某村,village,330802\n", "is a county, a township is needed"),
        (ROWS + VILLAGES + "440802100203,某村,village,330802100\n", "must begin with 330802100"),
    ],
)
def test_a_broken_table_is_refused_by_line(folder: Callable[..., Path], rows: str, sentence: str) -> None:
    """Each fault names the division and the mend."""
    assert sentence in refusal(folder(rows))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"type": "Polygon", "coordinates": [[[118.7, 28.9], [118.8, 28.9], [118.8, 29.0]]]}, "at least 4 are needed"),
        ({"type": "Polygon"}, "are not nested lists"),
        (
            {"type": "Polygon", "coordinates": [[[118.7, 28.9, None], [118.8, 28.9], [118.8, 29.0], [118.7, 28.9]]]},
            "is not a number",
        ),
        (
            {"type": "Polygon", "coordinates": [[[118.7, 28.9], [118.8, 28.9], [118.8, 29.0], [118.7, 29.0]]]},
            "is not closed: repeat its first point",
        ),
        (
            {
                "type": "Polygon",
                "coordinates": [[[118.7, 28.9], [118.8, 29.0], [118.8, 28.9], [118.7, 29.0], [118.7, 28.9]]],
            },
            "the outline is broken (Self-intersection",
        ),
        (None, "the geometry is empty"),
        ({"type": "Polygon", "coordinates": []}, "not nested lists"),
        ({"type": "MultiPolygon", "coordinates": []}, "the geometry is empty"),
        ({"type": "Point", "coordinates": [118.7, 28.9]}, "a Polygon or MultiPolygon is needed"),
        ({"type": "Polygon", "coordinates": [[["a", "b"]]]}, "not nested lists"),
        ({"type": "Polygon", "coordinates": [[[118.7, float("nan")]] * 4]}, "is not a number"),
        (square(118.7, 28.9, 118.7, 28.9), "has no area"),
        (square(28.90, 118.70, 29.00, 118.80), "looks like latitude before longitude"),
        (square(500_000, 3_200_000, 510_000, 3_210_000), "convert the layer from its projection"),
    ],
)
def test_a_broken_outline_is_refused_by_name(folder: Callable[..., Path], shape: Any, sentence: str) -> None:
    """Each fault names the file, the village and the mend."""
    text = refusal(folder(c330802100202=shape))
    assert sentence in text
    assert text.startswith("outlines.geojson, 330802100202 西村: ")


def test_a_crossed_outline_is_mended_on_request_and_on_record(folder: Callable[..., Path]) -> None:
    """--mend repairs it and says what became of the area."""
    bow = [[118.70, 28.90], [118.75, 29.00], [118.75, 28.90], [118.70, 29.00], [118.70, 28.90]]
    region = check_region(folder(c330802100202={"type": "Polygon", "coordinates": [bow]}), {}, mend=True)
    mended = region.rows["330802100202"].geometry
    assert mended is not None
    assert mended.is_valid
    assert any("mended: Self-intersection" in str(warning) for warning in region.warnings)


@pytest.mark.parametrize("tails", [[[], [12.5], [], [], []], [[12.5, 0.0]] * 5])
def test_heights_and_measures_of_points_are_passed_over(folder: Callable[..., Path], tails: list[list[float]]) -> None:
    """Of some corners or of all."""
    flat = SHAPES["330802100202"]
    ring = [point + tail for point, tail in zip(flat["coordinates"][0], tails, strict=True)]
    region = check_region(folder(c330802100202={"type": "Polygon", "coordinates": [ring]}), {})
    assert region.rows["330802100202"].geometry == shape(flat)


def test_a_code_that_became_a_number_is_read_as_written(folder: Callable[..., Path]) -> None:
    """A column of a spreadsheet makes 330802100202.0 of it."""
    feature = {"type": "Feature", "properties": {"code": 330802100203.0}, "geometry": SHAPES["330802100202"]}
    rows = ROWS + VILLAGES + "330802100203,南村,village,330802100\n"
    assert check_region(folder(rows, extra=[feature]), {}).rows["330802100203"].geometry is not None


def test_features_without_a_place_in_the_table_are_refused(folder: Callable[..., Path]) -> None:
    """An unknown code, no code, and an outline that comes twice."""
    stranger = {"type": "Feature", "properties": {"code": "1"}, "geometry": SHAPES["330802100"]}
    assert "the code '1' is not in divisions.csv" in refusal(folder(extra=[stranger]))
    assert "has no property 'code'" in refusal(folder(extra=[{"type": "Feature", "geometry": SHAPES["330802100"]}]))
    twice = {"type": "Feature", "properties": {"code": "330802100"}, "geometry": SHAPES["330802100"]}
    assert "is there twice" in refusal(folder(extra=[twice]))


def test_gaps_and_overlaps_are_told_with_their_area(folder: Callable[..., Path]) -> None:
    """A strip nobody owns and a strip two villages own are warnings with hectares and a place."""
    strip_ha = 0.01 * 111_195 * 0.1 * 111_195 * np.cos(np.radians(28.95)) / 10_000
    gap = check_region(folder(c330802100202=square(118.70, 28.90, 118.74, 29.00)), {}).warnings
    assert f"gaps of {strip_ha:,.1f} ha" in str(gap[0])
    overlap = check_region(folder(c330802100202=square(118.70, 28.90, 118.76, 29.00)), {}).warnings
    assert f"overlaps of {strip_ha:,.1f} ha" in str(overlap[0])
    outside = check_region(folder(c330802100202=square(118.69, 28.90, 118.75, 29.00)), {}).warnings
    assert "parts outside" in str(outside[0])


def test_villages_without_an_outline_are_told(folder: Callable[..., Path]) -> None:
    """They can be found only through their township."""
    rows = ROWS + VILLAGES + "330802100203,北村,village,330802100\n"
    assert "1 without an outline" in str(check_region(folder(rows), {}).warnings[0])


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "Polygon"}', '{"features": 5}', '{"features": [5, null]}'])
def test_what_is_no_layer_is_refused(folder: Callable[..., Path], content: str) -> None:
    """Any other JSON, or none."""
    broken = folder()
    (broken / "outlines.geojson").write_text(content)
    with pytest.raises(Refused):
        check_region(broken, {})


def test_a_missing_or_binary_table_is_refused(tmp_path: Path, folder: Callable[..., Path]) -> None:
    """One clear sentence each."""
    with pytest.raises(Refused, match="cannot be read"):
        check_region(tmp_path / "nowhere", {})
    broken = folder()
    (broken / "divisions.csv").write_bytes(b"\xff\xfe\x00\x81\xff\xff")
    with pytest.raises(Refused, match="neither UTF-8 nor GB 18030"):
        check_region(broken, {})


def test_excels_chinese_encoding_is_read(folder: Callable[..., Path]) -> None:
    """GB 18030 with Chinese names comes in as written."""
    path = folder()
    (path / "divisions.csv").write_bytes((HEADER + ROWS + VILLAGES).encode("gb18030"))
    assert check_region(path, {}).rows["330802100"].name == "石梁镇"


# Coordinate systems


def test_gcj02_lies_465_m_east_and_345_m_south_at_quzhou() -> None:
    """The figures of the region, and the way back to a millimetre."""
    here = np.array([[118.87, 28.96]])
    there = crs.wgs84_to_gcj02(here)
    assert distance_m(28.96, 118.87, there[0, 1], there[0, 0]) == pytest.approx(np.hypot(465, 345), abs=10)
    assert bearing_to(28.96, 118.87, there[0, 1], there[0, 0]) == pytest.approx(126.6, abs=1.5)
    assert np.allclose(crs.gcj02_to_wgs84(there), here, atol=1e-8)


def test_chinese_web_maps_are_converted_as_published() -> None:
    """The values that the usual libraries give for one point in Beijing (coordtransform's own examples)."""
    point = np.array([[116.404, 39.915]])
    assert np.allclose(crs.wgs84_to_gcj02(point), [[116.41024449916938, 39.91640428150164]], atol=1e-9)
    from_baidu = crs.gcj02_to_wgs84(np.array([[116.39762729119315, 39.90865673957631]]))
    assert np.allclose(crs.bd09_to_wgs84(point), from_baidu, atol=1e-9)


def test_a_layer_in_bd09_is_told_by_its_neighbours_and_converted(folder: Callable[..., Path]) -> None:
    """The villages as a Baidu map has them: refused as WGS-84, and in their places when declared."""
    back = {
        code: shapely.transform(shape(outline), _to_bd09) for code, outline in SHAPES.items() if code != "330802100"
    }
    path = folder()
    every = json.loads((path / "outlines.geojson").read_text())["features"]
    town = [one for one in every if one["properties"]["code"] == "330802100"]
    below = [
        {"type": "Feature", "properties": {"code": code}, "geometry": mapping(outline)}
        for code, outline in back.items()
    ]
    (path / "outlines.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": town}))
    (path / "villages.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": below}))
    assert "villages.geojson: looks like bd09 beside outlines.geojson" in refusal(path)
    read = check_region(path, {}, layer_crs={"villages.geojson": "bd09"})
    found = read.rows["330802100201"].geometry
    assert found is not None
    assert found.symmetric_difference(shape(SHAPES["330802100201"])).area < 1e-6 * found.area


def _to_bd09(points: Any) -> Any:
    """WGS-84 to BD-09 by turning its way back round."""
    guess = points + (points - crs.bd09_to_wgs84(points))
    for _ in range(6):
        guess = guess + (points - crs.bd09_to_wgs84(guess))
    return guess


def test_the_real_gcj02_counties_are_caught(shared: Path, tmp_path: Path) -> None:
    """The trap: the same counties in GCJ-02, unlabelled, beside WGS-84 townships, and alone beside a loaded region."""
    trap = json.loads((shared / "data/geo/counties_gcj02.geojson").read_text())
    del trap["metadata"]
    shutil.copy(FOLDER / "divisions.csv", tmp_path)
    (tmp_path / "counties.geojson").write_text(json.dumps(trap))
    rows = read_region(FOLDER).rows.values()
    known = {row.code: row.geometry for row in rows if row.geometry is not None}
    with pytest.raises(Refused, match="counties.geojson: looks like gcj02 beside the region in the database"):
        check_region(tmp_path, known)
    check_region(tmp_path, known, crs="gcj02")
    shutil.copy(FOLDER / "townships.geojson", tmp_path)
    with pytest.raises(Refused, match="counties.geojson: looks like gcj02 beside townships.geojson"):
        check_region(tmp_path, {})
    mended = check_region(tmp_path, {}, layer_crs={"counties.geojson": "gcj02"})
    assert mended.systems == {"counties.geojson": "gcj02", "townships.geojson": "wgs84"}


def test_a_layer_converted_without_need_is_caught(tmp_path: Path) -> None:
    """WGS-84 counties declared as GCJ-02: the same mistake the other way."""
    for name in ("divisions.csv", "townships.geojson"):
        shutil.copy(FOLDER / name, tmp_path)
    layer = json.loads((FOLDER / "counties.geojson").read_text())
    del layer["metadata"]
    (tmp_path / "counties.geojson").write_text(json.dumps(layer))
    with pytest.raises(Refused, match="counties.geojson: looks like wgs84 beside townships.geojson"):
        check_region(tmp_path, {}, layer_crs={"counties.geojson": "gcj02"})
    with pytest.raises(Refused, match="has no layer 'county.geojson'"):
        check_region(tmp_path, {}, layer_crs={"county.geojson": "gcj02"})


def test_a_layer_that_names_its_system_is_taken_at_its_word(folder: Callable[..., Path]) -> None:
    """A labelled GCJ-02 layer is refused as WGS-84 and converted when declared."""
    labelled = folder(metadata={"crs": "GCJ-02"})
    assert "give --layer-crs outlines.geojson=gcj02" in refusal(labelled)
    converted = check_region(labelled, {}, crs="gcj02").rows["330802100"].geometry
    assert converted is not None
    assert converted.bounds[0] == pytest.approx(118.70 - 465 / 97_300, abs=2e-4)
