"""The page of a city and its lines for a terminal: whole, self-contained, and safe whatever cells are called."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

import fomo
from fomo.app.commands.console import plain_table
from fomo.app.errors import UsageError
from fomo.app.service.city_page import city_lines, city_page, letters, lines
from fomo.app.service.city_page import page as page_module
from fomo.city import CityError, make_city, mock_city
from fomo.evaluation.health import health_of

EVIL = '<script>alert(1)</script><img src="http://evil.example/x">\x1b[2J'
REPORT = {
    "taken": 100,
    "rejected": Counter({"no number <b>": 3}),
    "files": ["a.csv", "b.csv"],
    "nested": {"list": [1, {"deep": None}], "empty": {}},
    "nothing": "",
    EVIL: False,
}
ENTRIES = {
    "taken": "100",
    "rejected › no number <b>": "3",
    "files": "a.csv, b.csv",
    "nested › list › 1": "1",
    "nested › list › 2 › deep": "none",
    "nested › empty": "{}",
    "nothing": "(empty)",
}


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data.append(data)


def operator_cells():
    city = fomo.synthetic_city(days=9)
    values = city["traffic"].values.reshape(216, -1)[:, 20:50].copy()
    values[:, 0] = 0
    values[50:60, 5:9] = np.nan
    names = [EVIL, *(f"cell {number}" for number in range(1, 30))]
    return xr.Dataset({"traffic": (("time", "cell"), values)}, {"time": city["time"].values, "cell": names})


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    city = fomo.synthetic_city(days=9)
    city.attrs["licence"] = EVIL
    path = city_page(city, folder / "city.html", operator_cells(), REPORT)
    assert [file.name for file in folder.iterdir()] == ["city.html"]
    return path.read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    found = Page(page)
    assert {tag for tag, _ in found.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "table", "tr", "th", "td", "img")
    }
    pictures = [attrs for tag, attrs in found.tags if tag == "img"]
    assert len(pictures) == 5 and all(set(attrs) == {"alt", "src"} for attrs in pictures)
    for attrs in pictures:
        kind, data = attrs["src"].split(",")
        assert kind == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
    assert "http://" not in re.sub(r"&[a-z]+;|http://evil.example", "", page) and "default-src 'none'" in page


def test_names_of_strangers_are_text(page):
    said = "".join(Page(page).data)
    assert '<script>alert(1)</script><img src="http://evil.example/x">\ufffd[2J' in said
    assert "<script" not in page and "\x1b" not in page


def test_the_page_holds_every_entry_and_section(page):
    said = Page(page).data
    for key, value in ENTRIES.items():
        assert said[said.index(key) + 1] == value
    for heading in ("Map", "Coverage", "Total", "Profile", "Strangest cells", "Gaps", "Report of the build"):
        assert heading in said
    assert "Busiest cells in the busy hour, 21:00" in said
    assert any(re.match(r"dead \(9\d\.\d%\): zero all along", text) for text in said)


def test_what_was_read_comes_before_the_pictures_and_names_of_gaps_are_text(tmp_path):
    cells = operator_cells()
    cells["traffic"][20:80, 0] = np.nan  # the longest gap is of the cell with the evil name
    read = [("rows not taken", f"3 x {EVIL}")]
    page = city_page(fomo.synthetic_city(days=9), tmp_path / "city.html", cells, read=read).read_text(encoding="utf-8")
    said = Page(page).data
    assert said[said.index("rows not taken") + 1].startswith("3 x <script>")
    assert said.index("What was read") < said.index("Map")
    assert "in 1 cell: <script>" in "".join(said) and "<script" not in page and "\x1b" not in page


def test_only_the_last_column_of_a_table_may_break_within_words():
    assert "td:not(:last-child){overflow-wrap:break-word" in page_module.STYLE


def test_the_lines_say_the_same_and_hold_no_control_characters():
    city = fomo.synthetic_city(days=9)
    lines = city_lines(city, operator_cells(), REPORT)
    assert all(text.isprintable() for line in lines for text in line)
    said = dict(line for line in lines if line[0])
    assert ENTRIES.items() <= {key.removeprefix("report: "): value for key, value in said.items()}.items()
    assert said["looked at"] == "30 cells of the operator, 0 of them never recorded"
    recorded = 1 - 40 / (30 * 216)
    assert said["recorded"] == f"{recorded:.2%} of the values of 30 cells; 8 of 9 days complete"
    assert said["longest gap"] == "10 h from 2024-01-03 02:00 in 4 cells: cell 5 and 3 more"
    assert said["least recorded"].startswith(f"2024-01-03 with {1 - 40 / (30 * 24):.1%}")
    assert said["busy hour"].startswith("21:00, median total ")
    assert "(97%): dead: zero all along" in said["strangest cells"]
    unit = city.attrs["unit"]
    assert f" {unit} in the busy hour, its own is " in said["busiest cells"] and said["total, Mon–Fri"].endswith(unit)


def test_the_map_in_letters_has_the_busiest_quarter_and_what_is_not_covered():
    traffic = np.ones((24, 3, 4)) * np.array([1.0, 2, 3, 4])
    traffic[:, 0, 0] = np.nan
    traffic[:, 2, 1] = 0
    city = make_city(traffic, name="map", start="2024-01-01", step_minutes=60, unit="GB")
    lines = city_lines(city)
    at = [key for key, _ in lines].index("map, mean")
    assert [text for _, text in lines[at : at + 3]] == ["░░··▒▒██", "░░░░▒▒██", "  ░░▒▒██"]  # the south is below


def test_the_widest_map_keeps_its_blanks_in_a_terminal_of_80_columns():
    traffic = np.ones((24, 20, 90))
    traffic[:, 1:, :12] = np.nan  # blanks before the first letter of all rows but the southernmost
    city = make_city(traffic, name="wide", start="2024-01-01", step_minutes=60, unit="GB")
    lines = city_lines(city)
    at = [key for key, _ in lines].index("map, mean")
    letters = [text for _, text in lines[at : at + 7]]
    assert letters == ["        " + 52 * "░"] * 6 + [60 * "░"]
    console = Console(width=80, file=io.StringIO())
    console.print(plain_table(("", ""), lines))
    printed = console.file.getvalue().splitlines()
    begin = next(number for number, line in enumerate(printed) if "map, mean" in line)
    assert [line[18:].rstrip() for line in printed[begin : begin + 7]] == letters


def test_a_large_map_is_brought_to_a_terminal(monkeypatch):
    monkeypatch.setattr(letters, "MAP_WIDTH", 3)
    values = np.ones((24, 4, 6))
    values[:, :2, :2] = 9  # the south-west: one place of 2 x 2 cells
    city = make_city(values, name="large", start="2024-01-01", step_minutes=60, unit="GB")
    lines = city_lines(city)
    at = [key for key, _ in lines].index("map, mean")
    assert [text for _, text in lines[at : at + 2]] == ["░░░░░░", "██░░░░"]
    assert lines[at + 2][1].endswith("2 x 2 cells a place")


def test_many_days_share_bars_and_the_worst_is_seen(monkeypatch):
    monkeypatch.setattr(letters, "MOST_DAYS", 3)
    city = fomo.synthetic_city(days=7)
    city["traffic"].values[24:48] = np.nan
    assert dict(city_lines(city))["coverage by day"] == "▁██  0% to 100%, the worst of 3 days a bar"


def test_health_is_not_looked_at_twice(monkeypatch, tmp_path):
    city = mock_city()
    looked = health_of(city)
    monkeypatch.setattr(page_module, "health_figures", lambda *_: {})
    for module in (lines, page_module):
        monkeypatch.setattr(module, "health_of", lambda *_: pytest.fail("looked twice"))
    assert city_lines(city, health=looked) and city_page(city, tmp_path / "a.html", health=looked).exists()


def test_the_report_may_be_json_or_come_with_the_cells():
    cells = operator_cells()
    cells.attrs["report"] = json.dumps({"taken": 7})
    assert ("report: taken", "7") in city_lines(mock_city(), cells)
    assert ("report: taken", "8") in city_lines(mock_city(), cells, '{"taken": 8}')
    assert ("report", "1, 2") in [
        (key.removeprefix("report: "), value) for key, value in city_lines(mock_city(), report="[1, 2]")
    ]
    with pytest.raises(CityError, match="no JSON"):
        city_lines(mock_city(), report="{taken")


def test_a_report_may_be_nested_as_deep_as_it_likes():
    deep = {}
    for _ in range(3000):
        deep = {"a": deep}
    assert city_lines(mock_city(), report=deep)[-1][1] == "{}"


@pytest.mark.parametrize("covered", [True, False])
def test_a_city_without_records_has_a_page_too(tmp_path, covered):
    city = make_city(np.full((48, 3, 3), np.nan), name="none", start="2024-01-01", step_minutes=60,
                     covered=np.full((3, 3), covered))  # fmt: skip
    said = dict(city_lines(city))
    assert said["recorded"].startswith("0.00%") and said["longest gap"] == "none" and said["map, mean"] == "no traffic"
    assert "<h2>Gaps</h2><p>None.</p>" in city_page(city, tmp_path / "none.html").read_text(encoding="utf-8")


def test_a_list_and_an_unknown_unit_are_said():
    city = make_city(np.ones((48, 1, 9)), name="list", start="2024-01-01", step_minutes=60, layout="list", unit="",
                     calendar="weekday")  # fmt: skip
    said = dict(city_lines(city))
    assert said["map, mean"].startswith("none") and said["unit"] == "unit not stated"
    assert "only weekday and hour are real" in said["time"]


def test_a_page_is_whole_or_not_there(monkeypatch, tmp_path):
    path = tmp_path / "city.html"
    path.write_bytes(b"old")
    monkeypatch.setattr(page_module, "health_figures", lambda *_: {})
    monkeypatch.setattr(type(path), "write_text", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        city_page(mock_city(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_page_ends_in_html(tmp_path):
    with pytest.raises(UsageError, match=r"\.html"):
        city_page(mock_city(), tmp_path / "city.zarr")
