"""The page of a plan: self-contained, in the order an engineer reads, and safe whatever a city is called."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from fomo.app.service.planning import page as page_module
from fomo.app.service.planning.page import planning_page
from fomo.planning.rows import AS_FORECAST, STRATEGIES, PlanRow

EVIL = "</title></style></td><script>alert(1)</script><img src=\"http://evil.example/x\" onerror='x'>\x1b[2J&amp;"
SAID = "</title></style></td><script>alert(1)</script><img src=\"http://evil.example/x\" onerror='x'>\ufffd[2J&amp;"
PNG = b"\x89PNG\r\n\x1a\n" + b"made"
FORECASTERS = {"always_on": "nobody", "history": "same hour last week", "rival": "Lag-Llama", "fomo": "FoMo",
               "real": "what happened"}  # fmt: skip
VALUES = {
    "objective": ("", (3.1, 2.4, 2.3, 2.1, 2.0)),
    "energy": ("kWh per cell and day", (41.2, 22.4, 23.1, 24.9, 24.4)),
}
SCENARIOS = {AS_FORECAST: 1.0, "forecast +20 %": 1.1, "a site fails": 1.5}


def plan_rows(city="jinan", scenarios=SCENARIOS, application="sleep", spread=0.1):
    return [
        PlanRow(application, city, strategy, FORECASTERS[strategy], scenario, metric, unit, value, value - spread,
                value + spread, 12, 3)
        for scenario in scenarios
        for metric, (unit, values) in VALUES.items()
        for strategy, value in zip(STRATEGIES, (SCENARIOS[scenario] * value for value in values), strict=True)
    ]  # fmt: skip


CONTENT = {
    "summary": ["Switch 38 % of radio units off at night.", "Keep all on from 18:00 to 22:00.", "Sure to 95 %."],
    "parameters": [("capacity", 12.5, "GB per hour", "what a radio unit serves, c0 in (17)"),
                   ("risk", 0.05, "", "allowed")],
    "rows": plan_rows(),
    "figures": [("Figure of strategies", "dots by strategy", PNG)],
    "plan_preview": (["time", "row", "active", "note"],
                     [["2024-03-04T00:00", 3, 2, None], ["2024-03-04T01:00", 3, 1, "x"]]),
    "files": [("plan.csv", "one row per cell and hour")],
    "remarks": ["Holidays are not known."],
}  # fmt: skip
TAGS = set(re.findall(r"\w+", """html head meta title style body h1 h2 h3 ul li p div table thead tbody tr th td figure
                                 img figcaption small"""))  # fmt: skip


class Page(HTMLParser):
    """Tags with their attributes, rows of tables, and the text in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self.rows, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # what is opened last is closed first

    def handle_data(self, data):
        self.data.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def made(heading="Sleep plan of jinan", **changes):
    text = planning_page(heading, **CONTENT | changes)
    page = Page(text)
    assert page.open == []
    return text, page


def test_the_page_asks_for_nothing_and_runs_nothing():
    text, page = made()
    assert text.startswith("<!doctype html>")
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form", "a", "base"}
    assert not re.search(r"https?://|url\(|@import", text)
    assert all(attrs["src"].startswith("data:image/png;base64,") for tag, attrs in page.tags if tag == "img")
    policies = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_sections_come_in_the_order_an_engineer_reads():
    _, page = made()
    wanted = ["Sleep plan of jinan", "What to do", "Switch 38 % of radio units off at night.", "Sure to 95 %.",
              "The first rows of the plan", "How it compares", "Figures", "Figure of strategies",
              "Parameters and assumptions", "What would break it", "Where it comes from", "plan.csv",
              "Holidays are not known."]  # fmt: skip
    places = [page.data.index(text) for text in wanted[1:]]
    assert places == sorted(places) and page.data[0] == wanted[0]


@pytest.mark.parametrize("where", ["city", "forecaster", "scenario", "metric", "unit"])
def test_no_name_of_a_row_can_inject_markup(where):
    every = where in ("city", "unit")
    rows = [replace(row, **{where: EVIL}) if every or row.strategy == "rival" else row for row in plan_rows()]
    if where == "metric":
        rows = [row for row in rows if row.strategy != "rival"] + [replace(rows[2], metric=EVIL)]
    if where == "scenario":
        rows = [row for row in plan_rows() if row.scenario == AS_FORECAST]
        rows += [replace(row, scenario=EVIL) for row in rows]
    check(*made(rows=rows))


def check(text, page):
    assert "<script" not in text and "\x1b" not in text and "alert(1)" in "".join(page.data)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert all(set(attrs) == {"alt", "src"} for tag, attrs in page.tags if tag == "img")


def test_no_other_text_can_inject_markup():
    text, page = made(
        EVIL,
        summary=[EVIL],
        parameters=[(EVIL, EVIL, EVIL, EVIL)],
        figures=[(EVIL, EVIL, PNG)],
        sensitivity_figures=[(EVIL, EVIL, PNG)],
        plan_preview=([EVIL], [[EVIL]]),
        files=[(EVIL, EVIL)],
        remarks=[EVIL],
    )
    check(text, page)
    assert [attrs["alt"] for tag, attrs in page.tags if tag == "img"] == [SAID, SAID]
    assert page.data.count(SAID) == 14


def test_the_comparison_has_a_row_per_strategy_with_units_and_intervals():
    _, page = made()
    start = page.rows.index(["plan", "made on", "objective", "energy [kWh per cell and day]"])
    assert page.rows[start + 1 : start + 6] == [
        ["always on", "nothing is planned", "3.10 (3.00 to 3.20)", "41.2 (41.1 to 41.3)"],
        ["history", "same hour last week", "2.40 (2.30 to 2.50)", "22.4 (22.3 to 22.5)"],
        ["Lag-Llama", "forecast of Lag-Llama", "2.30 (2.20 to 2.40)", "23.1 (23.0 to 23.2)"],
        ["FoMo", "forecast of FoMo", "2.10 (2.00 to 2.20)", "24.9 (24.8 to 25.0)"],
        ["what happened", "the truth (the bound)", "2.00 (1.90 to 2.10)", "24.4 (24.3 to 24.5)"],
    ]
    ours = [attrs for tag, attrs in page.tags if tag == "tr" and attrs.get("class") == "ours"]
    assert len(ours) == 2  # in the comparison and in the sensitivity
    assert ("FoMo's plan closes 67 % of the distance between the best other plan and the bound. "
            "Means over 12 origins, 3 seeds; in parentheses 95 % intervals.") in page.data  # fmt: skip


def test_only_asleep_is_the_plan_on_the_truth_called_the_bound():
    rows = plan_rows(application="prb")
    _, page = made(rows=rows)
    assert ["what happened", "the truth", "2.00 (1.90 to 2.10)", "24.4 (24.3 to 24.5)"] in page.rows
    said = "".join(page.data)
    assert "between the best other plan and the one made on what happened" in said and "bound" not in said


def test_numbers_without_an_interval_have_none_and_that_is_said():
    _, page = made(rows=plan_rows(spread=0.0))
    assert ["history", "same hour last week", "2.40", "22.4"] in page.rows
    assert any(text.endswith("Means over 12 origins, 3 seeds; no intervals.") for text in page.data)


def test_every_city_has_its_table_and_a_strategy_that_was_not_played_says_so():
    some = [row for row in plan_rows("nanchang") if (row.strategy, row.metric) != ("rival", "energy")]
    _, page = made(rows=plan_rows() + some)
    assert page.data.count("jinan") == page.data.count("nanchang") == 2
    assert ["Lag-Llama", "forecast of Lag-Llama", "2.30 (2.20 to 2.40)", "not run"] in page.rows


@pytest.mark.parametrize(
    ("fomo", "said"),
    [(2.5, "worse than the best other one"), (2.3, "closes 0 %"), (2.0, "closes 100 %"), (1.9, "closes 133 %")],
)
def test_what_fomo_closes_is_said_as_it_is(fomo, said):
    rows = [replace(row, value=fomo) if row.strategy == "fomo" else row for row in plan_rows()]
    assert said in "".join(made(rows=rows)[1].data)


def test_nothing_is_closed_where_the_best_other_is_as_good_as_the_bound_or_larger_is_better_or_rivals_are_two():
    rows = [replace(row, value=2.0) if row.strategy == "history" else row for row in plan_rows()]
    assert "there is nothing to close" in "".join(made(rows=rows)[1].data)
    assert "closes" not in "".join(made(higher_is_better=["objective"])[1].data)
    two = [*plan_rows(), *(replace(row, forecaster="UniST") for row in plan_rows() if row.strategy == "rival")]
    said = made(rows=two)[1]
    assert "closes" not in "".join(said.data) and any(row[0] == "UniST" for row in said.rows)
    alone = [row for row in plan_rows() if row.strategy == "fomo"]
    assert "closes" not in "".join(made(rows=alone)[1].data)


def test_the_sensitivity_has_a_column_per_scenario_with_the_change():
    _, page = made()
    start = page.rows.index(["plan", "as forecast", "forecast +20 %", "a site fails"])
    assert page.rows[start + 4] == [
        "FoMo", "2.10 (2.00 to 2.20)", "2.31, +10.0 % (2.21 to 2.41)", "3.15, +50.0 % (3.05 to 3.25)",
    ]  # fmt: skip


def test_what_was_not_tried_is_said():
    _, page = made(rows=plan_rows(scenarios=[AS_FORECAST]))
    assert page_module.NOT_TRIED in page.data
    assert page_module.NOT_TRIED not in made()[1].data
    assert "No strategy was played, so there is nothing to compare." in made(rows=[])[1].data


def test_parameters_have_units_and_numbers_are_written_as_they_are():
    wanted = {12.5: "12.5", 273: "273", 1e4: "10,000", np.float32(2.5): "2.5", np.int64(1500): "1,500",
              3e12: "3,000,000,000,000", 0.05: "0.05", 310.2: "310.2",
              float("inf"): "infinite", True: "True", "soft": "soft"}  # fmt: skip
    _, page = made(parameters=[(f"<{text}>", value, "GB", "c0") for value, text in wanted.items()])
    for text in wanted.values():
        assert [f"<{text}>", text, "GB", "c0"] in page.rows


def test_the_first_rows_of_the_plan_keep_empty_places_and_align_numbers():
    _, page = made()
    assert ["2024-03-04T00:00", "3", "2", ""] in page.rows
    heads = [attrs for tag, attrs in page.tags if tag == "th"]
    assert [attrs.get("class") for attrs in heads[:4]] == [None, "number", "number", None]
    with pytest.raises(ValueError):
        made(plan_preview=(["one"], [["two", "three"]]))


def test_pictures_are_in_the_page_from_bytes_or_a_path(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    figures = [
        ("one", "of one", PNG),
        ("two", "of two", tmp_path / "a.png"),
        ("three", "of three", str(tmp_path / "a.png")),
    ]
    _, page = made(figures=figures)
    pictures = [attrs for tag, attrs in page.tags if tag == "img"]
    assert [attrs["alt"] for attrs in pictures] == ["of one", "of two", "of three"]
    assert all(base64.b64decode(attrs["src"].partition(",")[2]) == PNG for attrs in pictures)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "a.svg").write_text("<svg onload=alert(1)>")
    with pytest.raises(ValueError, match="'one' is no PNG"):
        made(figures=[("one", "", tmp_path / "a.svg")])
    with pytest.raises(FileNotFoundError):
        made(figures=[("one", "", tmp_path / "none.png")])


def test_a_page_is_of_one_application_and_one_number_per_row():
    with pytest.raises(ValueError, match="one application"):
        made(rows=plan_rows() + plan_rows(application="prb"))
    with pytest.raises(ValueError, match="several units: , kWh"):
        made(rows=[replace(row, unit="kWh") if row.strategy == "rival" else row for row in plan_rows()])
    with pytest.raises(ValueError, match="two rows say"):
        made(rows=plan_rows() * 2)


def test_the_style_is_dark_on_a_screen_only_and_repeats_headings_on_paper():
    text, page = made()
    assert "color-scheme:light dark" in text and "@media screen and (prefers-color-scheme:dark)" in text
    assert "thead{display:table-header-group}" in text and "break-inside:avoid" in text
    assert [tag for tag, _ in page.tags].count("thead") == [tag for tag, _ in page.tags].count("table") == 5


def test_a_text_that_is_no_text_can_be_written_as_a_file(tmp_path):
    text, _ = made("half a letter: \ud800")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
