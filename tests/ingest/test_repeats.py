"""Tables with a further key, whose rows would replace one another, and corrections, of which the later one holds."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars
import pytest
from operator_made import traffic_of, write_days, write_sites

from fomo.ingest.build import BuildConfig, build_city
from fomo.ingest.cube import CORRECTED
from fomo.ingest.formats import lines as module
from fomo.ingest.formats.table import read_table_counts
from fomo.ingest.ledger import IngestError, Ledger
from fomo.ingest.mapping import Mapping

HOURS = [datetime(2024, 3, 1) + timedelta(hours=number) for number in range(24)]
MAPPING = Mapping.model_validate({"time": {"minutes": 60}, "traffic": {"counters": {"dl": 1.0}}})


def table(**keys) -> polars.DataFrame:
    """A row for each hour, each of five cells and each value of the keys, in this order; `dl` and `ul` are random."""
    frame = polars.DataFrame({"time": HOURS}).join(polars.DataFrame({"cell": list("abcde")}), how="cross")
    for name, values in keys.items():
        frame = frame.join(polars.DataFrame({name: values}), how="cross")
    random = np.random.default_rng(0)
    return frame.with_columns(dl=random.random(frame.height), ul=random.random(frame.height))


def read(frame, path):
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.with_columns(polars.col("time").dt.strftime("%Y-%m-%d %H:%M")).write_csv(path)
    return polars.concat(read_table_counts(path, MAPPING, Ledger()))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("order", [["time", "cell", "qci"], ["cell", "time", "qci"], ["qci", "cell", "time"], ["qci"]])
def test_a_table_by_bearers_is_refused_in_any_order_and_its_key_is_named(tmp_path, monkeypatch, order, ending):
    """All rows but the last of each cell and hour were lost, as corrected ones."""
    monkeypatch.setattr(module, "BLOCK", 2000)
    with pytest.raises(IngestError, match=r"differ in qci \(.*\): .* sum them to a row of each cell and period"):
        read(table(qci=[9, 5, 1]).sort(order), tmp_path / f"a.{ending}")


def test_two_keys_are_both_named(tmp_path):
    with pytest.raises(IngestError, match="differ in plmn, qci"):
        read(table(plmn=["222-01", "222-88"], qci=[9, 5, 1]), tmp_path / "a.csv")


def test_columns_that_say_the_same_of_a_cell_and_other_counters_are_no_keys(tmp_path):
    frame = table().with_columns(site="site of " + polars.col("cell"), hour=polars.col("time").dt.hour())
    later = frame.with_columns(dl=polars.col("dl") + 1, ul=polars.col("ul") + 1)
    both = polars.concat([frame, later])  # an export, and the same corrected behind it
    assert read(both, tmp_path / "a.csv").height == both.height
    assert read(both.sort("cell", "time"), tmp_path / "b.parquet").height == both.height


def test_a_few_rows_twice_and_rows_of_equal_values_are_no_key(tmp_path):
    few = polars.concat([table(qci=[9]), table(qci=[5]).head(8)]).sort("time")
    assert read(few, tmp_path / "a.csv").height == few.height
    same = table(copy=[1, 2]).with_columns(dl=1.0)
    assert read(same, tmp_path / "b.csv").height == same.height


def test_a_correction_within_a_file_counts_as_before(tmp_path):
    (path,) = write_days(tmp_path / "counters", traffic_of(1))
    frame = polars.read_csv(path)
    polars.concat([frame, frame.with_columns(polars.col("dl_bytes") + 1)]).write_csv(path)
    report = build_city(BuildConfig((path,), write_sites(tmp_path), tmp_path / "city.zarr", cell_m=500.0))
    assert report["noted"] == {CORRECTED: frame.height} and report["taken"] == 2 * frame.height


def test_a_table_by_bearers_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "counters.csv"
    frame = table(qci=[9, 5]).with_columns(cell=polars.col("cell").replace("a", "S0-1"))
    frame.rename({"dl": "dl_bytes"}).with_columns(polars.col("time").dt.strftime("%Y-%m-%d %H:%M")).write_csv(path)
    with pytest.raises(IngestError, match="differ in qci"):
        build_city(BuildConfig((path,), write_sites(tmp_path), tmp_path / "city.zarr"))
    assert not (tmp_path / "city.zarr").exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_several_objects_that_a_pattern_takes_for_one_cell_are_refused(tmp_path, ending):
    """By operator, bearer or beam: each row replaced the one before, and counted as a correction."""
    frame = table(operator=[0, 1]).with_columns(
        polars.format("Function=N, Cell={}, Operator={}", "cell", "operator").alias("cell")
    )
    pattern = Mapping.model_validate({**MAPPING.model_dump(), "cell": {"pattern": "Cell=([^,]+)"}})
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        frame.drop("operator").with_columns(polars.col("time").dt.strftime("%Y-%m-%d %H:%M")).write_csv(path)
    else:
        frame.drop("operator").write_parquet(path)
    with pytest.raises(IngestError, match=r"Operator=0' and '.*Operator=1' are both 'a' by \[cell\] pattern"):
        list(read_table_counts(path, pattern, Ledger()))
    one = frame.filter(polars.col("operator") == 0).drop("operator")
    one.with_columns(polars.col("time").dt.strftime("%Y-%m-%d %H:%M")).write_csv(tmp_path / "one.csv")
    assert sum(counts.height for counts in read_table_counts(tmp_path / "one.csv", pattern, Ledger())) == 120


def test_a_key_that_parts_one_cell_in_five_is_named_too(tmp_path):
    """As where operators share some sites: half of the cells had to be parted before it was seen."""
    shared = table(plmn=[22201, 22210]).filter((polars.col("cell") == "c") | (polars.col("plmn") == 22201))
    with pytest.raises(IngestError, match="differ in plmn"):
        read(shared, tmp_path / "a.csv")
