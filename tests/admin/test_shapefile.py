# SPDX-License-Identifier: AGPL-3.0-or-later
"""Regions as offices have them: Shapefiles, projected, zipped, in a web map's coordinates; and their faults drawn."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyproj
import pytest
import shapefile
from shapely.geometry import Polygon, mapping, shape

from demo.region import FOLDER
from server.admin import cli, crs
from server.admin.region import check_region, survey
from server.admin.region_picture import draw
from server.admin.tables import Refused
from tests.admin.test_region import HEADER, ROWS, SHAPES, VILLAGES

GAUSS = 4549  # CGCS2000, three-degree Gauss-Kruger, central meridian 120° E
BEIJING = 2437  # the same projection on the old datum


def write(path: Path, outlines: Mapping[str, Polygon], *, epsg: int = 4490, zipped: bool = False) -> Path:
    """A Shapefile of degrees, projected as ``epsg`` says, with its .prj and codes that a spreadsheet made numbers."""
    move = pyproj.Transformer.from_crs(4490, epsg, always_xy=True).transform
    with shapefile.Writer(path, shapeType=shapefile.POLYGON, encoding="gb18030") as writer:
        writer.field("NAME", "C", 40)
        writer.field("CODE", "N", 16, 1)
        for code, outline in outlines.items():
            writer.poly([[move(x, y) for x, y in outline.exterior.coords]])
            writer.record("某村", float(code))
    path.with_suffix(".prj").write_text(pyproj.CRS.from_epsg(epsg).to_wkt("WKT1_ESRI"))
    if zipped:
        with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
            for suffix in (".shp", ".shx", ".dbf", ".prj"):
                archive.write(path.with_suffix(suffix), f"数据/{path.stem}{suffix}")
                path.with_suffix(suffix).unlink()
    return path


def outlines() -> dict[str, Polygon]:
    """The small region's."""
    return {code: shape(one) for code, one in SHAPES.items()}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with the small region's table and no layer."""
    (tmp_path / "divisions.csv").write_text(HEADER + ROWS + VILLAGES)
    return tmp_path


@pytest.mark.parametrize("epsg", [4326, 4490, GAUSS])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_shapefile_comes_in_as_geojson_does(table: Path, epsg: int, zipped: bool) -> None:
    """Degrees or Gauss-Krüger metres by its .prj, loose or zipped: the same outlines to a centimetre."""
    write(table / "outlines.shp", outlines(), epsg=epsg, zipped=zipped)
    region = check_region(table, {})
    for code, expected in outlines().items():
        found = region.rows[code].geometry
        assert found is not None
        assert found.hausdorff_distance(expected) < 1e-7
    assert region.warnings == []


def test_a_shapefile_in_gcj02_is_told_by_its_neighbours(tmp_path: Path) -> None:
    """Its .prj says WGS-84 (there is no code for GCJ-02); beside true townships it looks like what it is."""
    for name in ("divisions.csv", "townships.geojson"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    features = json.loads((FOLDER / "counties.geojson").read_text())["features"]
    shifted = {}
    for feature in features:
        largest = max(getattr(shape(feature["geometry"]), "geoms", [shape(feature["geometry"])]), key=lambda g: g.area)
        corners = crs.wgs84_to_gcj02(np.array(largest.exterior.coords))
        shifted[feature["properties"]["code"]] = Polygon(corners)
    write(tmp_path / "counties.shp", shifted, epsg=4326)
    with pytest.raises(Refused, match="counties.shp: looks like gcj02 beside townships.geojson"):
        check_region(tmp_path, {})
    assert check_region(tmp_path, {}, layer_crs={"counties.shp": "gcj02"}).systems["counties.shp"] == "gcj02"


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "outlines.dbf").unlink(), "holds no .dbf: a Shapefile is"),
        (lambda folder: (folder / "outlines.shp").write_bytes(b"no"), "is no Shapefile that can be read"),
        (lambda folder: (folder / "outlines.prj").write_text("no"), "its .prj cannot be read"),
        (lambda folder: (folder / "outlines.zip").write_bytes(b"no"), "outlines.zip: cannot be read"),
        (lambda folder: write(folder / "outlines.shp", outlines(), epsg=BEIJING), "is on the datum 'Beijing 1954'"),
        (lambda folder: (folder / "outlines.prj").unlink(), "convert the layer from its projection"),
    ],
)
def test_what_is_no_whole_shapefile_is_refused(table: Path, spoil: Callable[[Path], object], sentence: str) -> None:
    """One sentence with the mend; metres without a .prj are no degrees."""
    write(table / "outlines.shp", outlines(), epsg=GAUSS)
    spoil(table)
    with pytest.raises(Refused, match=sentence):
        check_region(table, {})


def test_two_shapefiles_in_one_archive_are_refused(table: Path) -> None:
    """Which one is meant nobody knows."""
    with zipfile.ZipFile(table / "both.zip", "w") as archive:
        archive.writestr("a.shp", b"")
        archive.writestr("b.shp", b"")
    with pytest.raises(Refused, match="holds 2 Shapefiles"):
        check_region(table, {})


def faulty(folder: Path) -> Path:
    """One village crossed, and in another township two that overlap and leave a gap."""
    rows = (
        "330802101,华墅乡,township,330802\n330802101201,北村,village,330802101\n330802101202,中村,village,330802101\n"
    )
    (folder / "divisions.csv").write_text(HEADER + ROWS + VILLAGES + rows)
    bow = Polygon([(118.70, 28.90), (118.75, 29.00), (118.75, 28.90), (118.70, 29.00)])
    shapes = outlines() | {
        "330802100202": bow,
        "330802101": shape(mapping(Polygon([(118.8, 28.9), (118.9, 28.9), (118.9, 29.0), (118.8, 29.0)]))),
        "330802101201": Polygon([(118.8, 28.9), (118.9, 28.9), (118.9, 28.95), (118.8, 28.95)]),
        "330802101202": Polygon([(118.8, 28.94), (118.9, 28.94), (118.9, 28.99), (118.8, 28.99)]),
    }
    write(folder / "outlines.shp", shapes)
    return folder


def test_the_faults_of_a_region_are_drawn_and_named(tmp_path: Path) -> None:
    """A gap, an overlap and a crossed outline: each filled in its colour, numbered, and listed by code and name."""
    region = survey(faulty(tmp_path), {})
    assert sorted((fault.kind, fault.about) for fault in region.faults) == [
        ("broken", "330802100202"),
        ("gap", "330802101"),
        ("overlap", "330802101"),
    ]
    draw(region, tmp_path / "faults.svg")
    picture = ElementTree.parse(tmp_path / "faults.svg")
    words = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert any("破损 330802100202 西村" in text for text in words)
    assert any("空白 330802101 华墅乡" in text for text in words)
    assert any("重叠 330802101 华墅乡" in text for text in words)
    filled = {path.get("fill") for path in picture.iter("{http://www.w3.org/2000/svg}path")}
    assert {"#c2185b", "#d32f2f", "#f57c00"} <= filled
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def test_the_command_draws_also_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`region check --picture` writes the picture and then says why the folder cannot be taken."""
    monkeypatch.setenv("STRAW1530_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    folder = tmp_path / "region"
    folder.mkdir()
    picture = tmp_path / "faults.svg"
    assert cli.main(["region", "check", str(faulty(folder)), "--picture", str(picture)]) == 1
    said = capsys.readouterr()
    assert "3 faults drawn" in said.out
    assert "330802100202 西村: the outline is broken" in said.err
    assert picture.read_text().startswith("<svg")
    assert cli.main(["region", "check", str(folder), "--picture", str(tmp_path / "no" / "x.svg")]) == 1
    assert "cannot be written" in capsys.readouterr().err
