"""Where counters and the site list call cells differently, the message shows the pattern that helps."""

from __future__ import annotations

import re
from dataclasses import replace

import polars
import pytest
from operator_made import traffic_of, write_days, write_sites

from fomo.ingest.build import BuildConfig, append_city, build_city
from fomo.ingest.ledger import IngestError
from fomo.ingest.mapping import Mapping
from fomo.ingest.name_patterns import advice, advice_on_unknown, pattern_for

CELLS = [f"S{site}-{sector}" for site in range(12) for sector in (1, 2, 3)]


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("S1/Cell:eNodeB Function Name=S1, Local Cell ID=6, Cell Name={}, eNodeB ID=7", "Cell Name=([^,]+)"),
        ("SubNetwork=1,ManagedElement=9,EUtranCell={}", "EUtranCell=([^,]+)"),
        ("NET/{}", "/([^/]+)"),
        ("{}@west", "^([^@]+)"),
        ("PLMN-PLMN/MRBTS-7/LNCEL-{}", r"LNCEL\-([^,]+)"),
        ("(x) [cell] {}|4", r"\(x\) \[cell\] ([^\|]+)"),
        ("a.b+c=({})", r"a\.b\+c=\(([^\)]+)"),
    ],
)
def test_the_pattern_takes_the_names_out_in_both_dialects(form, pattern):
    objects = [form.format(cell) for cell in CELLS]
    found = pattern_for(objects, CELLS)
    assert found is not None and found[0] == pattern
    assert [re.search(pattern, thing)[1] for thing in objects] == CELLS
    assert polars.Series(objects).str.extract(pattern, 1).to_list() == CELLS


def test_without_an_example_the_option_is_named_all_the_same():
    assert "--cell-pattern, for example 'Cell Name=([^,]+)'" in advice(["x1", "x2"], CELLS)
    assert "--cell-pattern, for example 'NRCellDU=([^,]+)'" in advice(["ME=1,NRCellDU=77"], CELLS)
    assert pattern_for(CELLS, CELLS) is None and pattern_for([], []) is None and pattern_for(["a"], [""]) is None


def renamed(paths):
    for path in paths:
        polars.read_csv(path).with_columns(cell="ME=9,Cell=" + polars.col("cell") + ",x=1").write_csv(path)


def test_a_build_whose_names_do_not_match_shows_the_option_that_works(tmp_path):
    paths = write_days(tmp_path / "counters", traffic_of(1))
    renamed(paths)
    config = BuildConfig(counters=tuple(paths), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0)
    with pytest.raises(IngestError, match=r"--cell-pattern 'Cell=\(\[\^,\]\+\)' \('S") as caught:
        build_city(config)
    pattern = re.search(r"--cell-pattern '([^']+)'", str(caught.value))[1]
    given = Mapping.model_validate({"cell": {"pattern": pattern}})
    assert build_city(replace(config, mapping=given))["taken"] == traffic_of(1).size


def test_an_append_whose_names_do_not_match_remarks_it(tmp_path):
    paths = write_days(tmp_path / "counters", traffic_of(2))
    build_city(BuildConfig(
        counters=(paths[0],), sites=write_sites(tmp_path), out=tmp_path / "city.zarr", cell_m=500.0
    ))  # fmt: skip
    renamed(paths[1:])
    report = append_city(tmp_path / "city.zarr", [paths[1]])
    assert (
        "build the city again and take the cell's name out of the object's with --cell-pattern 'Cell="
        in (report["remarks"][0])
    )


def test_a_single_renamed_cell_is_told_by_its_name_and_not_by_a_pattern_that_loses_others():
    """The advice for TS005_2N was a pattern that loses every name with an N."""
    cells = [f"{area}{site:03}_{sector}" for area in ("TS", "TN") for site in range(9) for sector in (1, 2, 3)]
    assert pattern_for(["TS005_2N"], cells)[0] == "^([^N]+)"
    told = advice_on_unknown(["TS005_2N"], cells)
    assert "--cell-names TS005_2N=OLD" in told and "site list" in told and "--cell-pattern" not in told


def test_a_pattern_that_keeps_the_known_names_is_shown_second_and_for_many_names_first():
    told = advice_on_unknown(["S1-1@west", "S2-1@west"], CELLS)
    assert 0 < told.index("--cell-names S1-1@west=OLD") < told.index("--cell-pattern '^([^@]+)'")
    assert "--cell-pattern" not in advice_on_unknown(["S1-1@west", "X1", "X2"], CELLS)  # it is no help to most
    assert "--cell-pattern" not in advice_on_unknown(["S1-1@west"], CELLS, patterned=True)
    assert advice_on_unknown([f"{cell}@west" for cell in CELLS], CELLS).startswith("build the city again and take")
    assert advice_on_unknown([], CELLS) == ""
